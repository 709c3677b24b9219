//! An event as a tree that borrows from its line.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::check::Invalid;
use super::number::{Number, Under, UnderToken, is_token};
use super::time;
use super::wanted::Wanted;

static NULL: Node<'static> = Node::Null;

/// Objects up to this size are searched for repeated keys pair by pair; a map costs more.
const SMALL_OBJECT: usize = 16;

/// Where trees are kept, and what is made of them meanwhile: it goes all at once.
pub struct Arena(bumpalo::Bump);

impl Default for Arena {
    /// With room for the tree of an ordinary event.
    fn default() -> Self {
        Self(bumpalo::Bump::with_capacity(ORDINARY))
    }
}

impl Arena {
    /// Bytes to write to; room for this many from the start.
    pub fn bytes(&self, capacity: usize) -> bumpalo::collections::Vec<'_, u8> {
        bumpalo::collections::Vec::with_capacity_in(capacity, &self.0)
    }

    /// An array of these values.
    pub fn array<'a>(&'a self, elements: &[Node<'a>]) -> &'a Node<'a> {
        let elements: &'a [Node<'a>] = self.0.alloc_slice_copy(elements);
        self.0.alloc(Node::Array(elements))
    }
}

/// Bytes that the tree of an event of about a kilobyte takes, and its payload.
const ORDINARY: usize = 4096;

/// A JSON value, borrowed from its line wherever no escape stands in the way.
///
/// Has no `Debug`: it holds personal data.
#[derive(Clone, Copy, PartialEq)]
pub enum Node<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number with its own digits.
    Number(Number<'a>),
    /// A string, unescaped.
    String(&'a str),
    /// An array.
    Array(&'a [Node<'a>]),
    /// An object's members as they stood, repeated keys included; read it through
    /// [`Node::get`], where the last of a key counts.
    Object(&'a [(&'a str, Node<'a>)]),
}

impl<'a> Node<'a> {
    /// The value of an object's key (the last one of that key); `None` for a missing key and
    /// for anything but an object.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(k, _)| *k == key).map(|m| &m.1),
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

    /// Whether this says nothing: null, a string of white space alone, `[]`, `{}`.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::String(text) => text.trim().is_empty(),
            Self::Array(elements) => elements.is_empty(),
            Self::Object(members) => members.is_empty(),
            Self::Bool(_) | Self::Number(_) => false,
        }
    }

    /// This as a moment.
    pub fn as_time(&self) -> time::Reading {
        match self {
            node if node.is_missing() => time::Reading::Missing,
            Self::String(text) => time::from_text(text),
            Self::Number(number) => time::from_number(number),
            _ => time::Reading::Unreadable,
        }
    }

    /// An object's members in their order, the last of each key.
    pub fn members(&self) -> impl Iterator<Item = &'a (&'a str, Node<'a>)> + use<'a> {
        let all = match self {
            Self::Object(members) => *members,
            _ => &[],
        };
        let last = last_of_each(all);
        let counts = move |(i, member): &(usize, &'a (&'a str, Node<'a>))| match &last {
            Some(last) => last.get(member.0) == Some(i),
            None => all[i + 1..].iter().all(|later| later.0 != member.0),
        };
        all.iter()
            .enumerate()
            .filter(counts)
            .map(|(_, member)| member)
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

/// Where the last of each key stands, where looking for it pair by pair would cost more.
fn last_of_each<'a>(members: &[(&'a str, Node<'a>)]) -> Option<HashMap<&'a str, usize>> {
    let places = members.iter().enumerate().map(|(i, member)| (member.0, i));
    (members.len() > SMALL_OBJECT).then(|| places.collect())
}

/// Writes the value as JSON again: of a repeated key the last, numbers with their own digits.
impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(v) => serializer.serialize_bool(*v),
            Self::Number(n) => n.serialize(serializer),
            Self::String(s) => serializer.serialize_str(s),
            Self::Array(elements) => serializer.collect_seq(*elements),
            Self::Object(_) => {
                let mut map = serializer.serialize_map(None)?;
                for (key, value) in self.members() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads a line into a tree. Refuses exactly the lines that [`check`](super::check()) calls
/// invalid JSON; the root may be any value.
///
/// # Errors
/// [`Invalid::Utf8`] and [`Invalid::Json`].
pub fn parse<'a>(arena: &'a Arena, line: &'a [u8]) -> Result<Node<'a>, Invalid> {
    parse_wanted(arena, line, &Wanted::All)
}

/// As [`parse`], without the members that are not wanted. For lines that `check` took: of what
/// is skipped little is judged (a lone surrogate passes, and any depth).
///
/// # Errors
/// [`Invalid::Utf8`] and [`Invalid::Json`].
pub fn parse_wanted<'a>(
    arena: &'a Arena,
    line: &'a [u8],
    wanted: &Wanted,
) -> Result<Node<'a>, Invalid> {
    let text = std::str::from_utf8(line).map_err(Invalid::utf8)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let builder = Builder {
        wanted,
        arena: &arena.0,
        open: &mut Open::default(),
    };
    let node = builder
        .deserialize(&mut deserializer)
        .map_err(Invalid::json)?;
    deserializer.end().map_err(Invalid::json)?;
    Ok(node)
}

/// What is read of the values that have not ended yet: each takes what lies above where it
/// began.
#[derive(Default)]
struct Open<'a> {
    members: Vec<(&'a str, Node<'a>)>,
    elements: Vec<Node<'a>>,
}

/// Builds the wanted part of a value.
struct Builder<'b, 'a> {
    wanted: &'b Wanted,
    arena: &'a bumpalo::Bump,
    open: &'b mut Open<'a>,
}

impl<'a> Builder<'_, 'a> {
    /// For a value within this one.
    fn within<'c>(&'c mut self, wanted: &'c Wanted) -> Builder<'c, 'a> {
        Builder {
            wanted,
            arena: self.arena,
            open: self.open,
        }
    }

    fn key(&self) -> Key<'a> {
        Key(self.arena)
    }

    /// The object whose members lie from `begun` on.
    fn object(self, begun: usize) -> Node<'a> {
        let members = self.arena.alloc_slice_copy(&self.open.members[begun..]);
        self.open.members.truncate(begun);
        Node::Object(members)
    }
}

impl<'a, 'de: 'a> DeserializeSeed<'de> for Builder<'_, 'a> {
    type Value = Node<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, 'de: 'a> Visitor<'de> for Builder<'_, 'a> {
    type Value = Node<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'a>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Node<'a>, E> {
        Ok(Node::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Node<'a>, E> {
        Ok(Node::Number(Number::Unsigned(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Node<'a>, E> {
        Ok(Node::Number(Number::Negative(v)))
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Node<'a>, E> {
        Ok(Node::String(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Node<'a>, E> {
        Ok(Node::String(self.arena.alloc_str(v)))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node<'a>, A::Error> {
        let begun = self.open.elements.len();
        let wanted = self.wanted;
        while let Some(element) = seq.next_element_seed(self.within(wanted))? {
            self.open.elements.push(element);
        }
        let elements = self.arena.alloc_slice_copy(&self.open.elements[begun..]);
        self.open.elements.truncate(begun);
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node<'a>, A::Error> {
        let begun = self.open.members.len();
        let Some(mut key) = map.next_key_seed(self.key())? else {
            return Ok(self.object(begun));
        };
        if is_token(key) {
            match map.next_value_seed(UnderToken(self.within(&Wanted::All)))? {
                Under::Digits(digits) => {
                    return Ok(Node::Number(Number::Text(self.arena.alloc_str(&digits))));
                }
                Under::Value(value) => self.open.members.push((key, value)),
            }
            match map.next_key_seed(self.key())? {
                Some(next) => key = next,
                None => return Ok(self.object(begun)),
            }
        }
        let here = self.wanted;
        loop {
            match here.of(key) {
                Some(wanted) => {
                    let value = map.next_value_seed(self.within(wanted))?;
                    self.open.members.push((key, value));
                }
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
            match map.next_key_seed(self.key())? {
                Some(next) => key = next,
                None => return Ok(self.object(begun)),
            }
        }
    }
}

/// An object's key, borrowed if it can be.
struct Key<'a>(&'a bumpalo::Bump);

impl<'a, 'de: 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, 'de: 'a> Visitor<'de> for Key<'a> {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(v)
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(self.0.alloc_str(v))
    }
}
