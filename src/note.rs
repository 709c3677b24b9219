//! What is told of an event beside what is sent: each source that is there and could not be read as
//! it stands. Notes stop no event by themselves, and hold nothing of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The notes of one event; never empty.
pub type Notes = Arc<[Note]>;

use Word::*;

/// Every field that a note may be of, in the order of the payload, and the words that it may have:
/// a wire field by its bare name, `items` for properties.products itself, `line` for the line as a
/// whole.
pub const KINDS: [(&str, &[Word]); 47] = [
    ("line", &[Repaired]),
    ("event_time", &[Unreadable, Future, AssumedUtc]),
    ("action_source", &[Unreadable]),
    ("event_source_url", &[Unreadable]),
    ("opt_out", &[Unreadable]),
    ("language", &[Unreadable, Placeholder]),
    ("app_id", &[Unreadable, Placeholder]),
    ("app_name", &[Unreadable, Placeholder]),
    ("app_version", &[Unreadable, Placeholder]),
    ("device_brand", &[Unreadable, Placeholder]),
    ("device_carrier", &[Unreadable, Placeholder]),
    ("device_model", &[Unreadable, Placeholder]),
    ("device_type", &[Unreadable, Placeholder]),
    ("os_version", &[Unreadable, Placeholder]),
    ("wifi", &[Unreadable]),
    ("app_info", &[Unreadable]),
    ("device_info", &[Unreadable, Placeholder, Negative]),
    ("em", &[Unreadable, Placeholder]),
    ("ph", &[Unreadable, Placeholder]),
    ("fn", &[Unreadable]),
    ("ln", &[Unreadable]),
    ("ct", &[Unreadable, Placeholder]),
    ("st", &[Unreadable, Placeholder, NoCode]),
    ("zp", &[Unreadable, Placeholder]),
    ("country", &[Unreadable, Placeholder, NoCode]),
    ("db", &[Unreadable]),
    ("ge", &[Unreadable]),
    ("hashed_maids", &[Unreadable, Placeholder]),
    ("external_id", &[Unreadable, Placeholder]),
    ("client_ip_address", &[Unreadable]),
    ("client_user_agent", &[Unreadable, Placeholder]),
    ("click_id", &[Unreadable, Placeholder]),
    ("partner_id", &[Unreadable, Placeholder]),
    ("customer_type", &[Unreadable]),
    ("items", &[Unreadable, Placeholder, List]),
    ("value", &[Unreadable, Negative, Partial]),
    ("currency", &[Unreadable]),
    ("order_id", &[Unreadable, Placeholder]),
    ("content_ids", &[Unreadable, Placeholder]),
    ("contents", &[Unreadable, Placeholder, Negative]),
    ("num_items", &[Unreadable, Negative]),
    ("search_string", &[Unreadable]),
    ("content_name", &[Unreadable]),
    ("content_category", &[Unreadable]),
    ("content_brand", &[Unreadable]),
    ("opt_out_type", &[Unreadable]),
    ("predicted_ltv", &[Unreadable]),
];

/// Where a field of [`KINDS`] stands in the payload.
pub fn rank(field: &str) -> Option<usize> {
    KINDS.iter().position(|(known, _)| *known == field)
}

/// What is wrong with a source, or odd about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// It is there, and not what its field takes.
    Unreadable,
    /// A word for nothing, which a producer's slip made a value.
    Placeholder,
    /// A number below zero where none can be.
    Negative,
    /// A sum to which a part is missing.
    Partial,
    /// A moment ahead of the event's acceptance.
    Future,
    /// A moment without a zone, taken for UTC's.
    AssumedUtc,
    /// An object that was read as a list.
    List,
    /// Damaged text that became U+FFFD.
    Repaired,
    /// The name of a place that no table of codes has.
    NoCode,
}

impl Word {
    /// As it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Placeholder => "placeholder",
            Self::Negative => "negative",
            Self::Partial => "partial",
            Self::Future => "future",
            Self::AssumedUtc => "assumed_utc",
            Self::List => "list",
            Self::Repaired => "repaired",
            Self::NoCode => "no_code",
        }
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Where a value stands: a dot path, an element of what is there, a member of that. Written out
/// only where it is shown, so that a note costs next to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What the rule reads, or the source of a mapping.
    base: Cow<'static, str>,
    element: Option<Element>,
    key: Option<Cow<'static, str>>,
}

/// Which element of a list, or of an object that stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// By its place, or by a key that is a number.
    Number(usize),
    /// By another key, which may be anything, also a person's address, of any length: it is not
    /// told.
    Named,
}

impl Path {
    /// A value, an element of it, a member of that.
    pub const fn new(
        base: Cow<'static, str>,
        element: Option<Element>,
        key: Option<Cow<'static, str>>,
    ) -> Self {
        Self { base, element, key }
    }

    /// What the rule reads, whichever element of it is meant.
    pub fn source(&self) -> String {
        match &self.key {
            Some(key) => format!("{}.{key}", self.base),
            None => self.base.to_string(),
        }
    }

    /// Nothing within the line.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        match &self.element {
            Some(Element::Number(number)) => write!(f, ".{number}")?,
            Some(Element::Named) => f.write_str(".*")?,
            None => {}
        }
        match &self.key {
            Some(key) => write!(f, ".{key}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is told. Holds nothing of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// One of [`KINDS`].
    pub field: &'static str,
    /// What was read.
    pub path: Path,
    /// What it is.
    pub word: Word,
    /// The same for people, to be read behind the path: "is no address".
    pub reason: &'static str,
}

impl Note {
    /// That a line was repaired before it was read.
    pub const fn repaired() -> Self {
        Self {
            field: "line",
            path: Path::new(Cow::Borrowed(""), None, None),
            word: Word::Repaired,
            reason: "held text that was damaged: U+FFFD stands in its place",
        }
    }
}
