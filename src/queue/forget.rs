//! Giving up whatever is of one person: whose events, and how many they were.

use std::sync::Arc;

/// Says whose events are meant, by the keyed hash of the messageId and the line as it came. Runs
/// on a thread that may block.
pub type Whose = Arc<dyn Fn(u128, &[u8]) -> bool + Send + Sync>;

/// How many events were meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// They waited, in the line or as retried dead letters, and are given up.
    pub queued: u64,
    /// They were dead letters, and are given up.
    pub dead: u64,
    /// Their request has left: they are given up after its answer, unless that says that they were
    /// delivered.
    pub in_flight: u64,
}

impl Forgotten {
    /// Both together.
    pub(super) fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.dead += other.dead;
        self.in_flight += other.in_flight;
    }
}
