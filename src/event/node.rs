//! An event as a tree that borrows from its line.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::check::Invalid;
use super::number::{Number, Under, UnderToken, is_token};
use super::wanted::Wanted;

static NULL: Node<'static> = Node::Null;

/// Objects up to this size are searched for repeated keys pair by pair; a map costs more.
const SMALL_OBJECT: usize = 16;

/// A JSON value, borrowed from its line wherever no escape stands in the way.
///
/// Has no `Debug`: it holds personal data.
#[derive(Clone, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number with its own digits.
    Number(Number),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object's members as they stood, repeated keys included; read it through
    /// [`Node::get`], where the last of a key counts.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The value of an object's key (the last one of that key); `None` for a missing key and
    /// for anything but an object.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|m| &m.1),
            _ => None,
        }
    }

    /// As [`Node::get`], with `null` for what is not there.
    pub fn at(&self, key: &str) -> &Node<'a> {
        self.get(key).unwrap_or(&NULL)
    }

    /// The string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Node<'a>]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

/// Writes the value as JSON again: of a repeated key the last, numbers with their own digits.
impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(v) => serializer.serialize_bool(*v),
            Self::Number(n) => n.serialize(serializer),
            Self::String(s) => serializer.serialize_str(s),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(None)?;
                let last: Option<HashMap<&str, usize>> =
                    (members.len() > SMALL_OBJECT).then(|| {
                        members
                            .iter()
                            .enumerate()
                            .map(|(i, m)| (&*m.0, i))
                            .collect()
                    });
                for (i, (key, value)) in members.iter().enumerate() {
                    let counts = match &last {
                        Some(last) => last.get(&**key) == Some(&i),
                        None => members[i + 1..].iter().all(|later| later.0 != *key),
                    };
                    if counts {
                        map.serialize_entry(key, value)?;
                    }
                }
                map.end()
            }
        }
    }
}

/// Reads a line into a tree. Refuses exactly the lines that [`check`](super::check) calls
/// invalid JSON; the root may be any value.
///
/// # Errors
/// [`Invalid::Utf8`] and [`Invalid::Json`].
pub fn parse(line: &[u8]) -> Result<Node<'_>, Invalid> {
    parse_wanted(line, &Wanted::All)
}

/// As [`parse`], without the members that are not wanted. For lines that `check` took: of what
/// is skipped little is judged (a lone surrogate passes, and any depth).
///
/// # Errors
/// [`Invalid::Utf8`] and [`Invalid::Json`].
pub fn parse_wanted<'a>(line: &'a [u8], wanted: &Wanted) -> Result<Node<'a>, Invalid> {
    let text = std::str::from_utf8(line).map_err(Invalid::utf8)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let node = Builder(wanted)
        .deserialize(&mut deserializer)
        .map_err(Invalid::json)?;
    deserializer.end().map_err(Invalid::json)?;
    Ok(node)
}

/// Builds the wanted part of a value.
struct Builder<'w>(&'w Wanted);

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Number::Unsigned(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Number::Negative(v)))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(v.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element_seed(Builder(self.0))? {
            elements.push(element);
        }
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        let Some(mut key) = map.next_key_seed(Key)? else {
            return Ok(Node::Object(members));
        };
        if is_token(&key) {
            match map.next_value_seed(UnderToken(Builder(&Wanted::All)))? {
                Under::Digits(digits) => return Ok(Node::Number(Number::Text(digits.into()))),
                Under::Value(value) => members.push((key, value)),
            }
            match map.next_key_seed(Key)? {
                Some(next) => key = next,
                None => return Ok(Node::Object(members)),
            }
        }
        members.reserve(8);
        loop {
            match self.0.of(&key) {
                Some(wanted) => members.push((key, map.next_value_seed(Builder(wanted))?)),
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
            match map.next_key_seed(Key)? {
                Some(next) => key = next,
                None => return Ok(Node::Object(members)),
            }
        }
    }
}

/// An object's key, borrowed if it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(v.to_owned()))
    }
}
