//! Where the members of an object and the elements of an array stand in JSON text, without a
//! judgement of what they are.
//!
//! Invariant: every byte of a part is the client's, so a part is judged and repaired where every
//! event is, whatever protocol it came by; and text that is no UTF-8 is cut like any other, for
//! outside of strings JSON has ASCII alone.

use std::borrow::Cow;

use memchr::memchr2;

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// As it stands, without its quotes.
    key: &'a [u8],
    /// Whether something in the key is escaped.
    is_escaped: bool,
    /// As it stands.
    pub value: &'a [u8],
}

impl<'a> Member<'a> {
    /// The key, unescaped; one that is damaged is nobody's.
    pub fn key(&self) -> Cow<'a, [u8]> {
        if !self.is_escaped {
            return Cow::Borrowed(self.key);
        }
        let quoted = [b"\"", self.key, b"\""].concat();
        match serde_json::from_slice::<String>(&quoted) {
            Ok(key) => Cow::Owned(key.into_bytes()),
            Err(_) => Cow::Borrowed(self.key),
        }
    }

    /// The key as it stands, without its quotes.
    pub const fn raw_key(&self) -> &'a [u8] {
        self.key
    }
}

/// Where the text stops being what was expected, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub usize);

/// The members of an object, in order, and whether it is one: `None` is another value.
///
/// # Errors
/// Where it is broken; also what stands behind it.
pub(super) fn members(text: &[u8]) -> Result<Option<Vec<Member<'_>>>, Broken> {
    let mut at = Cursor::new(text);
    if !at.takes(b'{') {
        return Ok(None);
    }
    let mut members = Vec::with_capacity(16);
    if !at.takes(b'}') {
        loop {
            let key = at.string()?;
            at.expects(b':')?;
            let key = &key[1..key.len() - 1];
            members.push(Member {
                key,
                is_escaped: key.contains(&b'\\'),
                value: at.value()?,
            });
            if !at.goes_on(b'}')? {
                break;
            }
        }
    }
    at.ends().map(|()| Some(members))
}

/// The elements of an array, likewise.
///
/// # Errors
/// Where it is broken.
pub(super) fn elements(text: &[u8]) -> Result<Option<Vec<&[u8]>>, Broken> {
    let mut at = Cursor::new(text);
    if !at.takes(b'[') {
        return Ok(None);
    }
    let mut elements = Vec::new();
    if !at.takes(b']') {
        loop {
            elements.push(at.value()?);
            if !at.goes_on(b']')? {
                break;
            }
        }
    }
    at.ends().map(|()| Some(elements))
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn broken<T>(&self) -> Result<T, Broken> {
        Err(Broken(self.at))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn expects(&mut self, byte: u8) -> Result<(), Broken> {
        match self.takes(byte) {
            true => Ok(()),
            false => self.broken(),
        }
    }

    /// Whether a comma follows; otherwise `close` does.
    fn goes_on(&mut self, close: u8) -> Result<bool, Broken> {
        if self.takes(b',') {
            return Ok(true);
        }
        self.expects(close).map(|()| false)
    }

    fn ends(&mut self) -> Result<(), Broken> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.broken(),
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<&'a [u8], Broken> {
        if self.peek() != Some(b'"') {
            return self.broken();
        }
        let from = self.at;
        self.skip_string()?;
        Ok(&self.text[from..self.at])
    }

    /// Goes on behind the string that begins here.
    fn skip_string(&mut self) -> Result<(), Broken> {
        self.at += 1;
        while let Some(found) = memchr2(b'"', b'\\', &self.text[self.at.min(self.text.len())..]) {
            self.at += found;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Ok(());
            }
            // What is escaped ends nothing.
            self.at += 2;
        }
        self.at = self.text.len();
        self.broken()
    }

    /// Any value. Whether brackets match, and what a word means, is for whoever parses it.
    fn value(&mut self) -> Result<&'a [u8], Broken> {
        let Some(first) = self.peek() else {
            return self.broken();
        };
        let from = self.at;
        match first {
            b'"' => self.skip_string()?,
            b'{' | b'[' => self.skip_nested()?,
            b',' | b':' | b'}' | b']' => return self.broken(),
            _ => {
                let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                let rest = &self.text[self.at..];
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        Ok(&self.text[from..self.at])
    }

    fn skip_nested(&mut self) -> Result<(), Broken> {
        let mut depth = 0usize;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        self.broken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn shown(text: &[u8]) -> Result<Option<Vec<(String, String)>>, usize> {
        let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let members = members(text).map_err(|broken| broken.0)?;
        Ok(members.map(|members| {
            let pair = |member: &Member<'_>| (text_of(&member.key()), text_of(member.value));
            members.iter().map(pair).collect()
        }))
    }

    #[test]
    fn members_stand_as_they_were_written() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            shown(b" {\"a\\\"b\" : [1,{\"}\":\"]\"}] ,\n\"m\\u0065\":-1.50e2,\"c\":\"x\\\\\"}\r\n"),
            Ok(Some(vec![
                pair("a\"b", "[1,{\"}\":\"]\"}]"),
                pair("me", "-1.50e2"),
                pair("c", "\"x\\\\\""),
            ]))
        );
        assert_eq!(shown(b"{}"), Ok(Some(vec![])));
        assert_eq!(
            shown(b"{\"k\":\"\xff\"}"),
            Ok(Some(vec![pair("k", "\"\u{fffd}\"")]))
        );
        for other in [&b"[]"[..], b"1", b"\"{}\"", b"", b"nope"] {
            assert_eq!(shown(other), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn what_is_broken_is_told_with_its_place() {
        for (text, at) in [
            (&b"{"[..], 1),
            (b"{\"a\"", 4),
            (b"{\"a\":", 5),
            (b"{\"a\":1", 6),
            (b"{\"a\":1 2}", 7),
            (b"{\"a\":1}}", 7),
            (b"{\"a\":,}", 5),
            (b"{a:1}", 1),
            (b"{\"a\":1,}", 7),
            (b"{\"a\":\"b", 7),
            (b"{\"a\\", 4),
            (b"{\"a\":[1}", 8),
        ] {
            let text_of = String::from_utf8_lossy(text);
            match shown(text) {
                Err(found) => assert_eq!(found, at, "{text_of}"),
                // Brackets of two kinds are for whoever parses it.
                Ok(_) => assert_eq!(text, b"{\"a\":[1}", "{text_of}"),
            }
        }
        assert_eq!(elements(b"[1,]"), Err(Broken(3)));
        assert_eq!(elements(b"[1 2]"), Err(Broken(3)));
        assert_eq!(elements(b"{}"), Ok(None));
        assert_eq!(
            elements(b"[ 1 , {\"a\":[]} ]"),
            Ok(Some(vec![&b"1"[..], b"{\"a\":[]}"]))
        );
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_parts_of_a_value_are_its_parts(value in json(), is_pretty: bool) {
            let text = match is_pretty {
                true => serde_json::to_vec_pretty(&value),
                false => serde_json::to_vec(&value),
            }.unwrap();
            let parsed = |part: &[u8]| serde_json::from_slice::<Value>(part).unwrap();
            match &value {
                Value::Object(map) => {
                    let members = members(&text).unwrap().unwrap();
                    prop_assert_eq!(members.len(), map.len());
                    for member in members {
                        let key = String::from_utf8(member.key().into_owned()).unwrap();
                        prop_assert_eq!(&parsed(member.value), &map[&key]);
                    }
                }
                Value::Array(list) => {
                    let elements = elements(&text).unwrap().unwrap();
                    let again: Vec<Value> = elements.into_iter().map(parsed).collect();
                    prop_assert_eq!(&again, list);
                }
                _ => {
                    prop_assert_eq!(members(&text), Ok(None));
                    prop_assert_eq!(elements(&text), Ok(None));
                }
            }
        }

        #[test]
        fn whatever_comes_it_ends(text in proptest::collection::vec(
            prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'),
                Just(b','), Just(b':'), any::<u8>()], 0..60)) {
            let _ = (members(&text), elements(&text));
        }
    }
}
