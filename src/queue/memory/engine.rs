//! The reference engine's calls.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use super::state::{State, Stored};
use crate::clock::{Clock, Millis};
use crate::queue::block::{self, Block};
#[cfg(test)]
use crate::queue::contract::Origin;
use crate::queue::contract::{
    Census, Disk, IdHasher, Loss, PauseRecord, Pending, QueueError, Receipt, Seq, Verdict, Waiting,
    WaitingPage,
};

/// An in-memory queue. Clones share it.
#[derive(Clone)]
pub struct MemoryEngine {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub state: Mutex<State>,
    /// Told of whatever a claim or the next turn may wait for.
    pub changed: Notify,
    pub clock: Clock,
    pub dedup_window: Millis,
    pub hasher: IdHasher,
}

#[expect(missing_docs, reason = "what is not told here is `Queue`'s to tell")]
impl MemoryEngine {
    /// An empty queue that remembers messageIds for `dedup_window` milliseconds.
    pub fn new(clock: Clock, dedup_window: Millis) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Notify::new(),
                clock,
                dedup_window,
                hasher: IdHasher::new(*b"an in-memory key"),
            }),
        }
    }

    /// What a crash and a new start do: claims are forgotten, what was marked is in doubt.
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.stopped = false;
        state.drop_claims(self.shared.clock.now());
        drop(state);
        self.take_turn_away();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn place(&self) -> String {
        "memory".to_owned()
    }

    pub async fn pause_record(&self) -> Result<Option<PauseRecord>, QueueError> {
        Ok(self.lock().pause.clone())
    }

    pub async fn set_pause_record(&self, record: Option<PauseRecord>) -> Result<(), QueueError> {
        self.lock().pause = record;
        Ok(())
    }

    pub fn hasher(&self) -> IdHasher {
        self.shared.hasher
    }

    pub async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        let items = block::unpack(&block.packed, block.ids.len(), block.plain_len)
            .map_err(|e| QueueError::Stopped(e.to_string()))?;
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.running()?;
        state.counts.ignored += u64::from(block.ignored);
        state.counts.rejected += u64::from(block.rejected);
        let mut receipts = Vec::with_capacity(items.len());
        for (id_hash, item) in block.ids.iter().zip(items) {
            let horizon = now - self.shared.dedup_window;
            let known = state.is_known(*id_hash, horizon);
            let replaced = state.replaced(*id_hash, &item.body, block.takes_back);
            let receipt = if let Some(number) = replaced {
                state.retire_letter(number);
                state.counts.retried += 1;
                Receipt::Retried
            } else if !known {
                state.counts.accepted += 1;
                // A new event: the letter that was purged under this id no longer counts.
                state.purged.remove(id_hash);
                Receipt::Queued
            } else {
                state.counts.duplicate += 1;
                Receipt::Duplicate
            };
            if receipt != Receipt::Duplicate {
                state.last_seq = state.last_seq.next();
                let seq = state.last_seq;
                let stored = Stored {
                    id_hash: *id_hash,
                    accepted_at: block.accepted_at,
                    event_time: item.event_time,
                    body: item.body,
                    failures: 0,
                };
                state.line.insert(seq, stored);
                // What is taken back was accepted long ago, and is remembered from now.
                state.seen.insert(*id_hash, block.accepted_at.max(now));
            }
            receipts.push(receipt);
        }
        drop(state);
        self.shared.changed.notify_waiters();
        let (tx, rx) = oneshot::channel();
        let _ = tx.send(Ok(receipts));
        Ok(Pending(rx))
    }

    /// There is no quota here.
    pub async fn enqueue_if_open(&self, block: Block) -> Result<Pending, QueueError> {
        self.enqueue(block).await
    }

    pub async fn heartbeat(&self) -> Result<(), QueueError> {
        self.lock().running()
    }

    pub async fn waiting(&self, after: Seq, limit: usize) -> Result<WaitingPage, QueueError> {
        let state = self.lock();
        let mut left = state
            .line
            .range(Seq(after.0.saturating_add(1))..)
            .peekable();
        let waiting = |(number, stored): (&Seq, &Stored)| Waiting {
            number: *number,
            id_hash: stored.id_hash,
            accepted_at: stored.accepted_at,
            event_time: stored.event_time,
            body: stored.body.clone(),
        };
        let events: Vec<Waiting> = left.by_ref().take(limit).map(waiting).collect();
        Ok(WaitingPage {
            bytes: events.iter().map(|event| event.body.len()).sum(),
            next: left.peek().and(events.last()).map(|event| event.number),
            events,
        })
    }

    /// There is nothing stored that could differ from the counts.
    pub async fn verify(&self) -> Result<Verdict, QueueError> {
        let census = self.census();
        Ok(Verdict {
            ledger_imbalance: census.imbalance(),
            undelivered: Some(census.queued + census.sending + census.dead_total()),
            ..Verdict::default()
        })
    }

    /// The messageId hashes of everything that is not settled.
    pub fn unsettled(&self) -> Vec<u128> {
        let state = self.lock();
        let deferred = state.letters.values().filter(|l| l.reason.is_none());
        let deferred = deferred.map(|l| l.stored.id_hash);
        (state.line.values().map(|s| s.id_hash))
            .chain(deferred)
            .collect()
    }

    /// The names that marked events went out under, by messageId hash.
    #[cfg(test)]
    pub fn marks(&self) -> std::collections::HashMap<u128, Arc<str>> {
        let state = self.lock();
        let marked = state.marks.iter().map(|(id, mark)| {
            let stored = match id.origin() {
                Origin::Line(seq) => &state.line[&seq],
                Origin::Dead(number) => &state.letters[&number].stored,
            };
            (stored.id_hash, mark.name.clone())
        });
        marked.collect()
    }

    pub fn census(&self) -> Census {
        let state = self.lock();
        let mut census = state.counts;
        let deferred = state.letters.values().filter(|l| l.reason.is_none());
        let unsettled = (state.line.len() + deferred.clone().count()) as u64;
        census.in_doubt = state.marks.values().filter(|m| m.in_doubt).count() as u64;
        census.sending = state.marks.len() as u64 - census.in_doubt;
        census.queued = unsettled - census.sending;
        census.oldest_accepted_at = (state.line.values().map(|s| s.accepted_at))
            .chain(deferred.map(|l| l.stored.accepted_at))
            .min();
        census
    }

    /// Memory is not lost in part.
    pub fn losses(&self) -> Vec<Loss> {
        Vec::new()
    }

    pub async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        self.lock().running()?;
        Ok(Vec::new())
    }

    pub fn disk(&self) -> Disk {
        Disk::unknown()
    }

    pub async fn close(&self) -> Result<(), QueueError> {
        self.lock().stopped = true;
        self.shared.changed.notify_waiters();
        Ok(())
    }
}
