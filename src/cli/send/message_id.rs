//! Gives a messageId to a line without one, changing nothing else of it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::readable;

/// Appends `line` to `out`, with `id` as its messageId if it is an object that has none, or
/// only null or a blank text. Anything else, broken JSON too, goes as it is: it is the
/// daemon's to judge.
pub fn assign(line: &[u8], out: &mut Vec<u8>, id: impl FnOnce() -> String) {
    let readable = readable(line);
    if let Cow::Owned(readable) = &readable {
        // Damaged text is the daemon's to repair: what is put in stands before all of it.
        if let Ok(Peek { id: None, empty }) = serde_json::from_slice::<Peek<'_>>(readable) {
            return put(line, after_brace(line), &id(), empty, out);
        }
        return out.extend_from_slice(line);
    }
    let (at, text) = match serde_json::from_slice::<Peek<'_>>(line) {
        Ok(Peek { id: None, empty }) => {
            return put(line, after_brace(line), &id(), empty, out);
        }
        // The value itself has to go: of a repeated key the last one counts.
        Ok(Peek { id: Some(raw), .. }) if is_blank(raw) => {
            (place(line, raw.get()), format!("\"{}\"", id()))
        }
        _ => return out.extend_from_slice(line),
    };
    out.extend_from_slice(&line[..at.start]);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&line[at.end..]);
}

/// Parsed as an object, so there is a brace.
fn after_brace(line: &[u8]) -> usize {
    memchr::memchr(b'{', line).unwrap_or_default() + 1
}

/// Appends the line with a messageId at this place, before the first member if there is one.
fn put(line: &[u8], at: usize, id: &str, is_empty: bool, out: &mut Vec<u8>) {
    let comma = if is_empty { "" } else { "," };
    out.extend_from_slice(&line[..at]);
    out.extend_from_slice(format!("\"messageId\":\"{id}\"{comma}").as_bytes());
    out.extend_from_slice(&line[at..]);
}

fn is_blank(raw: &RawValue) -> bool {
    match serde_json::from_str::<Option<Cow<'_, str>>>(raw.get()) {
        Ok(None) => true,
        Ok(Some(text)) => text.trim().is_empty(),
        Err(_) => false,
    }
}

/// Where `part`, borrowed from `line`, stands in it.
fn place(line: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - line.as_ptr().addr();
    start..start + part.len()
}

/// An object's last messageId, as it stands.
struct Peek<'a> {
    id: Option<&'a RawValue>,
    empty: bool,
}

impl<'de> Deserialize<'de> for Peek<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Peek<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Peek<'de>, A::Error> {
                let mut peek = Peek {
                    id: None,
                    empty: true,
                };
                while let Some(key) = map.next_key::<KeyText<'de>>()? {
                    peek.empty = false;
                    if key.0 == "messageId" {
                        peek.id = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(peek)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// Borrows where it can; a bare `Cow` would always copy.
#[derive(Deserialize)]
struct KeyText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(line: &str) -> String {
        let mut out = Vec::new();
        assign(line.as_bytes(), &mut out, || "NEW".into());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn damaged_text_stays_as_it_is_beside_the_id() {
        for (line, expected) in [
            (
                &b"{\"a\xff\":1}"[..],
                &b"{\"messageId\":\"NEW\",\"a\xff\":1}"[..],
            ),
            (br#"{"a":"\ud83c"}"#, br#"{"messageId":"NEW","a":"\ud83c"}"#),
            // An id that was damaged is the daemon's to refuse.
            (b"{\"messageId\":\"\xff\"}", b"{\"messageId\":\"\xff\"}"),
            (b"{\"a\":\"\xff\"", b"{\"a\":\"\xff\""),
        ] {
            let mut out = Vec::new();
            assign(line, &mut out, || "NEW".into());
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn lines_without_an_id_get_one() {
        for (line, expected) in [
            (r#"{"a":1}"#, r#"{"messageId":"NEW","a":1}"#),
            (
                " { \"a\" : 1.50 }\r",
                " {\"messageId\":\"NEW\", \"a\" : 1.50 }\r",
            ),
            ("{}", r#"{"messageId":"NEW"}"#),
            ("{ }", r#"{"messageId":"NEW" }"#),
            (
                r#"{"messageId":null,"a":1}"#,
                r#"{"messageId":"NEW","a":1}"#,
            ),
            (
                r#"{"a":1,"messageId": "" }"#,
                r#"{"a":1,"messageId": "NEW" }"#,
            ),
            (r#"{"messageId":" \u0020\t"}"#, r#"{"messageId":"NEW"}"#),
            (r#"{"message\u0049d":null}"#, r#"{"message\u0049d":"NEW"}"#),
            // Only the event's own counts, not one further down.
            (
                r#"{"properties":{"messageId":"x"}}"#,
                r#"{"messageId":"NEW","properties":{"messageId":"x"}}"#,
            ),
            // The last one counts.
            (
                r#"{"messageId":"x","messageId":null}"#,
                r#"{"messageId":"x","messageId":"NEW"}"#,
            ),
        ] {
            assert_eq!(assigned(line), expected);
            let parsed: serde_json::Value = serde_json::from_str(&assigned(line)).expect("JSON");
            assert_eq!(parsed["messageId"], "NEW", "{line}");
        }
    }

    #[test]
    fn every_other_line_stays_as_it_is() {
        for line in [
            r#"{"messageId":"x"}"#,
            r#"{"messageId":null,"messageId":"x"}"#,
            r#"{"messageId":7}"#,
            r#"{"messageId":{}}"#,
            r#"{"a":1"#,
            r#"{"a":1} {"b":2}"#,
            "[]",
            "7",
            "nonsense {",
        ] {
            assert_eq!(assigned(line), line);
        }
        let mut out = Vec::new();
        assign(b"{\"a\":\"\xff\"}", &mut out, || "NEW".into());
        // Whether a byte is text is the daemon's to judge as well.
        assert!(out.ends_with(b"\"a\":\"\xff\"}"), "{out:?}");
    }
}
