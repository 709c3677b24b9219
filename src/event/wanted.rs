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
    /// be an index: from there on everything is wanted.
    pub fn add<'k>(&mut self, mut path: impl Iterator<Item = &'k str>) {
        let is_index = |key: &&str| key.bytes().all(|b| b.is_ascii_digit());
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
