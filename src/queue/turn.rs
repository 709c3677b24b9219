//! The right to deliver.

use super::engines::each;
use super::entry::{Entry, EntryId, Mark, Settlement};
use super::error::QueueError;
use super::memory::MemoryTurn;
#[cfg(feature = "postgres")]
use super::postgres::PostgresTurn;
use super::sled::SledTurn;

/// The right to deliver from a queue, which one holder has at a time; got by `Queue::turn`.
/// Clones share it: it goes back with [`Turn::end`], or when the last clone is dropped.
///
/// It may also be lost to the next holder. Nothing that is called under a turn that is over
/// changes anything, and whatever can say so says [`QueueError::TurnOver`]. What was claimed under
/// it and not settled is dropped when the next one begins: it is queued again, or in doubt if it
/// was marked, for the request may be at Pinterest.
#[derive(Clone)]
pub struct Turn {
    held: Held,
}

#[derive(Clone)]
enum Held {
    Memory(MemoryTurn),
    Sled(SledTurn),
    #[cfg(feature = "postgres")]
    Postgres(PostgresTurn),
}

#[cfg(feature = "postgres")]
impl From<PostgresTurn> for Turn {
    fn from(turn: PostgresTurn) -> Self {
        Self {
            held: Held::Postgres(turn),
        }
    }
}

impl From<MemoryTurn> for Turn {
    fn from(turn: MemoryTurn) -> Self {
        Self {
            held: Held::Memory(turn),
        }
    }
}

impl From<SledTurn> for Turn {
    fn from(turn: SledTurn) -> Self {
        Self {
            held: Held::Sled(turn),
        }
    }
}

impl Turn {
    /// Claims up to `max_events` events of at most `max_bytes` together (at least one), first
    /// in first out; waits until there is one. Not cancel-safe: run it in a task of its own.
    ///
    /// # Errors
    /// [`QueueError::TurnOver`], also while it waits; [`QueueError::Stopped`].
    pub async fn claim(
        &self,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        each!(Held, &self.held, turn => turn.claim(max_events, max_bytes).await)
    }

    /// Makes it durable that these events leave now under these names. An event that is marked
    /// already (its last outcome is unknown) is counted as resent. Gives those that were forgotten
    /// since they were claimed: they are not marked and must not leave, and are settled as
    /// [`Outcome::Forgotten`](crate::queue::Outcome::Forgotten).
    ///
    /// # Errors
    /// [`QueueError::TurnOver`], [`QueueError::Stopped`]; then the request must not leave.
    pub async fn mark(&self, mark: Mark) -> Result<Vec<EntryId>, QueueError> {
        each!(Held, &self.held, turn => turn.mark(mark).await)
    }

    /// Says that the outcome of these marked events is unknown: they stay marked and count as
    /// in doubt until they are settled.
    pub fn doubt(&self, ids: &[EntryId]) {
        each!(Held, &self.held, turn => turn.doubt(ids))
    }

    /// Says that Pinterest took none of these events: their marks go, except where an earlier
    /// attempt is still in doubt. Rides with the next settlement; need not be awaited.
    pub fn release(&self, ids: &[EntryId]) {
        each!(Held, &self.held, turn => turn.release(ids))
    }

    /// Ends claims. Durable when it resolves.
    ///
    /// # Errors
    /// [`QueueError::TurnOver`], [`QueueError::Stopped`]; the events then stay queued (or in
    /// doubt) for the next turn.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        each!(Held, &self.held, turn => turn.settle(settlements).await)
    }

    /// Gives the right to deliver back, for all clones: from here on they say
    /// [`QueueError::TurnOver`]. What is being written under it still is, and the next turn begins
    /// behind that.
    pub async fn end(self) {
        each!(Held, &self.held, turn => turn.end().await)
    }
}
