//! The committer: the one thread that writes. It takes what has arrived, decides duplicates in
//! arrival order, commits, and only then hands out receipts; then it settles.
//!
//! No linger: while one group syncs the next one gathers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::chunk::{self, Chunk};
use super::claims::Readable;
use super::dead::{self, Record};
use super::dedup::Dedup;
use super::high::{High, HighFile};
use super::housekeeper::{Done, Job};
use super::ledger::Ledger;
use super::store::{self, Batch, Store, StoreError};
use super::{Op, Options, PanicIsFailure, Pressure, Shared, horizon, lock};
use crate::queue::QueueError;
use crate::queue::block::{self, Block};
use crate::queue::entry::{EntryId, Millis, Origin, Outcome, Receipt, Settlement};

/// Operations a batch: beyond about a thousand sled's memory grows without measure.
const MAX_OPS: usize = 400;
/// A generation is full at this share of the quota, however few its events.
const GENERATIONS_IN_QUOTA: u64 = 16;
const DAY: Millis = 86_400_000;

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
    fn halves(&self, options: &Options) -> u64 {
        let share = (options.max_bytes / GENERATIONS_IN_QUOTA).max(1);
        let events = self.ids.len() as u64 * 2 / options.roll_events.max(1);
        events.max(self.bytes * 2 / share)
    }
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) ops: UnboundedReceiver<Op>,
    pub(super) meta: Store,
    pub(super) head: Head,
    /// The store for the next generation, made ahead of need.
    pub(super) next: Option<Arc<Store>>,
    pub(super) next_asked: bool,
    pub(super) ledger: Ledger,
    pub(super) dedup: Dedup,
    pub(super) high: HighFile,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) housekeeper: Option<JoinHandle<()>>,
    /// Generations whose deletion was asked for.
    pub(super) deleting: Vec<u64>,
    pub(super) merging: bool,
    #[allow(dead_code, reason = "held while the folder is ours")]
    pub(super) lock: super::identity::Lock,
}

type Receipts = oneshot::Sender<Result<Vec<Receipt>, QueueError>>;

/// One group, as it arrived.
#[derive(Default)]
struct Group {
    blocks: Vec<(Block, Receipts, tokio::sync::OwnedSemaphorePermit)>,
    others: Vec<Op>,
    parts: usize,
    close: Option<oneshot::Sender<()>>,
}

impl Group {
    fn push(&mut self, op: Op) {
        match op {
            Op::Enqueue { block, reply, room } => {
                self.parts += store::parts(block.packed.len() + block.ids.len() * 16 + 96);
                self.blocks.push((block, reply, room));
            }
            Op::Close(reply) => self.close = Some(reply),
            other => self.others.push(other),
        }
    }

    fn is_full(&self) -> bool {
        self.parts >= MAX_OPS || self.others.len() >= MAX_OPS || self.close.is_some()
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
        self.shared.claimable.notify_one();
        self.keep_house();
        Ok(())
    }

    // ---- accept ----------------------------------------------------------------------------

    fn accept(
        &mut self,
        blocks: Vec<(Block, Receipts, tokio::sync::OwnedSemaphorePermit)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut chunks = Vec::new();
        let mut answers = Vec::with_capacity(blocks.len());
        let mut revived = Vec::new();
        let horizon = self.horizon();
        for (block, reply, room) in blocks {
            let (receipts, chunk) = self.decide(block, horizon, &mut revived)?;
            if let Some(chunk) = chunk {
                let bytes = chunk.encode();
                self.head.bytes += bytes.len() as u64;
                batch.put_parts(&chunk::key(chunk.first_seq), &bytes);
                chunks.push(Arc::new(chunk));
            }
            answers.push((reply, receipts, room));
        }
        if !chunks.is_empty() {
            // The instant of commitment: when this returns, the group is on disk and synced.
            self.head.store.commit(batch)?;
        }
        self.write_high(false)?;
        self.publish_census();
        for (reply, receipts, room) in answers {
            drop(room);
            // The client may be gone; what it sent is stored all the same.
            let _ = reply.send(Ok(receipts));
        }
        let mut tail = lock(&self.shared.tail);
        chunks.into_iter().for_each(|chunk| tail.publish(chunk));
        drop(tail);
        if !revived.is_empty() {
            // The chunk names them too: a crash here is made good at the next start.
            let mut batch = Batch::default();
            for number in revived {
                self.ledger.bury(&mut batch, number);
            }
            self.write_meta(batch)?;
        }
        Ok(())
    }

    /// Which events of the block are new; the chunk holds those.
    fn decide(
        &mut self,
        block: Block,
        horizon: Millis,
        revived: &mut Vec<u64>,
    ) -> Result<(Vec<Receipt>, Option<Chunk>), StoreError> {
        let first_seq = self.ledger.last_seq + 1;
        let totals = &mut self.ledger.totals;
        totals.ignored += u64::from(block.ignored);
        totals.rejected += u64::from(block.rejected);
        let mut receipts = Vec::with_capacity(block.ids.len());
        let mut queued = Vec::with_capacity(block.ids.len());
        let mut ids = Vec::with_capacity(block.ids.len());
        let mut replaced = Vec::new();
        let mut items = None;
        for (at, id) in block.ids.iter().enumerate() {
            let receipt = if !self.dedup.contains(*id, horizon)? {
                self.ledger.totals.accepted += 1;
                Receipt::Queued
            } else if let Some(number) = self.replaces(*id, &block, at, &mut items) {
                replaced.push(number);
                self.ledger.totals.revived += 1;
                Receipt::Revived
            } else {
                self.ledger.totals.duplicate += 1;
                Receipt::Duplicate
            };
            if receipt != Receipt::Duplicate {
                // A failed commit ends the process, and with it this entry.
                self.dedup.insert(self.head.generation, *id);
                queued.push(at as u32);
                ids.push(*id);
            }
            receipts.push(receipt);
        }
        if ids.is_empty() {
            return Ok((receipts, None));
        }
        self.ledger.last_seq += ids.len() as u64;
        self.head.first_seq.get_or_insert(first_seq);
        self.head.ids.extend_from_slice(&ids);
        revived.extend_from_slice(&replaced);
        let chunk = Chunk {
            first_seq,
            accepted_at: block.accepted_at,
            totals: self.ledger.totals,
            queued,
            packed_count: block.ids.len() as u32,
            ids,
            revived: replaced,
            plain_len: block.plain_len as u32,
            packed: block.packed,
        };
        Ok((receipts, Some(chunk)))
    }

    /// The dead letter that event `at` of `block` replaces: same id, other bytes. It stops
    /// counting as dead at once, so that a second such event of the group is a duplicate.
    fn replaces(
        &mut self,
        id: u128,
        block: &Block,
        at: usize,
        items: &mut Option<Vec<block::Item>>,
    ) -> Option<u64> {
        let mut dead = lock(&self.shared.dead);
        let known = dead
            .lookup(id)
            .filter(|known| self.ledger.is_dead(known.number))?;
        if items.is_none() {
            // Packed in this process a moment ago.
            *items = block::unpack(&block.packed, block.ids.len(), block.plain_len).ok();
        }
        let body = &items.as_ref()?.get(at)?.body;
        if dead::body_hash(body) == known.body_hash {
            return None;
        }
        dead.forget(id, known.number);
        if let Some(reason) = known.reason {
            self.ledger.dead[reason.index()] -= 1;
        }
        Some(known.number)
    }

    // ---- settle ----------------------------------------------------------------------------

    fn settle(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut replies = Vec::new();
        let mut apart = Vec::new();
        let mut freed = 0;
        // A resend lays no new mark, but it is counted as durably as one.
        let mut recount = false;
        for op in ops {
            match op {
                Op::Mark(mark, reply) => {
                    let resent = self.ledger.resent;
                    self.ledger.lay_mark(&mut batch, &mark);
                    recount |= self.ledger.resent != resent;
                    replies.push(reply);
                }
                Op::Doubt(ids) => {
                    for id in ids {
                        if let Some(marked) = self.ledger.marks.get_mut(&id) {
                            marked.in_doubt = true;
                        }
                    }
                }
                Op::Release(ids) => self.ledger.release(&mut batch, &ids),
                Op::Settle(settlements, reply) => {
                    freed += settlements
                        .iter()
                        .map(|s| s.entry.body.len())
                        .sum::<usize>();
                    self.end(settlements, &mut batch, &mut apart)?;
                    replies.push(reply);
                }
                Op::SetAside { first, last } => {
                    let count = (first..=last).filter(|seq| !self.ledger.cursor.is_settled(*seq));
                    self.ledger.set_aside += count.count() as u64;
                    for seq in first..=last {
                        self.ledger.unmark(&mut batch, EntryId::line(seq));
                    }
                    self.ledger.settle_line(&mut batch, first, last);
                }
                Op::Kept(done) => self.kept(done, &mut batch),
                Op::Tick => self.tick(&mut batch)?,
                Op::Enqueue { .. } | Op::Close(_) => {}
            }
            if batch.len() >= MAX_OPS {
                self.write_meta(std::mem::take(&mut batch))?;
                self.publish_census();
                answer(&mut replies);
            }
        }
        if batch.len() > 0 || recount {
            self.write_meta(batch)?;
        }
        self.shared
            .low_water
            .store(self.ledger.cursor.mark(), Ordering::Release);
        self.shared.bytes_in_hand.fetch_sub(freed, Ordering::AcqRel);
        lock(&self.shared.apart).0.extend(apart);
        self.publish_census();
        answer(&mut replies);
        Ok(())
    }

    /// Ends claims: dead letters are written and synced first, then counted.
    fn end(
        &mut self,
        settlements: Vec<Settlement>,
        batch: &mut Batch,
        apart: &mut Vec<(u64, u64, Option<Arc<str>>)>,
    ) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let mut line = Vec::with_capacity(settlements.len());
        let mut records = Vec::new();
        let mut names = Vec::new();
        for Settlement { entry, outcome } in settlements {
            let name = self.ledger.unmark(batch, entry.id);
            match entry.id.origin() {
                Origin::Line(seq) => line.push(seq),
                Origin::Dead(number) => self.ledger.bury(batch, number),
            }
            let (reason, message, failures) = match outcome {
                Outcome::Delivered => {
                    self.ledger.delivered += 1;
                    continue;
                }
                Outcome::Dead { reason, message } => (Some(reason), message, entry.failures),
                Outcome::SetApart { failures } => (None, String::new(), failures),
            };
            names.push(name);
            records.push(Record {
                id_hash: entry.id_hash,
                reason,
                failures,
                accepted_at: entry.accepted_at,
                event_time: entry.event_time,
                died_at: now,
                message,
                body: entry.body,
            });
        }
        if !records.is_empty() {
            let first = self.ledger.dead_next;
            lock(&self.shared.dead).append(&records, &mut self.ledger, batch, now)?;
            let period = self
                .ledger
                .periods
                .keys()
                .next_back()
                .copied()
                .unwrap_or_default();
            for ((number, record), name) in (first..).zip(&records).zip(names) {
                if let Some(reason) = record.reason {
                    self.ledger.dead[reason.index()] += 1;
                    continue;
                }
                self.ledger.queue_dead(batch, number);
                if let Some(name) = &name {
                    // It may have arrived: under its new number it keeps that name.
                    self.ledger
                        .mark_in_doubt(batch, EntryId::dead(number), name.clone());
                }
                apart.push((number, period, name));
            }
        }
        line.sort_unstable();
        let mut at = 0;
        while at < line.len() {
            let run = line[at..]
                .iter()
                .zip(line[at]..)
                .take_while(|(seq, n)| **seq == *n)
                .count();
            self.ledger.settle_line(batch, line[at], line[at + run - 1]);
            at += run;
        }
        Ok(())
    }

    fn write_meta(&mut self, mut batch: Batch) -> Result<(), StoreError> {
        let wall = self.wall();
        self.ledger.put_state(&mut batch, wall);
        self.meta.commit(batch)?;
        self.write_high(false)
    }

    /// The wall time that the next start may measure its clock by.
    fn wall(&self) -> Millis {
        if self.shared.trust.believed() {
            self.shared.clock.now()
        } else {
            self.ledger.wall
        }
    }

    fn write_high(&mut self, clean: bool) -> Result<(), StoreError> {
        self.high.write(&High {
            last_seq: self.ledger.last_seq,
            settle_no: self.ledger.settle_no,
            totals: self.ledger.totals,
            clean,
        })
    }

    fn publish_census(&self) {
        *lock(&self.shared.census) = self.ledger.census();
    }

    fn horizon(&self) -> Millis {
        // A clock that is not believed forgets nothing.
        if self.shared.trust.believed() {
            horizon(&self.shared.options, self.shared.clock.now())
        } else {
            Millis::MIN
        }
    }

    // ---- generations, remembered ids, dead letters ------------------------------------------

    /// Asks the housekeeper for what is due: it opens, seals and deletes beside this thread.
    fn keep_house(&mut self) {
        let halves = self.head.halves(&self.shared.options);
        if !self.next_asked && self.next.is_none() && halves >= 1 {
            self.next_asked = true;
            self.ask(Job::Prepare(self.head.generation + 1));
        }
        if halves >= 2 {
            self.roll();
        }
        let mark = self.ledger.cursor.mark();
        let spent: Vec<u64> = (self.ledger.generations.iter())
            .filter(|(g, sealed)| sealed.last_seq < mark && !self.deleting.contains(g))
            .map(|(g, _)| *g)
            .collect();
        for generation in spent {
            self.deleting.push(generation);
            self.ask(Job::Delete(generation));
        }
    }

    fn ask(&self, job: Job) {
        // The housekeeper ends only after this thread, or with a failure that it has told.
        let _ = self.jobs.send(job);
    }

    /// The head is full: the prepared store takes its place, if it is ready.
    fn roll(&mut self) {
        let (Some(first_seq), Some(next)) = (self.head.first_seq, self.next.take()) else {
            return;
        };
        let generation = self.head.generation + 1;
        let head = Head {
            generation,
            store: next.clone(),
            first_seq: None,
            ids: Vec::new(),
            bytes: 0,
            begun_at: self.shared.clock.now(),
        };
        let old = std::mem::replace(&mut self.head, head);
        self.next_asked = false;
        let mut claims = lock(&self.shared.claims);
        let first_ahead = self.ledger.last_seq + 1;
        let readable = Readable {
            first_seq: first_ahead,
            store: Some(next),
            is_held: true,
        };
        claims.generations.insert(generation, readable);
        drop(claims);
        self.ask(Job::Seal {
            generation: old.generation,
            store: old.store,
            first_seq,
            last_seq: self.ledger.last_seq,
            newest: self.shared.clock.now(),
            ids: old.ids,
        });
        self.ask(Job::SyncHigh);
    }

    fn kept(&mut self, done: Done, batch: &mut Batch) {
        match done {
            Done::Prepared(store) => self.next = Some(store),
            Done::Sealed {
                generation,
                sealed,
                file,
            } => {
                self.ledger.put_generation(batch, generation, sealed);
                self.dedup.seal(generation, file);
                self.merge_small();
            }
            Done::Deleted(generation) => {
                self.ledger.remove_generation(batch, generation);
                self.deleting.retain(|g| *g != generation);
            }
            Done::Merged(file) => {
                self.merging = false;
                if let Some(file) = file {
                    self.dedup.merged(file);
                }
                self.merge_small();
            }
        }
    }

    /// Merges the oldest run of small files, so that a look-up asks few filters.
    fn merge_small(&mut self) {
        if self.merging {
            return;
        }
        let files = self.dedup.files();
        if let Some(run) = super::seen::mergeable(&files) {
            self.merging = true;
            self.ask(Job::Merge(files[run].to_vec()));
        }
    }

    fn tick(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        if self.head.first_seq.is_some() && now - self.head.begun_at > DAY {
            if self.next.is_some() {
                self.roll();
            } else if !self.next_asked {
                self.next_asked = true;
                self.ask(Job::Prepare(self.head.generation + 1));
            }
        }
        if !self.shared.trust.believed() {
            return Ok(());
        }
        let horizon = horizon(&self.shared.options, now);
        for file in self.dedup.forget(horizon, self.ledger.cursor.mark()) {
            self.ask(Job::Forget(file));
        }
        self.purge(batch, now)
    }

    /// Deletes periods of dead letters past their retention, and the oldest beyond the quota.
    fn purge(&mut self, batch: &mut Batch, now: Millis) -> Result<(), StoreError> {
        let options = &self.shared.options;
        let retention = i64::try_from(options.dead_retention.as_millis()).unwrap_or(i64::MAX);
        let mut usage: u64 = {
            let dead = lock(&self.shared.dead);
            self.ledger
                .periods
                .keys()
                .map(|period| dead.usage(*period))
                .sum()
        };
        let periods: Vec<_> = self.ledger.periods.iter().map(|(p, n)| (*p, *n)).collect();
        for (period, numbers) in periods {
            let old = now.saturating_sub(numbers.newest) > retention;
            let range = numbers.first..=numbers.last;
            let queued = self.ledger.dead_queued.count_within(range.clone()) > 0;
            let spent =
                self.ledger.dead_gone.count_within(range) == numbers.last + 1 - numbers.first;
            let is_current = self.ledger.periods.keys().next_back() == Some(&period);
            if queued || !(old || usage > options.dead_max_bytes || (spent && !is_current)) {
                continue;
            }
            let mut dead = lock(&self.shared.dead);
            let letters = dead.dead_in(period, &self.ledger)?;
            for (number, id, reason) in &letters {
                dead.forget(*id, *number);
                if let Some(reason) = reason {
                    self.ledger.dead[reason.index()] -= 1;
                }
            }
            self.ledger.purged += letters.len() as u64;
            self.ledger.remove_period(batch, period);
            // Counted first, deleted after: a folder that nothing counts is removed at start.
            self.ledger.put_state(batch, now);
            self.meta.commit(std::mem::take(batch))?;
            let freed = dead.usage(period);
            dead.delete(period)?;
            usage = usage.saturating_sub(freed);
            if !letters.is_empty() {
                tracing::warn!(
                    purged = letters.len(),
                    "dead letters purged: {}",
                    if old {
                        "they were past dead_letters.retention"
                    } else {
                        "they were the oldest beyond dead_letters.max_bytes"
                    }
                );
            }
        }
        Ok(())
    }

    // ---- the end ---------------------------------------------------------------------------

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
        self.write_meta(Batch::default())?;
        self.publish_census();
        self.write_high(true)?;
        self.high.sync()?;
        let _ = self.shared.stopped.set("it was closed".into());
        self.shared.pressure.send_replace(Pressure::None);
        lock(&self.shared.claims).generations.clear();
        lock(&self.shared.dead).close();
        Ok(())
    }

    /// After a storage error: leave every store as it is, for dropping one can hang.
    fn abandon(self) {
        self.meta.abandon();
        std::mem::forget(self.head.store);
        std::mem::forget(self.next);
        let mut claims = lock(&self.shared.claims);
        std::mem::forget(std::mem::take(&mut claims.generations));
        drop(claims);
        lock(&self.shared.dead).abandon();
    }
}

fn answer(replies: &mut Vec<oneshot::Sender<()>>) {
    for reply in replies.drain(..) {
        // A caller that gave up waiting needs no answer.
        let _ = reply.send(());
    }
}
