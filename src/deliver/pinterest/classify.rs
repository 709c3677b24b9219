//! What an answer means: one verdict per event, or one word about the whole request. Pure.
//!
//! The classes are Pinterest's: its OpenAPI description and recorded live answers.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::page::page;
use crate::deliver::destination::Signals;
use crate::deliver::judgement::{Class, Judgement, Refusal, Verdict};
use crate::deliver::normalise::normalise;
use crate::text;

/// Judges the answer to a request of `events` events.
pub fn classify(status: u16, signals: &Signals, body: &[u8], events: usize) -> Judgement {
    let class = match status {
        200..=299 => {
            let unreadable = page(status, body).unwrap_or_else(|| "unreadable answer".to_owned());
            return by_position(body, events, Class::Unknown(unreadable));
        }
        422 => {
            let refused = Class::Refused {
                too_large: false,
                refusal: refusal(status, body),
            };
            return by_position(body, events, refused);
        }
        400 | 413 => Class::Refused {
            too_large: status == 413,
            refusal: refusal(status, body),
        },
        401 | 403 | 404 => Class::Auth(refusal(status, body)),
        429 => Class::Limited {
            wait: signals.retry_after.or(signals.reset),
        },
        300..=407 | 409..=499 => Class::Unexpected(refusal(status, body)),
        _ => Class::Unknown(unavailable(status, body)),
    };
    Judgement::whole(class)
}

/// Reads the list of verdicts, which stands at the top (200) or under `details` (422).
fn by_position(body: &[u8], events: usize, otherwise: Class) -> Judgement {
    let read = serde_json::from_slice(body);
    if read.as_ref().is_err_and(serde_json::Error::is_eof) && !body.trim_ascii().is_empty() {
        // Cut short: it may have been a list, and some of the events may be processed.
        return Judgement::whole(Class::Unknown("a part of an answer".to_owned()));
    }
    let list = read.ok().and_then(|Object(body): Object<Body<'_>>| {
        let list = body
            .events
            .or(body.details.and_then(|Object(d)| d.events))?;
        (!list.is_empty()).then_some((list, body.code.0))
    });
    let Some((list, code)) = list else {
        return Judgement::whole(otherwise);
    };
    // A list of another length cannot be laid beside the request.
    if list.len() != events {
        let why = "an answer about another number of events";
        return Judgement::whole(Class::Unknown(why.to_owned()));
    }
    let mut warnings = Warnings::default();
    let mut verdict = |(at, Object(event)): (u32, &Object<EventAnswer<'_>>)| {
        if event.status.0.eq_ignore_ascii_case("processed") {
            warnings.count(at, &event.warning_message.0);
            Verdict::Processed
        } else if event.status.0.eq_ignore_ascii_case("failed") {
            let message = event.error_message.0.trim();
            Verdict::Failed(Refusal {
                code,
                message: or_else(message, "failed, without a message"),
                is_page: false,
            })
        } else {
            Verdict::Unclear
        }
    };
    let verdicts = (0..).zip(&list).map(&mut verdict).collect();
    Judgement {
        class: Class::Judged(verdicts),
        warnings: warnings.kinds,
        warned: warnings.warned,
    }
}

fn refusal(status: u16, body: &[u8]) -> Refusal {
    if let Some(message) = page(status, body) {
        return Refusal {
            code: None,
            message,
            is_page: true,
        };
    }
    let said = said(body);
    let message = said.message.0.trim();
    Refusal {
        code: said.code.0,
        message: or_else(message, &format!("HTTP status {status}, without a message")),
        is_page: false,
    }
}

/// In words that are fit for a log: these are read by people, and events have no part in them.
fn unavailable(status: u16, body: &[u8]) -> String {
    page(status, body).unwrap_or_else(|| {
        let said = said(body);
        let message = normalise(said.message.0.trim(), "", b"");
        match message.is_empty() {
            true => format!("HTTP {status}"),
            false => format!("HTTP {status}: {message}"),
        }
    })
}

fn said(body: &[u8]) -> Said<'_> {
    serde_json::from_slice(body).map_or_else(|_| Said::default(), |Object(said)| said)
}

fn or_else(message: &str, otherwise: &str) -> String {
    let message = if message.is_empty() {
        otherwise
    } else {
        message
    };
    text::message(message)
}

/// Counts warnings by kind. Most answers repeat one text, so only a text that differs from
/// the last one is normalised.
#[derive(Default)]
struct Warnings {
    last: String,
    at: usize,
    kinds: Vec<(String, u64)>,
    warned: Vec<(u32, u32)>,
}

impl Warnings {
    /// The event at this position of the request was warned of so.
    fn count(&mut self, position: u32, message: &str) {
        if message.is_empty() {
            return;
        }
        if self.kinds.is_empty() || self.last != message {
            message.clone_into(&mut self.last);
            let kind = normalise(message, "", b"");
            let at = self.kinds.iter().position(|(known, _)| *known == kind);
            self.at = at.unwrap_or_else(|| {
                self.kinds.push((kind, 0));
                self.kinds.len() - 1
            });
        }
        self.kinds[self.at].1 += 1;
        self.warned.push((position, self.at as u32));
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    events: Option<Vec<Object<EventAnswer<'a>>>>,
    #[serde(borrow, default)]
    details: Option<Object<Details<'a>>>,
    #[serde(default)]
    code: Code,
}

#[derive(Deserialize)]
struct EventAnswer<'a> {
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    error_message: Text<'a>,
    #[serde(borrow, default)]
    warning_message: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Said<'a> {
    #[serde(default)]
    code: Code,
    #[serde(borrow, default)]
    message: Text<'a>,
}

/// The 200 body inside a 422. Of any other shape it is unusable, and so is the whole.
#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    events: Option<Vec<Object<EventAnswer<'a>>>>,
}

/// A JSON object, which a derived reader alone would not insist on: it takes a list for the
/// fields in their order as well, and so `[["processed"]]` for an event that was taken.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A text; anything else in its place (null, a number, a list) counts as an empty one, for a
/// verdict must not be lost over the shape of a message.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

/// An integer, or nothing of use.
#[derive(Default)]
struct Code(Option<i64>);

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
    fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_i64()))
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
