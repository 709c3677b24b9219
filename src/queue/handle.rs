//! The queue as the rest of the daemon has it.

use std::ops::RangeInclusive;

use super::block::Block;
use super::census::Census;
use super::disk::Disk;
use super::engines::each;
use super::entry::Receipt;
use super::error::QueueError;
use super::find::{Dropped, Found, Unsettled, WaitingPage};
use super::forget::{Forgotten, Whose};
use super::id_hash::IdHasher;
use super::letter::{Import, Imported, LetterFilter, LetterKey, Page};
use super::loss::Loss;
use super::memory::MemoryEngine;
use super::pause::PauseRecord;
use super::pending::Pending;
#[cfg(feature = "postgres")]
use super::postgres::PostgresEngine;
use super::sled::SledEngine;
use super::turn::Turn;
use super::verdict::Verdict;
use crate::queue::numbers::LetterNumber;
use crate::queue::numbers::Seq;

/// A queue, whichever engine carries it. Clones share one queue.
#[derive(Clone)]
pub struct Queue {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Memory(MemoryEngine),
    Sled(SledEngine),
    #[cfg(feature = "postgres")]
    Postgres(PostgresEngine),
}

impl Queue {
    /// A queue on the reference engine.
    pub fn memory(engine: MemoryEngine) -> Self {
        Self {
            engine: Engine::Memory(engine),
        }
    }

    /// A queue on the durable engine.
    pub(super) fn sled(engine: SledEngine) -> Self {
        Self {
            engine: Engine::Sled(engine),
        }
    }

    /// A queue in a PostgreSQL database.
    #[cfg(feature = "postgres")]
    pub(super) fn postgres(engine: PostgresEngine) -> Self {
        Self {
            engine: Engine::Postgres(engine),
        }
    }

    /// Where it is stored, for people.
    pub fn place(&self) -> String {
        each!(Engine, &self.engine, engine => engine.place())
    }

    /// The keyed hash under which this queue remembers messageIds.
    pub fn hasher(&self) -> IdHasher {
        each!(Engine, &self.engine, engine => engine.hasher())
    }

    /// Hands a block to the committer. Waits while the queue is full (back pressure); the
    /// returned [`Pending`] resolves after the commitment. A dropped `Pending` changes nothing
    /// of what is stored.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] below the disk reserve, [`QueueError::Stopped`] after a
    /// storage error or [`Queue::close`]. Either, here or of the receipts, means that nothing was
    /// acknowledged, not that nothing was stored.
    pub async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        each!(Engine, &self.engine, engine => engine.enqueue(block).await)
    }

    /// The same for who cannot wait: at the quota, too, it is unavailable.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub async fn enqueue_if_open(&self, block: Block) -> Result<Pending, QueueError> {
        each!(Engine, &self.engine, engine => engine.enqueue_if_open(block).await)
    }

    /// The right to deliver, which one holder has at a time: waits until whoever has it gives it
    /// back or loses it. What was claimed under the turn before and not settled is queued again,
    /// or in doubt if it was marked.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn turn(&self) -> Result<Turn, QueueError> {
        Ok(each!(Engine, &self.engine, engine => engine.turn().await?.into()))
    }

    /// Whether somebody waits for the turn: another daemon that goes on if it is given back.
    pub fn is_turn_awaited(&self) -> bool {
        each!(Engine, &self.engine, engine => engine.is_turn_awaited())
    }

    /// The dead letters with numbers in `numbers` that `keep` wants, at most a page of them; reads
    /// beside the committer and the claims. What is retried or purged meanwhile may be among them.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where they cannot be read, [`QueueError::Stopped`].
    pub async fn dead_page(
        &self,
        numbers: RangeInclusive<LetterNumber>,
        keep: LetterFilter,
    ) -> Result<Page, QueueError> {
        each!(Engine, &self.engine, engine => engine.dead_page(numbers, keep).await)
    }

    /// From which number on letters died since an event was delivered last, durably; `None`: none
    /// did, or the operator keeps them dead.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn undelivered_letters(&self) -> Result<Option<LetterNumber>, QueueError> {
        each!(Engine, &self.engine, engine => engine.undelivered_letters().await)
    }

    /// The operator keeps dead what died since an event was delivered last, and what dies until the
    /// next one is or the turn passes on: [`Queue::undelivered_letters`] has none of it. Durable
    /// when it resolves.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn keep_dead(&self) -> Result<(), QueueError> {
        each!(Engine, &self.engine, engine => engine.keep_dead().await)
    }

    /// The number of the dead letter under this messageId, if it is one now.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where what would tell cannot be read, [`QueueError::Stopped`].
    pub async fn dead_number(&self, message_id: &str) -> Result<Option<LetterNumber>, QueueError> {
        let id_hash = self.hasher().hash(message_id);
        each!(Engine, &self.engine, engine => engine.dead_number(id_hash).await)
    }

    /// Where the event of this messageId is. Reads beside the committer and the claims; takes up
    /// to seconds where the id is in a long backlog.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where what would tell cannot be read, [`QueueError::Stopped`].
    pub async fn find(&self, message_id: &str) -> Result<Found, QueueError> {
        let id_hash = self.hasher().hash(message_id);
        each!(Engine, &self.engine, engine => engine.find(id_hash).await)
    }

    /// Puts dead letters back into the queue, as they are; counted as retried. Those that are no
    /// longer dead are passed over. Returns how many went back, durably.
    ///
    /// # Errors
    /// [`QueueError::Stopped`]; some may have gone back.
    pub async fn retry(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        each!(Engine, &self.engine, engine => engine.retry(letters).await)
    }

    /// Gives dead letters up; counted `purged`. Those that are no longer dead are passed over.
    /// Returns how many are gone, durably. Their messageIds stay known, and only
    /// [`Queue::import`] brings them back.
    ///
    /// # Errors
    /// [`QueueError::Stopped`]; some may be gone.
    pub async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        each!(Engine, &self.engine, engine => engine.purge(letters).await)
    }

    /// Gives up everything of one person that is queued or dead, and was accepted before this was
    /// called; counted `purged`. What is being sent is given up after its answer, unless that says
    /// that it was delivered; over a crash as well. Nothing brings these events back: their
    /// messageIds stay known for a window from now on. `is_dry_run`: counts them, and changes
    /// nothing. Reads beside the committer and the claims; takes up to minutes in a long backlog.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where what would tell cannot be read, [`QueueError::Stopped`];
    /// some may be gone.
    pub async fn forget(&self, whose: Whose, is_dry_run: bool) -> Result<Forgotten, QueueError> {
        each!(Engine, &self.engine, engine => engine.forget(whose, is_dry_run).await)
    }

    /// Gives up the event of this messageId, if it is queued or being sent: counted `purged`, and its
    /// messageId stays known for a window from now on. What is being sent is given up after its
    /// answer, unless that says that it was delivered; over a crash as well. A dead letter stays.
    /// Durable when it resolves. Takes up to seconds where the id is in a long backlog.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where what would tell cannot be read, [`QueueError::Stopped`].
    pub async fn drop_queued(&self, message_id: &str) -> Result<Dropped, QueueError> {
        let id_hash = self.hasher().hash(message_id);
        loop {
            let id = match each!(Engine, &self.engine, engine => engine.find(id_hash).await)? {
                Found::Queued { id, .. } => id,
                elsewhere => return Ok(Dropped::NotQueued(elsewhere)),
            };
            let given = each!(Engine, &self.engine, engine => engine.drop_one(id, id_hash).await)?;
            match (given.queued, given.in_flight) {
                (0, 0) => {} // It has moved since it was found.
                (_, 0) => return Ok(Dropped::Purged),
                _ => return Ok(Dropped::AfterAnswer),
            }
        }
    }

    /// Up to `limit` events that are queued or being sent, by their age, oldest first: the first of
    /// the line by number, and of the dead letters that are queued again the oldest. Reads beside
    /// the committer and the claims; takes up to seconds where many letters are queued again.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where they cannot be read, [`QueueError::Stopped`].
    pub async fn oldest(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        each!(Engine, &self.engine, engine => engine.oldest(limit).await)
    }

    /// Takes events back under their messageIds: in place of a dead or purged letter, otherwise
    /// as new events. One answer per event, in order, after the commitment.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] below the disk reserve, [`QueueError::Stopped`]; some may have
    /// been taken.
    pub async fn import(&self, events: Vec<Import>) -> Result<Vec<Imported>, QueueError> {
        let known = each!(Engine, &self.engine, engine => engine.take_back(&events).await?);
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
                Some(Receipt::Retried) => Imported::Retried,
                Some(Receipt::Duplicate) | None => Imported::Duplicate,
            };
        }
        Ok(answers)
    }

    /// The ledger and its side counts, as of the last commitment: exact for what this process was
    /// answered. What others who share the storage do is in it a moment later.
    pub fn census(&self) -> Census {
        each!(Engine, &self.engine, engine => engine.census())
    }

    /// What was lost and is not acknowledged yet, oldest first.
    pub fn losses(&self) -> Vec<Loss> {
        each!(Engine, &self.engine, engine => engine.losses())
    }

    /// The operator has taken note of the losses: they are not shown any more. Gives them,
    /// durably taken out.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        each!(Engine, &self.engine, engine => engine.acknowledge_losses().await)
    }

    /// Room on disk, and whether events may come in, as this process last found it; it may be
    /// [unknown](Disk::unknown) how much room there is.
    pub fn disk(&self) -> Disk {
        each!(Engine, &self.engine, engine => engine.disk())
    }

    /// Resolves when the part of this process that writes has come round: at once while it works,
    /// never while it hangs. It waits for what is being committed and for nothing else that
    /// waits, so it does not say whether storage that is elsewhere can be reached.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn heartbeat(&self) -> Result<(), QueueError> {
        each!(Engine, &self.engine, engine => engine.heartbeat().await)
    }

    /// Up to `limit` events of the line behind number `after`, oldest first; fewer where they
    /// are large. Nothing is claimed.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] if they cannot be read.
    pub async fn waiting(&self, after: Seq, limit: usize) -> Result<WaitingPage, QueueError> {
        each!(Engine, &self.engine, engine => engine.waiting(after, limit).await)
    }

    /// The operator's pause that is kept with the queue, if one is.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] if there is one that cannot be read.
    pub async fn pause_record(&self) -> Result<Option<PauseRecord>, QueueError> {
        each!(Engine, &self.engine, engine => engine.pause_record().await)
    }

    /// Keeps the operator's pause in place of the one before, or keeps none. Durable when it
    /// resolves.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]; the one before may stand.
    pub async fn set_pause_record(&self, record: Option<PauseRecord>) -> Result<(), QueueError> {
        each!(Engine, &self.engine, engine => engine.set_pause_record(record).await)
    }

    /// Checks everything stored against the ledger, while the queue goes on.
    ///
    /// # Errors
    /// [`QueueError::Stopped`].
    pub async fn verify(&self) -> Result<Verdict, QueueError> {
        each!(Engine, &self.engine, engine => engine.verify().await)
    }

    /// Resolves when everything that the engine was sent before is done.
    #[cfg(test)]
    pub(super) async fn barrier(&self) -> Result<(), QueueError> {
        match &self.engine {
            Engine::Memory(engine) => engine.heartbeat().await,
            Engine::Sled(engine) => engine.settle(Vec::new()).await,
            #[cfg(feature = "postgres")]
            Engine::Postgres(engine) => engine.barrier().await,
        }
    }

    /// Takes no more work, syncs what was taken, closes the stores.
    pub async fn close(&self) -> Result<(), QueueError> {
        each!(Engine, &self.engine, engine => engine.close().await)
    }
}
