//! Look-up results by messageId, and the events that wait.

use std::sync::Arc;

use super::entry::EntryId;
use super::letter::Letter;
use crate::clock::Millis;
use crate::queue::numbers::LetterNumber;
use crate::queue::numbers::Seq;

/// Where the event of a messageId is. If the id was accepted more than once, it is the last of
/// its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It waits, or is being sent.
    Queued {
        /// Its sequence number, or its number among the dead letters if it is queued from there.
        id: EntryId,
        /// When it was accepted; of an import, first.
        accepted_at: Millis,
        /// The request that it left with, if Pinterest may have seen it.
        sent: Option<Sent>,
    },
    /// It could not be delivered.
    Dead(Letter),
    /// It was a dead letter, and was given up; an import brings it back.
    Purged {
        /// Its number among the dead letters.
        number: LetterNumber,
    },
    /// It was delivered, forgotten or dropped, or its bytes were lost to damage.
    Settled {
        /// After this it was accepted, Unix milliseconds, where that is known.
        accepted_after: Option<Millis>,
        /// By then it was accepted.
        accepted_by: Option<Millis>,
    },
    /// It was never accepted, or that is longer ago than messageIds are remembered.
    Unknown,
}

/// A request that an event left with, whose outcome is not known (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The event_name that it goes out under, now and later; none where that was lost.
    pub name: Option<Arc<str>>,
    /// When it left first, or when that was put in doubt.
    pub at: Millis,
    /// The outcome is unknown; otherwise the answer is awaited.
    pub in_doubt: bool,
}

/// An event that is queued or being sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Its place in the queue.
    pub id: EntryId,
    /// Keyed hash of its messageId.
    pub id_hash: u128,
    /// When it was accepted, Unix milliseconds; of an import, first.
    pub accepted_at: Millis,
    /// How often it failed alone without a verdict, over restarts.
    pub failures: u32,
    /// The request that it left with, if Pinterest may have seen it.
    pub sent: Option<Sent>,
    /// The line as the client sent it, without its line end. Holds personal data.
    pub body: bytes::Bytes,
}

impl std::fmt::Debug for Unsettled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body holds personal data and stays out.
        f.debug_struct("Unsettled")
            .field("id", &self.id)
            .field("accepted_at", &self.accepted_at)
            .field("failures", &self.failures)
            .field("sent", &self.sent)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What giving up one event came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// It waited, and is purged.
    Purged,
    /// Its request has left: it is purged after the answer, unless that says that it was delivered.
    AfterAnswer,
    /// It does not wait, and nothing was changed; where it is.
    NotQueued(Found),
}

/// An event of the line, as it waits.
#[derive(Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its sequence number.
    pub number: Seq,
    /// Keyed hash of its messageId.
    pub id_hash: u128,
    /// When it was accepted.
    pub accepted_at: Millis,
    /// Unix seconds; fixed at acceptance.
    pub event_time: i64,
    /// The line as the client sent it, without its line end. Holds personal data.
    pub body: bytes::Bytes,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body holds personal data and stays out.
        f.debug_struct("Waiting")
            .field("number", &self.number)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Some of the line, from the oldest event on that is not settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingPage {
    /// By number, ascending. Some of them may be settled already: what is settled out of order
    /// stands among what is not.
    pub events: Vec<Waiting>,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// The number after which to go on; `None`: there are no more.
    pub next: Option<Seq>,
}
