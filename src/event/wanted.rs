//! Which parts of an event are worth a place in its tree.

/// The members of an object that are read, or of any object in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The value whole.
    All,
    /// These members; the rest is skipped.
    Only(Vec<(Box<str>, Wanted)>),
}

impl Wanted {
    /// Nothing, to which paths are added.
    pub const fn nothing() -> Self {
        Self::Only(Vec::new())
    }

    /// Adds the whole value at the end of a path of keys. A step that is a decimal number may
    /// be an index, and `*` is each of them: from there on everything is wanted.
    pub fn add<'k>(&mut self, mut path: impl Iterator<Item = &'k str>) {
        let is_index = |key: &&str| *key == "*" || key.bytes().all(|b| b.is_ascii_digit());
        match (path.next().filter(|key| !is_index(key)), &mut *self) {
            (_, Self::All) => {}
            (None, _) => *self = Self::All,
            (Some(key), Self::Only(members)) => {
                let place = members.iter().position(|(name, _)| **name == *key);
                let place = place.unwrap_or_else(|| {
                    members.push((key.into(), Self::nothing()));
                    members.len() - 1
                });
                members[place].1.add(path);
            }
        }
    }

    /// What is wanted of this member's value; `None`: it is skipped.
    pub(super) fn of(&self, key: &str) -> Option<&Self> {
        match self {
            Self::All => Some(self),
            Self::Only(members) => {
                let member = members.iter().find(|(name, _)| **name == *key);
                member.map(|(_, wanted)| wanted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, Node, parse, parse_wanted};

    fn wanted(paths: &[&str]) -> Wanted {
        let mut wanted = Wanted::nothing();
        paths.iter().for_each(|path| wanted.add(path.split('.')));
        wanted
    }

    /// What is kept of a line, as JSON.
    fn kept(paths: &[&str], line: &str) -> String {
        let arena = Arena::default();
        match parse_wanted(&arena, line.as_bytes(), &wanted(paths)) {
            Ok(node) => serde_json::to_string(&node).unwrap(),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn what_is_wanted_is_kept_whole_and_the_rest_is_skipped() {
        let line = r#"{"x":[1.50,{"y":"\ud800"}],"a":{"b":1.50,"c":{"d":[]}},"e":"\u00e9"}"#;
        for (paths, expected) in [
            (&["a.b"][..], r#"{"a":{"b":1.50}}"#),
            (&["a.c.d", "a.c"], r#"{"a":{"c":{"d":[]}}}"#),
            (&["a.c", "a.c.d"], r#"{"a":{"c":{"d":[]}}}"#),
            (&["e", "nowhere"], r#"{"e":"é"}"#),
            (&[], "{}"),
        ] {
            assert_eq!(kept(paths, line), expected, "{paths:?}");
        }
    }

    #[test]
    fn an_index_wants_all_of_where_it_may_lead() {
        let line = r#"{"p":[{"c":1,"d":2}],"q":{"0":{"c":3},"r":4}}"#;
        assert_eq!(kept(&["p.0.c"], line), r#"{"p":[{"c":1,"d":2}]}"#);
        assert_eq!(kept(&["q.0.c"], line), r#"{"q":{"0":{"c":3},"r":4}}"#);
        assert_eq!(kept(&["0"], "[1]"), "[1]");
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_and_numbers_stay_themselves() {
        let line = r#"{"$serde_json::private::Number":"1","n":2e400,"n":0.10}"#;
        let arena = Arena::default();
        let only = parse_wanted(&arena, line.as_bytes(), &wanted(&["n"]));
        let whole = parse(&arena, line.as_bytes());
        let (Ok(only), Ok(whole)) = (only, whole) else {
            panic!()
        };
        assert!(only.at("n") == whole.at("n"));
        assert!(matches!(only.at("n"), Node::Number(n) if n.to_string() == "0.10"));
    }
}
