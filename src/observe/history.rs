//! What arrived and what was attempted lately, bounded by bytes, to trace one event by.
//!
//! Events are remembered by half of the keyed hash of their messageId: whole blocks and whole
//! requests in a row of numbers, and beside it only what went otherwise than the rest.

use std::collections::VecDeque;
use std::mem::size_of;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// What all of it may take. At 1,000 events a second that is about a quarter of an hour, at
/// 100,000 some ten seconds.
pub const BOUND_BYTES: usize = 16 << 20;

/// Half of a messageId's keyed hash.
pub const fn short(hash: u128) -> u64 {
    hash as u64
}

/// Who sent it: a process of this machine, as the kernel says, or whoever is at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The user's number.
    pub uid: Option<u32>,
    /// The process, if it is known.
    pub pid: Option<i32>,
    /// Where it came from over TCP.
    pub address: Option<IpAddr>,
    /// The name of its write key.
    pub key: Option<Arc<str>>,
}

/// A block of one client that was committed.
pub struct Arrival {
    /// When it was read.
    pub at: Millis,
    /// By whom.
    pub peer: Option<Peer>,
    /// Its events, see [`short`].
    pub ids: Box<[u64]>,
    /// Those of them that were not `queued`, by position, and the answer.
    pub others: Box<[(u32, &'static str)]>,
}

/// What Pinterest said of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It refused the event; the words are without values.
    Failed(Arc<str>),
    /// Neither taken nor refused.
    Unclear,
}

/// A request that is over.
pub struct Attempt {
    /// When it left.
    pub at: Millis,
    /// Until its answer, milliseconds.
    pub took: u32,
    /// The HTTP status; none without an answer.
    pub status: Option<u16>,
    /// What became of it, one of [`super::CLASSES`].
    pub class: &'static str,
    /// What was said of the request as a whole, without values.
    pub message: Option<Arc<str>>,
    /// Its events, see [`short`].
    pub ids: Box<[u64]>,
    /// Those of a judged request that were not processed, by position.
    pub others: Box<[(u32, Verdict)]>,
}

/// An event's end without a delivery, or its leaving the line.
pub struct End {
    /// When.
    pub at: Millis,
    /// Which, see [`short`].
    pub id: u64,
    /// `dead`, `set_apart` or `purged`.
    pub state: &'static str,
    /// Why it is dead.
    pub reason: Option<&'static str>,
}

pub(super) enum Record {
    Arrival(Arrival),
    Attempt(Attempt),
    End(End),
}

impl Record {
    fn at(&self) -> Millis {
        match self {
            Self::Arrival(arrival) => arrival.at,
            Self::Attempt(attempt) => attempt.at,
            Self::End(end) => end.at,
        }
    }

    fn bytes(&self) -> usize {
        let beside = match self {
            Self::Arrival(a) => a.ids.len() * 8 + a.others.len() * size_of::<(u32, &str)>(),
            Self::Attempt(a) => {
                let said = a.others.iter().map(|(_, verdict)| match verdict {
                    Verdict::Failed(message) => message.len(),
                    Verdict::Unclear => 0,
                });
                a.ids.len() * 8
                    + a.others.len() * size_of::<(u32, Verdict)>()
                    + said.sum::<usize>()
                    + a.message.as_ref().map_or(0, |message| message.len())
            }
            Self::End(_) => 0,
        };
        // Each stands behind two counts of who holds it.
        size_of::<Self>() + 2 * size_of::<usize>() + beside
    }

    pub(super) fn step(&self, id: u64) -> Option<Step> {
        let among = |ids: &[u64]| ids.iter().position(|known| *known == id);
        Some(match self {
            Self::Arrival(arrival) => {
                let at = among(&arrival.ids)?;
                let other = arrival
                    .others
                    .iter()
                    .find(|(place, _)| *place as usize == at);
                let peer = arrival.peer.as_ref();
                Step::Arrived {
                    at: arrival.at,
                    answer: other.map_or("queued", |(_, answer)| answer).to_owned(),
                    uid: peer.and_then(|peer| peer.uid),
                    pid: peer.and_then(|peer| peer.pid),
                    address: peer.and_then(|peer| Some(peer.address?.to_string())),
                    key: peer.and_then(|peer| Some(peer.key.as_ref()?.to_string())),
                }
            }
            Self::Attempt(attempt) => {
                let at = among(&attempt.ids)?;
                let other = attempt
                    .others
                    .iter()
                    .find(|(place, _)| *place as usize == at);
                let verdict = other.map(|(_, verdict)| verdict);
                let said = match verdict {
                    Some(Verdict::Failed(message)) => Some(message),
                    _ => attempt.message.as_ref(),
                };
                Step::Attempted {
                    at: attempt.at,
                    took_ms: attempt.took,
                    events: attempt.ids.len(),
                    http_status: attempt.status,
                    class: attempt.class.to_owned(),
                    outcome: attempt.outcome(verdict).to_owned(),
                    message: said.map(|message| message.to_string()),
                }
            }
            Self::End(end) => {
                if end.id != id {
                    return None;
                }
                Step::Ended {
                    at: end.at,
                    state: end.state.to_owned(),
                    reason: end.reason.map(str::to_owned),
                }
            }
        })
    }
}

impl Attempt {
    /// What it was for an event with this verdict.
    pub(super) fn outcome(&self, verdict: Option<&Verdict>) -> &'static str {
        match (self.class, verdict) {
            (_, Some(Verdict::Failed(_))) => "refused",
            (_, Some(Verdict::Unclear)) | ("unknown", _) => "in_doubt",
            ("judged", None) => "delivered",
            ("refused", _) => "refused",
            _ => "released",
        }
    }
}

/// One step in an event's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It came in.
    Arrived {
        /// Unix milliseconds.
        at: Millis,
        /// `queued`, `revived`, `duplicate` or `unavailable`.
        answer: String,
        /// The sender's user.
        uid: Option<u32>,
        /// The sender's process.
        pid: Option<i32>,
        /// The sender's address, over TCP.
        #[serde(default)]
        address: Option<String>,
        /// The name of the sender's write key.
        #[serde(default)]
        key: Option<String>,
    },
    /// It left in a request.
    Attempted {
        /// Unix milliseconds.
        at: Millis,
        /// Until the answer.
        took_ms: u32,
        /// How many events the request held.
        events: usize,
        /// None without an answer.
        http_status: Option<u16>,
        /// What became of the request, one of [`super::CLASSES`].
        class: String,
        /// What that was for this event: `delivered`, `refused`, `released` (Pinterest took
        /// none of the request) or `in_doubt`.
        outcome: String,
        /// What the destination or the system said, without values.
        #[serde(rename = "words")]
        message: Option<String>,
    },
    /// It became a dead letter, was set apart, or was given up while it waited.
    Ended {
        /// Unix milliseconds.
        at: Millis,
        /// `dead`, `set_apart` or `purged`.
        state: String,
        /// Why it is dead.
        reason: Option<String>,
    },
}

/// The last [`BOUND_BYTES`] of it.
#[derive(Default)]
pub struct History {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Something had to be forgotten.
    forgot: bool,
}

impl History {
    /// A block was committed.
    pub fn arrived(&mut self, arrival: Arrival) {
        self.push(Record::Arrival(arrival));
    }

    /// A request is over.
    pub fn attempted(&mut self, attempt: Attempt) {
        self.push(Record::Attempt(attempt));
    }

    /// An event died or was set apart.
    pub fn ended(&mut self, end: End) {
        self.push(Record::End(end));
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.records.push_back(Arc::new(record));
        while self.bytes > BOUND_BYTES
            && let Some(old) = self.records.pop_front()
        {
            self.bytes -= old.bytes();
            self.forgot = true;
        }
    }

    /// All that is remembered of this event (see [`short`]), oldest first.
    pub fn trace(&self, id: u64) -> Vec<Step> {
        let mut steps: Vec<_> = self.records.iter().filter_map(|r| r.step(id)).collect();
        // A block is recorded when it has its receipts, a request when it is over: either may
        // stand behind what happened later.
        steps.sort_by_key(Step::at);
        steps
    }

    /// All that is remembered, in the order in which it was told. Shared: whoever reads it at leisure
    /// keeps what is forgotten meanwhile.
    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        self.records.iter().cloned().collect()
    }

    /// Since when everything is remembered, Unix milliseconds; `None`: since the start.
    pub fn since(&self) -> Option<Millis> {
        let first = self.records.front().filter(|_| self.forgot)?;
        Some(first.at())
    }
}

impl Step {
    /// When it happened, Unix milliseconds.
    pub fn at(&self) -> Millis {
        match self {
            Self::Arrived { at, .. } | Self::Attempted { at, .. } | Self::Ended { at, .. } => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at: Millis, class: &'static str, ids: &[u64]) -> Attempt {
        Attempt {
            at,
            took: 20,
            status: Some(200),
            class,
            message: None,
            ids: ids.into(),
            others: Box::default(),
        }
    }

    #[test]
    fn one_events_life_in_order() {
        let mut history = History::default();
        history.attempted(Attempt {
            status: None,
            message: Some("time-out".into()),
            ..attempt(20, "unknown", &[1, 2, 3])
        });
        history.arrived(Arrival {
            at: 10,
            peer: Some(Peer {
                uid: Some(33),
                pid: Some(7),
                address: None,
                key: Some("shop".into()),
            }),
            ids: Box::new([1, 2, 3]),
            others: Box::new([(2, "duplicate")]),
        });
        history.attempted(Attempt {
            others: Box::new([(1, Verdict::Failed("no user_data".into()))]),
            ..attempt(30, "judged", &[1, 2])
        });
        history.ended(End {
            at: 31,
            id: 2,
            state: "dead",
            reason: Some("refused"),
        });
        let outcomes = |id| -> Vec<String> {
            let steps = history.trace(id).into_iter();
            let told = steps.map(|step| match step {
                Step::Arrived { answer, .. } => answer,
                Step::Attempted { outcome, .. } => outcome,
                Step::Ended { state, .. } => state,
            });
            told.collect()
        };
        assert_eq!(outcomes(1), ["queued", "in_doubt", "delivered"]);
        assert_eq!(outcomes(2), ["queued", "in_doubt", "refused", "dead"]);
        assert_eq!(outcomes(3), ["duplicate", "in_doubt"]);
        assert!(outcomes(4).is_empty());
        assert_eq!(history.since(), None);
    }

    #[test]
    fn it_stays_within_its_bound_and_says_what_it_forgot() {
        let mut history = History::default();
        let ids: Vec<u64> = (0..1000).collect();
        for at in 0..3000 {
            history.attempted(attempt(at, "judged", &ids));
        }
        assert!(history.bytes <= BOUND_BYTES);
        let counted: usize = history.records.iter().map(|record| record.bytes()).sum();
        assert_eq!(counted, history.bytes);
        let since = history.since().expect("it forgot");
        assert_eq!(history.trace(5).len() as i64, 3000 - since);
    }
}
