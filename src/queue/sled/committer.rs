//! The committer: the one thread that writes. It takes what has arrived, decides duplicates in
//! arrival order, commits, and only then hands out receipts; then it settles.
//!
//! No linger: while one group syncs the next one gathers.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::batch::{self, Batch};
use super::dedup::{Dedup, Horizon};
use super::error::{At, StoreError};
use super::high::{High, HighFile};
use super::housekeeper::Job;
use super::kept::Kept;
use super::ledger::Ledger;
use super::meta::Meta;
use super::operate::Ask;
use super::purged::Purged;
use super::retention::Nearness;
use super::store::Store;
use super::{Op, Options, PanicIsFailure, Pressure, Shared, horizon, lock};
use crate::clock::Millis;
use crate::clock::{Reading, Unproven};
use crate::queue::block::Block;
use crate::queue::entry::Receipt;
use crate::queue::error::QueueError;

/// Operations a batch: beyond about a thousand sled's memory grows without measure.
pub(super) const MAX_OPS: usize = 400;
/// Beside other changes the reading of both clocks is written anew when it is so old.
const NOTE_CLOCKS: Millis = 60_000;
/// A generation is full at this share of the quota, however few its events.
const GENERATIONS_IN_QUOTA: u64 = 16;

/// The generation that is written to.
pub(super) struct Head {
    pub(super) generation: u64,
    pub(super) store: Arc<Store>,
    /// The first sequence number in it, once it holds one.
    pub(super) first_seq: Option<u64>,
    pub(super) ids: Vec<u128>,
    /// About how many bytes it holds: what was on disk at the start, and the chunks since.
    pub(super) bytes: u64,
    pub(super) begun_at: Millis,
}

impl Head {
    /// How full it is, in halves: the events it may hold, or its share of the quota. Without
    /// the share, large events would make one generation the whole quota, which only the
    /// deletion of a full one relieves.
    pub(super) fn halves(&self, options: &Options) -> u64 {
        let share = (options.max_bytes / GENERATIONS_IN_QUOTA).max(1);
        let events = self.ids.len() as u64 * 2 / options.roll_events.max(1);
        events.max(self.bytes * 2 / share)
    }
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) ops: UnboundedReceiver<Op>,
    pub(super) meta: Meta,
    pub(super) head: Head,
    /// The store for the next generation, made ahead of need.
    pub(super) next: Option<Arc<Store>>,
    pub(super) next_asked: bool,
    pub(super) ledger: Ledger,
    pub(super) dedup: Dedup,
    pub(super) kept: Kept,
    pub(super) high: HighFile,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) housekeeper: Option<JoinHandle<()>>,
    /// Generations whose deletion was asked for.
    pub(super) deleting: Vec<u64>,
    pub(super) merging: bool,
    pub(super) purged: Purged,
    /// The last numbers of the line and of the dead letters at the start.
    pub(super) began_with: (u64, u64),
    pub(super) dead_quota: Nearness,
    /// The reading of both clocks that `meta` holds, if this life wrote it.
    pub(super) noted: Option<Reading>,
    #[allow(dead_code, reason = "held while the folder is ours")]
    pub(super) lock: super::identity::Lock,
}

pub(super) type Receipts = oneshot::Sender<Result<Vec<Receipt>, QueueError>>;

/// One group, as it arrived.
#[derive(Default)]
struct Group {
    blocks: Vec<(Block, Receipts, tokio::sync::OwnedSemaphorePermit)>,
    others: Vec<Op>,
    asked: Vec<Ask>,
    parts: usize,
    close: Option<oneshot::Sender<()>>,
}

impl Group {
    fn push(&mut self, op: Op) {
        match op {
            Op::Enqueue { block, reply, room } => {
                self.parts += batch::parts(block.packed.len() + block.ids.len() * 16 + 96);
                self.blocks.push((block, reply, room));
            }
            Op::Ask(op) => self.asked.push(op),
            Op::Close(reply) => self.close = Some(reply),
            // Taking it is the answer: what the group has to commit is not its to wait for.
            Op::Heartbeat(reply) => answer(&mut vec![reply]),
            other => self.others.push(other),
        }
    }

    fn is_full(&self) -> bool {
        self.parts >= MAX_OPS
            || self.others.len() >= MAX_OPS
            || !self.asked.is_empty()
            || self.close.is_some()
    }
}

impl Committer {
    /// Runs until the queue is closed or storage fails.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _told = PanicIsFailure {
            shared: &shared,
            thread: "committer",
        };
        while let Some(op) = self.ops.blocking_recv() {
            let mut group = Group::default();
            group.push(op);
            while !group.is_full() {
                let Ok(op) = self.ops.try_recv() else { break };
                group.push(op);
            }
            if self.shared.stopped.get().is_some() {
                // Another thread has latched: what waits here is not acknowledged any more.
                return self.abandon();
            }
            let close = group.close.take();
            if let Err(error) = self.commit(group) {
                self.shared.fail(&error.to_string());
                return self.abandon();
            }
            if let Some(reply) = close {
                let shared = self.shared.clone();
                match self.close() {
                    Ok(()) => answer(&mut vec![reply]),
                    Err(error) => shared.fail(&error.to_string()),
                }
                return;
            }
        }
    }

    fn commit(&mut self, group: Group) -> Result<(), StoreError> {
        if !group.blocks.is_empty() {
            self.accept(group.blocks)?;
        }
        if !group.others.is_empty() {
            self.settle(group.others)?;
        }
        for op in group.asked {
            self.operate(op)?;
        }
        self.shared.claimable.notify_one();
        self.keep_house();
        Ok(())
    }

    pub(super) fn write_meta(&mut self, mut batch: Batch) -> Result<(), StoreError> {
        // Invariant: `wall` and the reading of both clocks were believed, or the next start would
        // measure a wrong clock by itself and believe it.
        if let Some(now) = self.shared.trust.believed_reading() {
            if self.ledger.state.wall == 0 {
                // The first belief. What is here was stamped by a clock that may have been wrong.
                // If it is right now and did not leap, it was so since the start.
                let (line, letter) = match self.shared.trust.is_steady() {
                    true => self.began_with,
                    false => (self.ledger.state.last_seq, self.ledger.state.dead_next - 1),
                };
                let unproven = Unproven {
                    line,
                    letter,
                    since: now.wall,
                };
                Meta::note_unproven(&mut batch, unproven);
                self.shared.trust.set_unproven(Some(unproven));
            }
            self.ledger.state.wall = now.wall;
            if self.is_clock_due(now, NOTE_CLOCKS) {
                Meta::note_clocks(&mut batch, now);
                self.noted = Some(now);
            }
        }
        self.meta.commit(batch, &mut self.ledger.state)?;
        self.write_high(false)
    }

    /// Whether the noted reading is older than `age`, or was made before the wall clock was set.
    pub(super) fn is_clock_due(&self, now: Reading, age: Millis) -> bool {
        self.noted.is_none_or(|noted| {
            let passed = now.since_boot - noted.since_boot;
            passed >= age || (now.wall - noted.wall).abs_diff(passed) > NOTE_CLOCKS.unsigned_abs()
        })
    }

    pub(super) fn write_high(&mut self, clean: bool) -> Result<(), StoreError> {
        self.high.write(&High {
            state: self.ledger.state,
            clean,
        })?;
        lock(&self.shared.anchor).state = self.ledger.state;
        Ok(())
    }

    pub(super) fn publish_losses(&self) {
        *lock(&self.shared.losses) = self.ledger.losses();
    }

    pub(super) fn publish_census(&self) {
        *lock(&self.shared.census) = self.ledger.census();
    }

    pub(super) fn horizon(&self) -> Horizon {
        // A clock that is not believed forgets nothing. By the time that was judged: a leap may
        // come between a judgement and another look.
        let now = self.shared.trust.believed_reading();
        Horizon {
            at: now.map_or(Millis::MIN, |now| horizon(&self.shared.options, now.wall)),
            unproven: self.shared.trust.unproven(),
        }
    }

    fn close(mut self) -> Result<(), StoreError> {
        self.ops.close();
        // What was sent before the close but gathered after it is still owed its commit.
        let mut rest = Group::default();
        while let Ok(op) = self.ops.try_recv() {
            rest.push(op);
        }
        self.commit(rest)?;
        self.ask(Job::Stop);
        if let Some(housekeeper) = self.housekeeper.take() {
            // It told of its own failure.
            let _ = housekeeper.join();
        }
        self.noted = None;
        self.write_meta(Batch::default())?;
        self.publish_census();
        self.write_high(true)?;
        self.high.sync()?;
        if !self.shared.is_in_place()? {
            let source = std::io::Error::other("its files are not where they were");
            return Err(source).at(&self.shared.options.path);
        }
        self.shared.write_anchor();
        let _ = self.shared.stopped.set("it was closed".into());
        self.shared.pressure.send_replace(Pressure::None);
        lock(&self.shared.claims).generations.clear();
        lock(&self.shared.dead).close();
        Ok(())
    }

    /// After a storage error: leave every store as it is, for dropping one can hang.
    fn abandon(self) {
        self.meta.store.abandon();
        std::mem::forget(self.head.store);
        std::mem::forget(self.next);
        let mut claims = lock(&self.shared.claims);
        std::mem::forget(std::mem::take(&mut claims.generations));
        drop(claims);
        lock(&self.shared.dead).abandon();
    }
}

pub(super) fn answer(replies: &mut Vec<oneshot::Sender<()>>) {
    for reply in replies.drain(..) {
        // A caller that gave up waiting needs no answer.
        let _ = reply.send(());
    }
}
