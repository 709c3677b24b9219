//! The committer: the one thread that writes. It takes what has arrived, decides duplicates in
//! arrival order, commits, and only then hands out receipts; then it settles.
//!
//! No linger: while one group syncs the next one gathers.
//!
//! - `accept` decides which events are new, and holds the line of commitment.
//! - `settle` ends claims: marks, settlements, deaths, and what cannot be read.
//! - `letters` does what the operator asks: retry, purge, import; `forget` gives up what is of one
//!   person. `lookup` finds an id.
//! - `retention`, `erasure` (of what `to_erase` knows) and `upkeep` do what is due by itself;
//!   `quota_warning` says once what is near.
//!
//! [`Committer`]'s fields are private to this folder: only these files may touch them.

mod accept;
mod erasure;
mod forget;
mod letters;
mod lookup;
mod quota_warning;
mod retention;
mod settle;
mod to_erase;
mod upkeep;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use quota_warning::QuotaWarning;
use to_erase::ToErase;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use crate::clock::{Millis, Reading, Unproven};
use crate::queue::contract::{LetterNumber, Seq};
use crate::queue::lock::lock;
use crate::queue::sled::account::{High, HighFile, Ledger, Lock, Meta, rows};
use crate::queue::sled::disk::{At, Batch, Store, StoreError, batch};
use crate::queue::sled::ids::{Dedup, DeliveredLetters, Horizon, Purged};
use crate::queue::sled::line::Head;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::recovery::Handover;
use crate::queue::sled::runtime::{
    Arrival, CommitterOp, Job, OperatorOp, PanicIsFailure, Pressure, Shared,
};

/// Operations in one batch. Beyond about a thousand, sled's memory grows without bound.
const MAX_OPS: usize = 400;
/// With other changes, the reading of both clocks is written again once it is this old.
const NOTE_CLOCKS: Millis = 60_000;

/// The thread's state. Its fields are this folder's alone: only the files below `committer/`
/// change what is accepted, settled or kept.
pub struct Committer {
    shared: Arc<Shared>,
    ops: UnboundedReceiver<CommitterOp>,
    meta: Meta,
    head: Head,
    /// The store for the next generation, made ahead of need.
    next: Option<Arc<Store>>,
    next_asked: bool,
    /// The head gives way to the next store as soon as that is there.
    rolls_soon: bool,
    ledger: Ledger,
    dedup: Dedup,
    delivered: DeliveredLetters,
    high: HighFile,
    jobs: mpsc::Sender<Job>,
    housekeeper: Option<JoinHandle<()>>,
    /// Generations whose deletion was asked for.
    deleting: Vec<Generation>,
    merging: bool,
    purged: Purged,
    to_erase: ToErase,
    /// The last numbers of the line and of the dead letters at the start.
    began_with: (Seq, LetterNumber),
    dead_quota: QuotaWarning,
    /// The reading of both clocks that `meta` holds, if this life wrote it.
    noted: Option<Reading>,
    #[allow(dead_code, reason = "held while the folder is ours")]
    lock: Lock,
}

/// One group, as it arrived.
#[derive(Default)]
struct CommitGroup {
    arrivals: Vec<Arrival>,
    others: Vec<CommitterOp>,
    asked: Vec<OperatorOp>,
    parts: usize,
    /// Another turn begins behind this group.
    turn: Option<oneshot::Sender<()>>,
    close: Option<oneshot::Sender<()>>,
}

impl CommitGroup {
    fn push(&mut self, op: CommitterOp) {
        match op {
            CommitterOp::Enqueue(arrival) => {
                let block = &arrival.block;
                self.parts += batch::parts(block.packed.len() + block.ids.len() * 16 + 96);
                self.arrivals.push(arrival);
            }
            CommitterOp::Operator(op) => self.asked.push(op),
            CommitterOp::BeginTurn(reply) => self.turn = Some(reply),
            CommitterOp::Close(reply) => self.close = Some(reply),
            // Taking it is the answer: what the group has to commit is not its to wait for.
            CommitterOp::Heartbeat(reply) => answer(&mut vec![reply]),
            other => self.others.push(other),
        }
    }

    fn is_full(&self) -> bool {
        self.parts >= MAX_OPS
            || self.others.len() >= MAX_OPS
            || !self.asked.is_empty()
            || self.turn.is_some()
            || self.close.is_some()
    }
}

impl Committer {
    /// It is asked through `ops`, and the housekeeper through `jobs`.
    pub fn new(
        shared: Arc<Shared>,
        (ops, jobs, housekeeper): (
            UnboundedReceiver<CommitterOp>,
            mpsc::Sender<Job>,
            JoinHandle<()>,
        ),
        from: Handover,
        delivered: DeliveredLetters,
    ) -> Self {
        let state = &from.ledger.state;
        let began_with = (state.last_seq, state.dead_next - 1);
        Self {
            shared,
            ops,
            meta: from.meta,
            head: from.head,
            next: None,
            next_asked: false,
            rolls_soon: false,
            ledger: from.ledger,
            dedup: from.dedup,
            delivered,
            high: from.high,
            jobs,
            housekeeper: Some(housekeeper),
            deleting: Vec::new(),
            merging: false,
            purged: from.purged,
            to_erase: ToErase::default(),
            began_with,
            dead_quota: QuotaWarning::default(),
            noted: from.noted,
            lock: from.lock,
        }
    }

    /// Runs until the queue is closed or storage fails.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        let _told = PanicIsFailure {
            shared: &shared,
            thread: "committer",
        };
        if let Err(error) = self.finish_forgetting() {
            self.shared.fail(&error.to_string());
            return self.abandon();
        }
        while let Some(op) = self.ops.blocking_recv() {
            let mut group = CommitGroup::default();
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

    fn commit(&mut self, group: CommitGroup) -> Result<(), StoreError> {
        if !group.arrivals.is_empty() {
            self.accept(group.arrivals)?;
        }
        if !group.others.is_empty() {
            self.settle(group.others)?;
        }
        for op in group.asked {
            self.operate(op)?;
        }
        if let Some(reply) = group.turn {
            self.begin_turn()?;
            // Whoever asked may be gone; the next asks again.
            let _ = reply.send(());
        }
        self.shared.claimable.notify_one();
        self.keep_house();
        Ok(())
    }

    fn write_meta(&mut self, mut batch: Batch) -> Result<(), StoreError> {
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
                    line: line.0,
                    letter: letter.0,
                    since: now.wall,
                };
                rows::put_unproven(&mut batch, unproven);
                self.shared.trust.set_unproven(Some(unproven));
            }
            self.ledger.state.wall = now.wall;
            if self.is_clock_due(now, NOTE_CLOCKS) {
                rows::put_clocks(&mut batch, now);
                self.noted = Some(now);
            }
        }
        self.meta.commit(batch, &mut self.ledger.state)?;
        self.write_high(false)
    }

    /// Whether the noted reading is older than `age`, or was made before the wall clock was set.
    fn is_clock_due(&self, now: Reading, age: Millis) -> bool {
        self.noted.is_none_or(|noted| {
            let passed = now.since_boot - noted.since_boot;
            passed >= age || (now.wall - noted.wall).abs_diff(passed) > NOTE_CLOCKS.unsigned_abs()
        })
    }

    fn write_high(&mut self, clean: bool) -> Result<(), StoreError> {
        self.high.write(&High {
            state: self.ledger.state,
            clean,
        })?;
        lock(&self.shared.anchor).state = self.ledger.state;
        Ok(())
    }

    fn publish_losses(&self) {
        *lock(&self.shared.losses) = self.ledger.losses();
    }

    fn publish_census(&self) {
        *lock(&self.shared.census) = self.ledger.census();
    }

    fn horizon(&self) -> Horizon {
        // A clock that is not believed forgets nothing. By the time that was judged: a leap may
        // come between a judgement and another look.
        let now = self.shared.trust.believed_reading();
        Horizon {
            at: now.map_or(Millis::MIN, |now| self.shared.options.horizon(now.wall)),
            unproven: self.shared.trust.unproven(),
        }
    }

    fn close(mut self) -> Result<(), StoreError> {
        self.ops.close();
        // What was sent before the close but gathered after it is still owed its commit.
        let mut rest = CommitGroup::default();
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
        lock(&self.shared.claims).generations.abandon();
        lock(&self.shared.dead).abandon();
    }
}

fn answer(replies: &mut Vec<oneshot::Sender<()>>) {
    for reply in replies.drain(..) {
        // A caller that gave up waiting needs no answer.
        let _ = reply.send(());
    }
}
