//! What goes into the queue and what comes out of it, whichever engine stands behind.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::numbers::{LetterNumber, Seq};
use crate::clock::Millis;

/// Names one stored event: its sequence number, or its number among the dead letters when it
/// is queued from there (retried by the operator, or deferred from its batch).
///
/// Order: sequence numbers first, each kind ascending.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u64);

/// Where an [`EntryId`] points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A sequence number of the main line, from 1.
    Line(Seq),
    /// A number among the dead letters, from 1.
    Dead(LetterNumber),
}

const DEAD_BIT: u64 = 1 << 63;

impl EntryId {
    /// The event with this sequence number.
    pub const fn line(seq: Seq) -> Self {
        Self(seq.0 & !DEAD_BIT)
    }

    /// The event with this dead-letter number, queued again.
    pub const fn dead(number: LetterNumber) -> Self {
        Self(number.0 | DEAD_BIT)
    }

    /// Which store the number counts in.
    pub const fn origin(self) -> Origin {
        if self.0 & DEAD_BIT == 0 {
            Origin::Line(Seq(self.0))
        } else {
            Origin::Dead(LetterNumber(self.0 & !DEAD_BIT))
        }
    }

    /// The number as stored in marks.
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The inverse of [`EntryId::to_raw`].
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin() {
            Origin::Line(n) => write!(f, "line {n}"),
            Origin::Dead(n) => write!(f, "dead {n}"),
        }
    }
}

/// A claimed event. Whoever holds it owes the queue a [`Settlement`], which consumes it.
///
/// Deliberately not `Clone`: one claim, one settlement.
pub struct Entry {
    /// The event's place in the queue.
    pub id: EntryId,
    /// Keyed hash of the messageId; equality of the hash is equality of the id.
    pub id_hash: u128,
    /// The moment of acceptance.
    pub accepted_at: Millis,
    /// Unix seconds; fixed at acceptance, so that every resend carries the same.
    pub event_time: i64,
    /// The line as the client sent it, without its line end.
    pub body: Bytes,
    /// The `event_name` of the first attempt, if this event may have reached Pinterest before:
    /// it goes out under this name, whatever the config says now.
    pub sent_as: Option<Arc<str>>,
    /// How often the event failed alone so far (kept for events that were deferred).
    pub failures: u32,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body holds personal data and stays out.
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("accepted_at", &self.accepted_at)
            .field("event_time", &self.event_time)
            .field("bytes", &self.body.len())
            .field("in_doubt", &self.sent_as.is_some())
            .field("failures", &self.failures)
            .finish()
    }
}

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Pinterest answered `processed`.
    Delivered,
    /// The event will not be sent; it is kept with its bytes, the reason and Pinterest's words.
    Dead {
        /// Which of the fixed reasons.
        reason: DeadReason,
        /// Pinterest's message, or what was missing. Never personal data of our own adding.
        message: String,
    },
    /// [`Queue::forget`](crate::queue::Queue::forget) has given it up while it was claimed, as its
    /// mark was told: it was not sent.
    Forgotten,
    /// The event keeps failing alone without a verdict: it leaves the line, so that the
    /// low-water mark passes it, and is queued again at once under a dead-letter number.
    Deferred {
        /// How often it has failed alone, kept for the next claim.
        failures: u32,
    },
}

/// A claim and how it ended.
#[derive(Debug)]
pub struct Settlement {
    /// The claim, consumed.
    pub entry: Entry,
    /// Its end.
    pub outcome: Outcome,
}

/// Why an event became a dead letter. A fixed list: it is also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadReason {
    /// No `em`, and not both of client_ip_address and client_user_agent.
    NoMatchKey,
    /// Pinterest refused this event.
    Refused,
    /// Alone in its request it was still too large (413, or over the body limit).
    TooLarge,
    /// Older than `delivery.max_age`.
    Expired,
    /// Older than `delivery.late_after` while `on_late = "dead_letter"`.
    Late,
    /// Pinterest refused a custom property while `on_refused = "dead_letter"`.
    CustomRefused,
    /// Its time is there and cannot be read, while `[event_time] unreadable = "dead_letter"`.
    UnreadableTime,
}

impl DeadReason {
    /// Every reason, in storage order.
    pub const ALL: [Self; 7] = [
        Self::NoMatchKey,
        Self::Refused,
        Self::TooLarge,
        Self::Expired,
        Self::Late,
        Self::CustomRefused,
        Self::UnreadableTime,
    ];

    /// The name used in the CLI, logs, metrics and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoMatchKey => "no_match_key",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Expired => "expired",
            Self::Late => "late",
            Self::CustomRefused => "custom_refused",
            Self::UnreadableTime => "unreadable_time",
        }
    }

    /// Whether the message is of our own words, and not the destination's, which may quote the
    /// event.
    pub const fn is_own(self) -> bool {
        match self {
            Self::Refused | Self::TooLarge | Self::CustomRefused => false,
            Self::NoMatchKey | Self::UnreadableTime | Self::Expired | Self::Late => true,
        }
    }

    /// Position in [`DeadReason::ALL`]; the number in stored records.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The inverse of [`DeadReason::index`].
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the queue says of one event after the commitment. Only a commit makes one: an answer
/// on the socket that claims durability can be built from nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// On disk, synced.
    Queued,
    /// This messageId was accepted before within the window; the first copy is on disk.
    Duplicate,
    /// Its event was a dead letter with other bytes; these replace them and are queued.
    Retried,
}

/// One request about to leave: which events, and the name each goes under.
#[derive(Debug, Clone)]
pub struct Mark {
    /// In the order of the request.
    pub events: Vec<(EntryId, Arc<str>)>,
}
