//! Lines that are no JSON only because a text in them was damaged on its way.
//!
//! Invariant: nothing but what is ill-formed changes, and what names the event does not: an id or
//! a name that was damaged is refused, for two that differ could become one.

use std::borrow::Cow;

use super::check::{Invalid, Kind, check};
use super::node::{Arena, parse};

/// What stands for something that cannot be read.
const REPLACEMENT: char = '\u{fffd}';
/// Stands for the same in a second reading, which shows whether an id was touched: its own U+FFFD
/// is none of ours.
const OTHER: char = '\u{e000}';

/// The line to take for one that was refused by `why`, if damaged text is all that is wrong with
/// it; otherwise what is.
///
/// Each maximal subpart of an ill-formed sequence (Unicode, 3.9) and each lone surrogate escape
/// becomes U+FFFD.
///
/// # Errors
/// `why`, where the line would be no JSON either way; what [`check`](check()) says of the repaired
/// line; [`Invalid::Damaged`].
pub fn repair(line: &[u8], why: Invalid) -> Result<Vec<u8>, Invalid> {
    if !matches!(why, Invalid::Utf8 { .. } | Invalid::Json { .. }) {
        return Err(why);
    }
    let repaired = replaced(line, REPLACEMENT);
    if *repaired == *line {
        return Err(why);
    }
    let kind = match check(&repaired) {
        Ok(call) => call.kind,
        Err(Invalid::Utf8 { .. } | Invalid::Json { .. }) => return Err(why),
        Err(other) => return Err(other),
    };
    let other = replaced(line, OTHER);
    let arena = Arena::default();
    let (ours, others) = (parse(&arena, &repaired)?, parse(&arena, &other)?);
    let names: &[&'static str] = match kind {
        Kind::Track => &["messageId", "event"],
        _ => &["messageId"],
    };
    match names.iter().find(|name| ours.at(name) != others.at(name)) {
        Some(field) => Err(Invalid::Damaged { field }),
        None => Ok(repaired.into_owned()),
    }
}

/// A line as it is to be read: itself, or repaired.
///
/// # Errors
/// Those of [`check`](check()) and of [`repair`].
pub fn sound(line: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    match check(line) {
        Ok(_) => Ok(Cow::Borrowed(line)),
        Err(why) => repair(line, why).map(Cow::Owned),
    }
}

/// A line with U+FFFD for all that is ill-formed, for those who look for something else in it.
pub fn readable(line: &[u8]) -> Cow<'_, [u8]> {
    replaced(line, REPLACEMENT)
}

/// The line with `mark` for all that is ill-formed.
fn replaced(line: &[u8], mark: char) -> Cow<'_, [u8]> {
    let mut encoded = [0; 4];
    let mark = mark.encode_utf8(&mut encoded).as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut is_changed = false;
    for chunk in line.utf8_chunks() {
        is_changed |= escapes(chunk.valid().as_bytes(), mark, &mut out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(mark);
            is_changed = true;
        }
    }
    match is_changed {
        true => Cow::Owned(out),
        false => Cow::Borrowed(line),
    }
}

/// Copies a text, with `mark` for lone surrogate escapes; whether there was one.
fn escapes(text: &[u8], mark: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_changed = false;
    let (mut from, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        at += found;
        at = match (
            surrogate(&text[at..]),
            surrogate(text.get(at + 6..).unwrap_or(b"")),
        ) {
            (Some(Half::High), Some(Half::Low)) => at + 12,
            (Some(_), _) => {
                out.extend_from_slice(&text[from..at]);
                out.extend_from_slice(mark);
                is_changed = true;
                from = at + 6;
                from
            }
            // What is escaped begins no escape.
            (None, _) => (at + 2).min(text.len()),
        };
    }
    out.extend_from_slice(&text[from..]);
    is_changed
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair whose escape a text begins with.
fn surrogate(text: &[u8]) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', second, third, fourth, ..] = text else {
        return None;
    };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(line: &[u8]) -> Result<String, Invalid> {
        let why = check(line).err().expect("it is refused");
        repair(line, why).map(|line| String::from_utf8(line).expect("it is UTF-8"))
    }

    fn page(title: &[u8]) -> Vec<u8> {
        let head: &[u8] = br#"{"messageId":"m","type":"page","title":""#;
        [head, title, br#""}"#].concat()
    }

    #[test]
    fn what_is_ill_formed_is_replaced_and_nothing_else() {
        for (damaged, expected) in [
            (&b"mug \\ud83c"[..], "mug \u{fffd}"),
            (br"\ud83c!", "\u{fffd}!"),
            (br"\uDC00\ud83d\ude00", "\u{fffd}\\ud83d\\ude00"),
            (br"\ud83d\ud83d\ude00", "\u{fffd}\\ud83d\\ude00"),
            (br"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (br"\\\ud83d", "\\\\\u{fffd}"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"a\xf0\x9f\x92b", "a\u{fffd}b"),
            (b"\xed\xa0\xbc", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\\ud83c\xff", "\u{fffd}\u{fffd}"),
        ] {
            let line = page(damaged);
            let expected = String::from_utf8(page(expected.as_bytes())).unwrap();
            assert_eq!(repaired(&line), Ok(expected), "{damaged:?}");
        }
        // An escaped backslash is none, and that line is well already.
        assert!(check(&page(br"\\ud83c")).is_ok());
    }

    #[test]
    fn what_is_no_json_for_another_reason_stays_refused() {
        for line in [
            &page(b"\xff")[..20],
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"{\"messageId\":\"m\",\xff\"type\":\"page\"}",
            br#"{"messageId":"m","type":"page","a":"\ud83"}"#,
            br#"{"messageId":"m","type":"page","a":"\ud83c","b":01}"#,
        ] {
            let why = check(line).err().expect("it is refused");
            assert_eq!(repair(line, why.clone()), Err(why), "{line:?}");
        }
        assert_eq!(repaired(b"[\"\xff\"]"), Err(Invalid::NotObject));
        let no_id = b"{\"type\":\"page\",\"a\":\"\xff\"}";
        assert_eq!(repaired(no_id), Err(Invalid::NoMessageId));
        let tooth = br#"{"type":"page"}"#;
        assert_eq!(
            repair(tooth, Invalid::NoMessageId),
            Err(Invalid::NoMessageId)
        );
    }

    #[test]
    fn an_id_or_a_name_that_was_damaged_is_refused() {
        let field = |line: &[u8]| match repaired(line) {
            Err(Invalid::Damaged { field }) => Some(field),
            _ => None,
        };
        let id = b"{\"messageId\":\"m\xff\",\"type\":\"page\"}";
        assert_eq!(field(id), Some("messageId"));
        let name = br#"{"messageId":"m","type":"track","event":"Order \ud83c"}"#;
        assert_eq!(field(name), Some("event"));
        // A page has no use for it; and an id may hold U+FFFD of its own.
        let page = b"{\"messageId\":\"\xef\xbf\xbd\",\"type\":\"page\",\"event\":\"\xff\"}";
        assert!(repaired(page).is_ok());
        // Of a repeated key the last counts.
        let twice = b"{\"messageId\":\"\xff\",\"messageId\":\"m\",\"type\":\"page\"}";
        assert!(repaired(twice).is_ok());
    }
}
