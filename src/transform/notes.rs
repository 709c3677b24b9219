//! How a source that cannot be read becomes a note: the fault, where it was met, and the notes of one
//! event as they come.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::note::{Element, Note, Path, Word, rank};

/// Why a source cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub word: Word,
    pub reason: &'static str,
}

impl Fault {
    pub const fn unreadable(reason: &'static str) -> Self {
        Self {
            word: Word::Unreadable,
            reason,
        }
    }

    pub const fn new(word: Word, reason: &'static str) -> Self {
        Self { word, reason }
    }
}

/// What a source gives: nothing if it is missing, a fault if it is there and cannot be read.
pub(super) type Read<T> = Result<Option<T>, Fault>;

/// Where a value stands, as [`Path`] has it; borrowed, for most are never told.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    base: Base<'p>,
    element: Option<At<'p>>,
    key: Option<Base<'p>>,
}

#[derive(Clone, Copy)]
enum Base<'p> {
    Known(&'static str),
    Configured(&'p str),
}

/// Which element of a list, or of an object that stands for one.
#[derive(Clone, Copy)]
pub(super) enum At<'p> {
    Index(usize),
    Key(&'p str),
}

impl<'p> Place<'p> {
    pub const fn at(base: &'static str) -> Self {
        Self {
            base: Base::Known(base),
            element: None,
            key: None,
        }
    }

    /// The source of a mapping.
    pub const fn configured(base: &'p str) -> Self {
        Self {
            base: Base::Configured(base),
            element: None,
            key: None,
        }
    }

    pub const fn element(self, element: At<'p>) -> Self {
        Self {
            element: Some(element),
            ..self
        }
    }

    pub const fn key(self, key: &'static str) -> Self {
        Self {
            key: Some(Base::Known(key)),
            ..self
        }
    }

    /// A key that the config names.
    pub const fn configured_key(self, key: &'p str) -> Self {
        Self {
            key: Some(Base::Configured(key)),
            ..self
        }
    }
}

impl From<Place<'_>> for Path {
    fn from(place: Place<'_>) -> Self {
        let text = |base| match base {
            Base::Known(base) => Cow::Borrowed(base),
            Base::Configured(base) => Cow::Owned(base.to_owned()),
        };
        let element = place.element.map(|at| match at {
            At::Index(index) => Element::Number(index),
            At::Key(key) => match key.parse::<u32>() {
                Ok(number) => Element::Number(number as usize),
                Err(_) => Element::Named,
            },
        });
        Self::new(text(place.base), element, place.key.map(text))
    }
}

/// Where there is one note there often are some more.
const SEVERAL: usize = 16;

/// The notes of one event, as they come.
#[derive(Default)]
pub(super) struct Notes(RefCell<Vec<Note>>);

impl Notes {
    #[cold]
    pub fn add(&self, field: &'static str, place: Place<'_>, fault: Fault) {
        let mut notes = self.0.borrow_mut();
        if notes.is_empty() {
            notes.reserve(SEVERAL);
        }
        notes.push(Note {
            field,
            path: place.into(),
            word: fault.word,
            reason: fault.reason,
        });
    }

    /// What a source gives; a fault is noted.
    #[inline]
    pub fn take<T>(&self, field: &'static str, place: Place<'_>, read: Read<T>) -> Option<T> {
        match read {
            Ok(found) => found,
            Err(fault) => {
                self.add(field, place, fault);
                None
            }
        }
    }

    /// What came first.
    pub fn first(&self) -> Option<Fault> {
        let notes = self.0.borrow();
        let note = notes.first()?;
        Some(Fault::new(note.word, note.reason))
    }

    /// In the order of the payload.
    pub fn finish(self) -> Vec<Note> {
        let mut notes = self.0.into_inner();
        if notes.len() > 1 {
            // Many notes mostly are many of one field: its place is looked up once.
            let mut last = ("", None);
            notes.sort_by_cached_key(|note| {
                if note.field != last.0 {
                    last = (note.field, rank(note.field));
                }
                last.1
            });
        }
        notes
    }
}
