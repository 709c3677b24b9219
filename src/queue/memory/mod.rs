//! The reference engine: the simplest correct queue, in memory.
//!
//! It is the model that the contract tests hold the durable engine against, and what the
//! delivery loop is simulated on. [`MemoryEngine::reopen`] forgets what a crash forgets.

mod letters;
mod turn;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::clock::Millis;
use crate::queue::block;
use crate::queue::block::Block;
use crate::queue::census::Census;
use crate::queue::entry::{DeadReason, Entry, EntryId, Origin, Outcome, Receipt, Settlement};
use crate::queue::error::QueueError;
use crate::queue::find::{Waiting, WaitingPage};
use crate::queue::id_hash::IdHasher;
use crate::queue::pending::Pending;
use crate::queue::verdict::Verdict;
use crate::queue::window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, apart_share};

pub use turn::MemoryTurn;

/// An in-memory queue. Clones share it.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told of whatever a claim or the next turn may wait for.
    changed: Notify,
    clock: Clock,
    dedup_window: Millis,
    hasher: IdHasher,
}

struct Stored {
    id_hash: u128,
    accepted_at: Millis,
    event_time: i64,
    body: bytes::Bytes,
    failures: u32,
}

struct Letter {
    stored: Stored,
    /// `None`: queued again from here.
    reason: Option<DeadReason>,
    died_at: Millis,
    message: String,
}

struct Marked {
    name: Arc<str>,
    at: Millis,
    in_doubt: bool,
}

#[derive(Default)]
struct State {
    stopped: bool,
    turns: turn::Turns,
    last_seq: u64,
    line: BTreeMap<u64, Stored>,
    claimed_up_to: u64,
    bytes_in_hand: usize,
    last_dead: u64,
    letters: BTreeMap<u64, Letter>,
    /// Letters that are queued again and not claimed, in the order of their coming.
    apart: VecDeque<u64>,
    /// By id; the numbers of letters that may be imported.
    purged: HashMap<u128, u64>,
    /// When an event of each id was last accepted.
    seen: HashMap<u128, Millis>,
    /// When a letter of each id was last delivered.
    delivered: HashMap<u128, Millis>,
    marks: HashMap<EntryId, Marked>,
    counts: Census,
}

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
        state.drop_claims();
        drop(state);
        self.take_turn_away();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn hasher(&self) -> IdHasher {
        self.shared.hasher
    }

    pub(super) fn enqueue(&self, block: &Block) -> Result<Pending, QueueError> {
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
                state.bury(number);
                state.counts.revived += 1;
                Receipt::Revived
            } else if !known {
                state.counts.accepted += 1;
                // It begins anew; what was purged under its name is of the past.
                state.purged.remove(id_hash);
                Receipt::Queued
            } else {
                state.counts.duplicate += 1;
                Receipt::Duplicate
            };
            if receipt != Receipt::Duplicate {
                state.last_seq += 1;
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

    pub(super) fn heartbeat(&self) -> Result<(), QueueError> {
        self.lock().running()
    }

    /// There is nothing stored that could differ from the counts.
    pub(super) fn waiting(&self, after: u64, limit: usize) -> WaitingPage {
        let state = self.lock();
        let mut left = state.line.range(after.saturating_add(1)..).peekable();
        let waiting = |(number, stored): (&u64, &Stored)| Waiting {
            number: *number,
            accepted_at: stored.accepted_at,
            event_time: stored.event_time,
            body: stored.body.clone(),
        };
        let events: Vec<Waiting> = left.by_ref().take(limit).map(waiting).collect();
        WaitingPage {
            bytes: events.iter().map(|event| event.body.len()).sum(),
            next: left.peek().and(events.last()).map(|event| event.number),
            events,
        }
    }

    pub(super) fn verify(&self) -> Verdict {
        let census = self.census();
        Verdict {
            ledger_imbalance: census.imbalance(),
            undelivered: Some(census.queued + census.sending + census.dead_total()),
            ..Verdict::default()
        }
    }

    /// The messageId hashes of everything that is not settled.
    pub fn unsettled(&self) -> Vec<u128> {
        let state = self.lock();
        let apart = state.letters.values().filter(|l| l.reason.is_none());
        let apart = apart.map(|l| l.stored.id_hash);
        (state.line.values().map(|s| s.id_hash))
            .chain(apart)
            .collect()
    }

    pub(super) fn census(&self) -> Census {
        let state = self.lock();
        let mut census = state.counts;
        let apart = state.letters.values().filter(|l| l.reason.is_none());
        let unsettled = (state.line.len() + apart.clone().count()) as u64;
        census.in_doubt = state.marks.values().filter(|m| m.in_doubt).count() as u64;
        census.sending = state.marks.len() as u64 - census.in_doubt;
        census.queued = unsettled - census.sending;
        census.oldest_accepted_at = (state.line.values().map(|s| s.accepted_at))
            .chain(apart.map(|l| l.stored.accepted_at))
            .min();
        census
    }

    pub(super) fn close(&self) {
        self.lock().stopped = true;
        self.shared.changed.notify_waiters();
    }
}

impl State {
    fn running(&self) -> Result<(), QueueError> {
        if self.stopped {
            Err(QueueError::Stopped("it was closed".into()))
        } else {
            Ok(())
        }
    }

    /// Forgets who has what in hand; what was marked is in doubt.
    fn drop_claims(&mut self) {
        self.claimed_up_to = 0;
        let apart = self.letters.iter().filter(|(_, l)| l.reason.is_none());
        self.apart = apart.map(|(number, _)| *number).collect();
        self.bytes_in_hand = 0;
        for mark in self.marks.values_mut() {
            mark.in_doubt = true;
        }
    }

    /// Removes a letter and its count among the dead.
    fn bury(&mut self, number: u64) {
        if let Some(reason) = self.letters.remove(&number).and_then(|l| l.reason) {
            self.counts.dead[reason.index()] -= 1;
        }
    }

    fn claim(&mut self, max_events: usize, max_bytes: usize) -> Vec<Entry> {
        let first = self
            .line
            .keys()
            .next()
            .copied()
            .unwrap_or(self.last_seq + 1);
        let mut found: Vec<(EntryId, usize)> = Vec::new();
        let (mut bytes, in_hand) = (0, self.bytes_in_hand);
        let fits = |bytes: usize, len: usize, found: &Vec<_>| {
            found.is_empty()
                || (bytes + len <= max_bytes && in_hand + bytes + len <= CLAIM_WINDOW_BYTES)
        };
        let line_share = max_events - apart_share(max_events).min(self.apart.len());
        if in_hand < CLAIM_WINDOW_BYTES {
            for (seq, stored) in self.line.range(self.claimed_up_to + 1..) {
                let full = found.len() >= line_share || *seq >= first + CLAIM_WINDOW_EVENTS;
                if full || !fits(bytes, stored.body.len(), &found) {
                    break;
                }
                bytes += stored.body.len();
                found.push((EntryId::line(*seq), stored.body.len()));
            }
            for number in &self.apart {
                let len = self.letters[number].stored.body.len();
                if found.len() >= max_events || !fits(bytes, len, &found) {
                    break;
                }
                bytes += len;
                found.push((EntryId::dead(*number), len));
            }
        }
        self.bytes_in_hand += bytes;
        found.into_iter().map(|(id, _)| self.hand_out(id)).collect()
    }

    fn hand_out(&mut self, id: EntryId) -> Entry {
        let stored = match id.origin() {
            Origin::Line(seq) => {
                self.claimed_up_to = seq;
                &self.line[&seq]
            }
            Origin::Dead(number) => {
                // They were found in their order.
                self.apart.pop_front();
                &self.letters[&number].stored
            }
        };
        Entry {
            id,
            id_hash: stored.id_hash,
            accepted_at: stored.accepted_at,
            event_time: stored.event_time,
            body: stored.body.clone(),
            sent_as: self.marks.get(&id).map(|m| m.name.clone()),
            failures: stored.failures,
        }
    }

    fn settle(&mut self, Settlement { entry, outcome }: Settlement, now: Millis) {
        self.bytes_in_hand -= entry.body.len();
        let mark = self.marks.remove(&entry.id);
        match entry.id.origin() {
            Origin::Line(seq) => {
                self.line.remove(&seq);
            }
            Origin::Dead(number) => {
                self.letters.remove(&number);
            }
        }
        let (reason, message, failures) = match outcome {
            Outcome::Delivered => {
                self.counts.delivered += 1;
                if let Origin::Dead(_) = entry.id.origin() {
                    self.delivered.insert(entry.id_hash, now);
                }
                return;
            }
            Outcome::Dead { reason, message } => {
                self.counts.dead[reason.index()] += 1;
                (Some(reason), message, entry.failures)
            }
            Outcome::SetApart { failures } => (None, String::new(), failures),
        };
        self.last_dead += 1;
        let stored = Stored {
            id_hash: entry.id_hash,
            accepted_at: entry.accepted_at,
            event_time: entry.event_time,
            body: entry.body,
            failures,
        };
        self.letters.insert(
            self.last_dead,
            Letter {
                stored,
                reason,
                died_at: now,
                message,
            },
        );
        if reason.is_none() {
            self.apart.push_back(self.last_dead);
        }
        if let (None, Some(mark)) = (reason, mark) {
            // It may have arrived: under its new number it keeps the name it went out under.
            self.marks.insert(
                EntryId::dead(self.last_dead),
                Marked {
                    in_doubt: true,
                    ..mark
                },
            );
        }
    }
}
