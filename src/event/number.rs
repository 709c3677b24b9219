//! JSON numbers that keep their own digits.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::decimal::Decimal;

/// The key under which serde_json hands a number over to a visitor that takes anything, when
/// it is built with `arbitrary_precision`: as a map of this one key.
const TOKEN: &str = "$serde_json::private::Number";

/// A JSON number of any magnitude and precision. Never passes through a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number<'a> {
    /// An integer as written, up to `u64::MAX`.
    Unsigned(u64),
    /// A negative integer as written, down to `i64::MIN`.
    Negative(i64),
    /// Anything else, digit for digit; only a positive exponent gains its `+` (`1e5` is kept
    /// as `1e+5`).
    Text(&'a str),
}

impl Number<'_> {
    /// Sign, digits and exponent; `f` sees them as long as the digits are at hand.
    pub fn with_decimal<T>(&self, f: impl FnOnce(Decimal<'_>) -> T) -> T {
        match self {
            Self::Unsigned(n) => f(Decimal::integer(false, Digits::new(*n).as_bytes())),
            Self::Negative(n) => f(Decimal::integer(
                true,
                Digits::new(n.unsigned_abs()).as_bytes(),
            )),
            // A JSON number always is a decimal; were it not, 0 with no digits is harmless.
            Self::Text(text) => f(Decimal::parse(text).unwrap_or(Decimal::integer(false, b""))),
        }
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(n) => n.fmt(f),
            Self::Negative(n) => n.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(n) => serializer.serialize_u64(*n),
            Self::Negative(n) => serializer.serialize_i64(*n),
            Self::Text(text) => text
                .parse::<serde_json::Number>()
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
        }
    }
}

/// The decimal digits of an integer on the stack.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    fn new(mut n: u64) -> Self {
        let mut bytes = [b'0'; 20];
        let mut start = bytes.len();
        loop {
            start -= 1;
            bytes[start] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                return Self { bytes, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Whether `key`, the first of a map, may announce a number instead of an object.
pub(super) fn is_token(key: &str) -> bool {
    key == TOKEN
}

/// Reads the value under a first key that equals [`TOKEN`].
///
/// serde_json hands a number's digits over as an owned string (`visit_string`); the strings of
/// a text always come borrowed or as `visit_str`. So a client's own object with that key is
/// told apart, whatever stands under it: everything but the owned string goes to `inner`.
pub(super) struct UnderToken<V>(pub V);

/// What stood under [`TOKEN`].
pub(super) enum Under<T> {
    /// The map is a number; these are its digits.
    Digits(String),
    /// The map is an object; this is the value of its first key.
    Value(T),
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for UnderToken<V> {
    type Value = Under<V::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! forward {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E: serde::de::Error>(self, v: $type) -> Result<Self::Value, E> {
            self.0.$visit(v).map(Under::Value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for UnderToken<V> {
    type Value = Under<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_string<E: serde::de::Error>(self, v: String) -> Result<Self::Value, E> {
        Ok(Under::Digits(v))
    }

    forward!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_str: &str, visit_borrowed_str: &'de str);

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.0.visit_unit().map(Under::Value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(seq).map(Under::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(map).map(Under::Value)
    }
}
