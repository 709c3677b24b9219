//! Dead letters as the operator meets them: what one says, and what may be done with it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::entry::DeadReason;
use super::id_hash::IdHasher;
use super::numbers::LetterNumber;
use crate::clock::Millis;

/// Numbers that one [`Page`] looks at, at most.
pub const PAGE_NUMBERS: u64 = 4096;
/// Bytes of bodies and messages after which a [`Page`] ends.
pub const PAGE_BYTES: usize = 4 << 20;

/// Names one dead letter. Only the queue makes them, by reading the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterKey {
    pub(super) number: LetterNumber,
    pub(super) id_hash: u128,
    pub(super) reason: DeadReason,
}

impl LetterKey {
    /// Its number among the dead letters, from 1. Never given twice.
    pub const fn number(self) -> LetterNumber {
        self.number
    }

    /// Why it is dead.
    pub const fn reason(self) -> DeadReason {
        self.reason
    }
}

/// A dead letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its name.
    pub key: LetterKey,
    /// When its event was accepted.
    pub accepted_at: Millis,
    /// Unix seconds; fixed at acceptance.
    pub event_time: i64,
    /// When it died.
    pub died_at: Millis,
    /// Pinterest's message, or what was missing.
    pub message: String,
    /// The line as the client sent it, without its line end. Holds personal data.
    pub body: Bytes,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body holds personal data and stays out.
        f.debug_struct("Letter")
            .field("key", &self.key)
            .field("died_at", &self.died_at)
            .field("message", &self.message)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Says which letters are wanted. Runs on a thread that may block.
pub type LetterFilter = Arc<dyn Fn(&Letter) -> bool + Send + Sync>;

/// Some of the dead letters, by number ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Those that were wanted. There may be more behind an empty page.
    pub letters: Vec<Letter>,
    /// The number from which to go on; `None`: there are no more.
    pub next: Option<LetterNumber>,
}

/// An event on its way back, such as an exported and edited dead letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Import {
    pub(super) id_hash: u128,
    pub(super) accepted_at: Millis,
    pub(super) event_time: i64,
    pub(super) body: Bytes,
}

impl Import {
    /// `accepted_at`: when the event was accepted first, so that it keeps its age. `event_time`
    /// in Unix seconds; `body` is the line without its line end, which was checked.
    pub fn new(
        hasher: &IdHasher,
        message_id: &str,
        accepted_at: Millis,
        event_time: i64,
        body: Bytes,
    ) -> Self {
        Self {
            id_hash: hasher.hash(message_id),
            accepted_at,
            event_time,
            body,
        }
    }
}

/// What became of an [`Import`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Its event was dead or purged: it is queued again, with these bytes.
    Retried,
    /// Its messageId is not known (any more): it is accepted as a new event.
    Queued,
    /// Its event is queued, or was delivered: it is not taken, for it would be sent twice.
    Duplicate,
}

impl Imported {
    /// The name used in the CLI and the admin socket's answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retried => "revived",
            Self::Queued => "queued",
            Self::Duplicate => "duplicate",
        }
    }
}
