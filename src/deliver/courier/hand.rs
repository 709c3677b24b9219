//! How much is in hand.

use crate::queue::Entry;

/// Bodies in hand at most; their JSON is held beside them.
const MOST_BYTES: usize = 32 << 20;

/// What was claimed and is not settled.
///
/// Invariant: `events` and `bytes` (of stored bodies) are the sums over all entries that were
/// taken and not settled; `preparing` of these are with the transform.
#[derive(Default)]
pub struct Hand {
    events: usize,
    bytes: usize,
    preparing: usize,
}

impl Hand {
    /// These were claimed.
    pub fn take(&mut self, entries: &[Entry]) {
        self.events += entries.len();
        self.bytes += entries.iter().map(|e| e.body.len()).sum::<usize>();
    }

    /// This one is settled.
    pub fn settle(&mut self, entry: &Entry) {
        self.events -= 1;
        self.bytes -= entry.body.len();
    }

    /// So many go to the transform.
    pub fn prepare(&mut self, events: usize) {
        self.preparing += events;
    }

    /// So many are back from it.
    pub fn prepared(&mut self, events: usize) {
        self.preparing -= events;
    }

    pub fn events(&self) -> usize {
        self.events
    }

    pub fn preparing(&self) -> usize {
        self.preparing
    }

    /// Bytes that there is still room for.
    pub fn bytes_left(&self) -> usize {
        MOST_BYTES.saturating_sub(self.bytes)
    }
}
