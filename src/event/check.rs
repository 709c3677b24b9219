//! The one pass over a line before it is stored.

use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::number::{Number, Under, UnderToken, is_token};
use super::time::{self, Reading};

/// The longest `messageId`, in bytes of UTF-8 after unescaping.
pub const MAX_MESSAGE_ID_BYTES: usize = 512;

/// The `type` of a Segment call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A page view.
    Page,
    /// A screen of an app.
    Screen,
    /// A named event.
    Track,
    /// Not forwarded.
    Identify,
    /// Not forwarded.
    Group,
    /// Not forwarded.
    Alias,
}

impl Kind {
    /// The kind of this exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "page" => Self::Page,
            "screen" => Self::Screen,
            "track" => Self::Track,
            "identify" => Self::Identify,
            "group" => Self::Group,
            "alias" => Self::Alias,
            _ => return None,
        })
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The reason in an `ignored` answer, for the kinds that are accepted but not stored.
    pub const fn ignored(self) -> Option<&'static str> {
        match self {
            Self::Page | Self::Screen | Self::Track => None,
            Self::Identify | Self::Group | Self::Alias => Some(self.name()),
        }
    }
}

/// What the socket keeps of a valid line.
#[derive(Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The line's `type`.
    pub kind: Kind,
    /// Untrimmed; not only white space, at most [`MAX_MESSAGE_ID_BYTES`] bytes.
    pub message_id: Cow<'a, str>,
    /// By [`time::PATHS`].
    times: [Option<Scalar<'a>>; 4],
}

impl Call<'_> {
    /// When it happened, in Unix seconds, for an event that is accepted at `accepted` (likewise).
    /// Where it cannot be told this is `accepted`: whoever transforms the line tells the two apart.
    pub fn event_time(&self, accepted: i64) -> i64 {
        let read = |at: usize| match &self.times[at] {
            None | Some(Scalar::Missing) => Reading::Missing,
            Some(Scalar::String(text)) => time::from_text(text),
            Some(Scalar::Number(number)) => time::from_number(number),
            Some(Scalar::Digits(digits)) => time::from_number(&Number::Text(digits)),
            Some(Scalar::Other) => Reading::Unreadable,
        };
        time::choose(accepted, read, |_, _| ()).or_accepted(accepted)
    }
}

/// Why a line is refused. The texts go to the client: they name fields and columns, never a
/// value of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not UTF-8.
    #[error("not valid JSON: invalid UTF-8 at column {column}")]
    Utf8 {
        /// Byte position in the line, from 1.
        column: usize,
    },
    /// Not JSON, nested too deep, a lone surrogate, or more than one value.
    #[error("not valid JSON: {what} at column {column}")]
    Json {
        /// The parser's words.
        what: String,
        /// Byte position in the line, from 1.
        column: usize,
    },
    /// Longer than `ingest.max_event_bytes`. Whoever reads lines judges this, before [`check`].
    #[error("event is over {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// JSON, but not an object.
    #[error("not an object: one JSON object per line is expected")]
    NotObject,
    /// No `messageId`, or not a string.
    #[error("messageId is missing or not a string")]
    NoMessageId,
    /// A `messageId` of white space alone.
    #[error("messageId is empty")]
    EmptyMessageId,
    /// A `messageId` over the limit.
    #[error("messageId has {bytes} bytes, at most {MAX_MESSAGE_ID_BYTES} are taken")]
    LongMessageId {
        /// Its length in bytes of UTF-8.
        bytes: usize,
    },
    /// No `type`, or none of the six.
    #[error("type is not one of track, page, screen, identify, group, alias")]
    UnknownType,
    /// A track without an `event`, or not a string.
    #[error("event is missing or not a string, which a track needs")]
    NoEvent,
    /// Text that names the event and was damaged.
    #[error(
        "{field} holds invalid UTF-8 or a lone surrogate, and two that differ could become one: \
         send it as it is meant"
    )]
    Damaged {
        /// `messageId` or `event`.
        field: &'static str,
    },
    /// A track whose `event` is white space alone.
    #[error("event is empty, which a track needs")]
    EmptyEvent,
}

impl Invalid {
    pub(super) fn utf8(error: Utf8Error) -> Self {
        Self::Utf8 {
            column: error.valid_up_to() + 1,
        }
    }

    pub(super) fn json(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let what = match text.rfind(" at line ") {
            Some(end) => text[..end].to_owned(),
            None => text,
        };
        Self::Json {
            what,
            column: error.column(),
        }
    }
}

/// Checks a line (without its line end) and keeps what the socket needs of it.
///
/// # Errors
/// The first of `mapping.md`'s checks that fails, in its order: JSON, object, `messageId`,
/// `type`, a track's `event`.
pub fn check(line: &[u8]) -> Result<Call<'_>, Invalid> {
    let text = std::str::from_utf8(line).map_err(Invalid::utf8)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = Root.deserialize(&mut deserializer).map_err(Invalid::json)?;
    deserializer.end().map_err(Invalid::json)?;
    let fields = fields.ok_or(Invalid::NotObject)?;

    let Some(Scalar::String(message_id)) = fields.message_id else {
        return Err(Invalid::NoMessageId);
    };
    if message_id.trim().is_empty() {
        return Err(Invalid::EmptyMessageId);
    }
    if message_id.len() > MAX_MESSAGE_ID_BYTES {
        return Err(Invalid::LongMessageId {
            bytes: message_id.len(),
        });
    }
    let kind = match fields.kind {
        Some(Scalar::String(name)) => Kind::from_name(&name),
        _ => None,
    };
    let kind = kind.ok_or(Invalid::UnknownType)?;
    if kind == Kind::Track {
        match fields.event {
            Some(Scalar::String(name)) if name.trim().is_empty() => {
                return Err(Invalid::EmptyEvent);
            }
            Some(Scalar::String(_)) => {}
            _ => return Err(Invalid::NoEvent),
        }
    }
    Ok(Call {
        kind,
        message_id,
        times: fields.times,
    })
}

/// A value as far as a check looks at it.
#[derive(Clone, PartialEq, Eq)]
enum Scalar<'a> {
    /// Null, `[]`, `{}`.
    Missing,
    String(Cow<'a, str>),
    /// A whole number.
    Number(Number<'static>),
    /// Any other number.
    Digits(String),
    Other,
}

/// The top-level values that are looked at; of a repeated key the last stays.
#[derive(Default)]
struct Fields<'a> {
    message_id: Option<Scalar<'a>>,
    kind: Option<Scalar<'a>>,
    event: Option<Scalar<'a>>,
    /// In order of precedence.
    times: [Option<Scalar<'a>>; 4],
}

impl<'a> Fields<'a> {
    fn slot(&mut self, field: Field) -> Option<&mut Option<Scalar<'a>>> {
        Some(match field {
            Field::MessageId => &mut self.message_id,
            Field::Type => &mut self.kind,
            Field::Event => &mut self.event,
            Field::Time(n) => &mut self.times[n],
            Field::Token | Field::Other => return None,
        })
    }
}

enum Field {
    MessageId,
    Type,
    Event,
    Time(usize),
    Token,
    Other,
}

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

struct FieldName;

impl Visitor<'_> for FieldName {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Field, E> {
        Ok(match key {
            "messageId" => Field::MessageId,
            "type" => Field::Type,
            "event" => Field::Event,
            "timestamp" => Field::Time(0),
            "originalTimestamp" => Field::Time(1),
            "sentAt" => Field::Time(2),
            "receivedAt" => Field::Time(3),
            key if is_token(key) => Field::Token,
            _ => Field::Other,
        })
    }
}

/// The line's one value: its fields, or `None` if it is not an object.
struct Root;

impl<'de> DeserializeSeed<'de> for Root {
    type Value = Option<Fields<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Visits that all give the same.
macro_rules! constant {
    ($value:expr; $($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> { Ok($value) })*
    };
}

impl<'de> Visitor<'de> for Root {
    type Value = Option<Fields<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    constant!(None; visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Skip.visit_seq(seq)?;
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut first = true;
        while let Some(field) = map.next_key_seed(FieldName)? {
            match fields.slot(field) {
                Some(slot) => *slot = Some(map.next_value_seed(ScalarValue)?),
                None if first => {
                    if let Under::Digits(_) = map.next_value_seed(UnderToken(Skip))? {
                        return Ok(None);
                    }
                }
                None => map.next_value_seed(Skip)?,
            }
            first = false;
        }
        Ok(Some(fields))
    }
}

/// A value of which strings and numbers are kept.
struct ScalarValue;

impl<'de> DeserializeSeed<'de> for ScalarValue {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarValue {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    constant!(Scalar::Other; visit_bool: bool);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Missing)
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Number::Unsigned(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(Number::Negative(v)))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::String(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Scalar::String(Cow::Owned(v.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        if seq.next_element_seed(Skip)?.is_none() {
            return Ok(Scalar::Missing);
        }
        Skip.visit_seq(seq)?;
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match map.next_key_seed(FieldName)? {
            None => return Ok(Scalar::Missing),
            Some(Field::Token) => {
                if let Under::Digits(digits) = map.next_value_seed(UnderToken(Skip))? {
                    return Ok(Scalar::Digits(digits));
                }
            }
            Some(_) => map.next_value_seed(Skip)?,
        }
        Skip.visit_map(map)?;
        Ok(Scalar::Other)
    }
}

/// Visits a value, and so validates it, and keeps nothing.
struct Skip;

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    constant!((); visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Skip)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // A number's map of one key passes here too; nothing is kept, so nothing is told apart.
        while map.next_key_seed(Skip)?.is_some() {
            map.next_value_seed(Skip)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
