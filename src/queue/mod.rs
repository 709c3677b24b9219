//! The durable queue: its contract, and the enum of engines behind it.
//!
//! The contract speaks of durable receipts and batches, never of files: nothing outside
//! `queue/sled/` names sled.
//!
//! * [`Queue::enqueue`] resolves to receipts only after the block is on disk and synced.
//! * One at a time delivers: whoever holds the [`Turn`] that [`Queue::turn`] gives.
//! * [`Turn::claim`] hands out events first in, first out; a claim ends by [`Turn::settle`].
//! * [`Turn::mark`] is durable before a request leaves, so that after a crash it is known by
//!   name which events Pinterest may have seen.
//! * Dead letters are read in pages ([`Queue::dead_page`]) beside the rest of the work, and go
//!   back ([`Queue::revive`], [`Queue::import`]) or away ([`Queue::purge`]) by name.

use std::ops::RangeInclusive;

mod block;
mod census;
mod disk;
mod entry;
mod error;
mod find;
mod id_hash;
mod letter;
mod loss;
mod memory;
mod pending;
mod ranges;
pub mod sled;
mod turn;
mod verdict;
mod window;

pub use block::{Block, BlockBuilder};
pub use census::Census;
pub use disk::{Closed, Disk};
pub use entry::{DeadReason, Entry, EntryId, Mark, Origin, Outcome, Receipt, Settlement};
pub use error::{OpenError, QueueError};
pub use find::{Found, Sent, Waiting, WaitingPage};
pub use id_hash::IdHasher;
pub use letter::{Import, Imported, Keep, Letter, LetterKey, Page};
pub use loss::{Loss, LossKind};
pub use memory::MemoryEngine;
pub use pending::Pending;
pub use turn::Turn;
pub use verdict::{Checked, Finding, Verdict};
pub use window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS};

/// A queue, whichever engine carries it. Clones share one queue.
#[derive(Clone)]
pub struct Queue {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Memory(MemoryEngine),
    Sled(sled::SledEngine),
}

impl Queue {
    /// A queue on the reference engine.
    pub fn memory(engine: MemoryEngine) -> Self {
        Self {
            engine: Engine::Memory(engine),
        }
    }

    /// A queue on the durable engine.
    pub fn sled(engine: sled::SledEngine) -> Self {
        Self {
            engine: Engine::Sled(engine),
        }
    }

    /// The keyed hash under which this queue remembers messageIds.
    pub fn hasher(&self) -> IdHasher {
        match &self.engine {
            Engine::Memory(engine) => engine.hasher(),
            Engine::Sled(engine) => engine.hasher(),
        }
    }

    /// Hands a block to the committer. Waits while the queue is full (back pressure); the
    /// returned [`Pending`] resolves after the commitment. A dropped `Pending` changes nothing
    /// of what is stored.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] below the disk reserve, [`QueueError::Stopped`] after a
    /// storage error or [`Queue::close`].
    pub async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => engine.enqueue(&block),
            Engine::Sled(engine) => engine.enqueue(block).await,
        }
    }

    /// The right to deliver, which one holder has at a time: waits until whoever has it gives it
    /// back or loses it. What was claimed under the turn before and not settled is queued again,
    /// or in doubt if it was marked.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn turn(&self) -> Result<Turn, QueueError> {
        Ok(match &self.engine {
            Engine::Memory(engine) => engine.turn().await?.into(),
            Engine::Sled(engine) => engine.turn().await?.into(),
        })
    }

    /// The dead letters with numbers in `numbers` that `keep` wants, at most a page of them; reads
    /// beside the committer and the claims. What is revived or purged meanwhile may be among them.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where they cannot be read, [`QueueError::Stopped`].
    pub async fn dead_page(
        &self,
        numbers: RangeInclusive<u64>,
        keep: Keep,
    ) -> Result<Page, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => Ok(engine.dead_page(numbers, &keep)),
            Engine::Sled(engine) => engine.dead_page(numbers, keep).await,
        }
    }

    /// The number of the dead letter under this messageId, if it is one now.
    pub fn dead_number(&self, message_id: &str) -> Option<u64> {
        let id_hash = self.hasher().hash(message_id);
        match &self.engine {
            Engine::Memory(engine) => engine.dead_number(id_hash),
            Engine::Sled(engine) => engine.dead_number(id_hash),
        }
    }

    /// Where the event of this messageId is. Reads beside the committer and the claims; takes up
    /// to seconds where the id is in a long backlog.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where what would tell cannot be read, [`QueueError::Stopped`].
    pub async fn find(&self, message_id: &str) -> Result<Found, QueueError> {
        let id_hash = self.hasher().hash(message_id);
        match &self.engine {
            Engine::Memory(engine) => Ok(engine.find(id_hash)),
            Engine::Sled(engine) => engine.find(id_hash).await,
        }
    }

    /// Puts dead letters back into the queue, as they are; counted `revived`. Those that are dead
    /// no more are passed over. Gives how many went back, durably.
    ///
    /// # Errors
    /// [`QueueError::Stopped`]; some may have gone back.
    pub async fn revive(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => engine.revive(&letters),
            Engine::Sled(engine) => engine.revive(letters).await,
        }
    }

    /// Gives dead letters up; counted `purged`. Those that are dead no more are passed over. Gives
    /// how many are gone, durably. Their messageIds stay known, and only [`Queue::import`] brings
    /// them back.
    ///
    /// # Errors
    /// [`QueueError::Stopped`]; some may be gone.
    pub async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => engine.purge(&letters),
            Engine::Sled(engine) => engine.purge(letters).await,
        }
    }

    /// Takes events back under their messageIds: in place of a dead letter or a purged one, else
    /// as new ones. One answer per event, in order, after the commitment.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] below the disk reserve, [`QueueError::Stopped`]; some may have
    /// been taken.
    pub async fn import(&self, events: Vec<Import>) -> Result<Vec<Imported>, QueueError> {
        let known = match &self.engine {
            Engine::Memory(engine) => engine.take_back(&events)?,
            Engine::Sled(engine) => engine.take_back(&events).await?,
        };
        let (mut answers, mut pending) = (Vec::with_capacity(events.len()), Vec::new());
        for (event, known) in events.iter().zip(known) {
            if known.is_none() {
                // It goes the way of every new event, and all of them at once.
                let block = Block::of(self.hasher(), event);
                pending.push((answers.len(), self.enqueue(block).await?));
            }
            answers.push(known.unwrap_or(Imported::Duplicate));
        }
        for (at, pending) in pending {
            answers[at] = match pending.receipts().await?.first() {
                Some(Receipt::Queued) => Imported::Queued,
                Some(Receipt::Revived) => Imported::Revived,
                Some(Receipt::Duplicate) | None => Imported::Duplicate,
            };
        }
        Ok(answers)
    }

    /// The ledger and its side counts, as of the last commitment.
    pub fn census(&self) -> Census {
        match &self.engine {
            Engine::Memory(engine) => engine.census(),
            Engine::Sled(engine) => engine.census(),
        }
    }

    /// What was lost and is not acknowledged yet, oldest first.
    pub fn losses(&self) -> Vec<Loss> {
        match &self.engine {
            Engine::Memory(_) => Vec::new(),
            Engine::Sled(engine) => engine.losses(),
        }
    }

    /// The operator has taken note of the losses: they are not shown any more. Gives them,
    /// durably taken out.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        match &self.engine {
            Engine::Memory(_) => Ok(Vec::new()),
            Engine::Sled(engine) => engine.acknowledge_losses().await,
        }
    }

    /// Room on disk, and whether events may come in.
    pub fn disk(&self) -> Disk {
        match &self.engine {
            Engine::Memory(_) => Disk::default(),
            Engine::Sled(engine) => engine.disk(),
        }
    }

    /// Resolves when whoever writes has come round: at once while the queue works, never while it
    /// hangs. It waits for what is being committed, for nothing that waits itself.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn heartbeat(&self) -> Result<(), QueueError> {
        match &self.engine {
            Engine::Memory(engine) => engine.heartbeat(),
            Engine::Sled(engine) => engine.heartbeat().await,
        }
    }

    /// Up to `limit` events of the line behind number `after`, oldest first; fewer where they
    /// are large. Nothing is claimed.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] if they cannot be read.
    pub async fn waiting(&self, after: u64, limit: usize) -> Result<WaitingPage, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => Ok(engine.waiting(after, limit)),
            Engine::Sled(engine) => engine.waiting(after, limit).await,
        }
    }

    /// Checks everything stored against the ledger, while the queue goes on.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn verify(&self) -> Result<Verdict, QueueError> {
        match &self.engine {
            Engine::Memory(engine) => Ok(engine.verify()),
            Engine::Sled(engine) => engine.verify().await,
        }
    }

    /// Takes no more work, syncs what was taken, closes the stores.
    pub async fn close(&self) -> Result<(), QueueError> {
        match &self.engine {
            Engine::Memory(engine) => {
                engine.close();
                Ok(())
            }
            Engine::Sled(engine) => engine.close().await,
        }
    }
}

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod lives_tests;
