//! Where the events that wait are in delivery's hands, and what an operator's word for one does.

use serde::{Deserialize, Serialize};

use super::status::Reason;
use crate::clock::Millis;

/// What an event that waits is waiting for, apart from the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its turn: it is not in delivery's hands, or on its way into a batch.
    #[default]
    Line,
    /// The next batch.
    Batch,
    /// Its batch failed, and is tried again at a time that is known.
    Backoff,
    /// Its batch was refused, and is split until what is refused stands alone.
    Isolation,
    /// The answer to the request that it left with.
    Answer,
}

impl WaitsFor {
    /// The name used in the CLI and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Batch => "batch",
            Self::Backoff => "backoff",
            Self::Isolation => "isolation",
            Self::Answer => "answer",
        }
    }
}

/// One event that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// For what.
    pub waits_for: WaitsFor,
    /// When its batch is tried again, wall-clock milliseconds; only behind a backoff.
    pub next_try: Option<Millis>,
}

/// What came of the operator's word that something is to be tried at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriedAtOnce {
    /// So many events leave as soon as a request may: one of them, and those of its batch.
    Now(usize),
    /// Nothing leaves, for this reason.
    Closed(Reason),
    /// It waits for nothing that could be cut short.
    NotBackingOff(Held),
    /// Another process has the turn to deliver.
    StandingBy,
}
