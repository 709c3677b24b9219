//! The account that `meta` keeps: what is settled, what is dead, what may have been sent.
//!
//! Every change goes into one batch of `meta` together with the counters that count it, so the
//! identity of [`Census`] holds whichever batches a crash leaves. Keys: `s` the state record ·
//! `r` + first: a settled range above the mark · `q` + first: dead letters queued again · `x` +
//! first: dead letters that are gone · `m` + mark + part: a mark · `g` + generation: a sealed
//! generation · `p` + period: a period of dead letters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::chunk::AcceptTotals;
use super::codec::{Bad, Reader, Writer};
use super::mark;
use super::store::{Batch, Store, StoreError, split_part};
use crate::queue::census::Census;
use crate::queue::entry::{DeadReason, EntryId, Mark, Millis, Origin};
use crate::queue::ranges::{Cursor, RangeDiff, RangeSet};

/// A generation that is full, reopened once, and whose ids are in `seen/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// A period of dead letters: its numbers, when it was begun and when the newest died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) opened: Millis,
    pub(super) newest: Millis,
}

pub(super) struct Marked {
    pub(super) name: Arc<str>,
    pub(super) in_doubt: bool,
    mark: u64,
}

/// The whole account, in memory as in `meta`.
pub(super) struct Ledger {
    pub(super) cursor: Cursor,
    pub(super) last_seq: u64,
    pub(super) totals: AcceptTotals,
    pub(super) delivered: u64,
    pub(super) dead: [u64; DeadReason::ALL.len()],
    pub(super) purged: u64,
    pub(super) set_aside: u64,
    pub(super) retried: u64,
    pub(super) resent: u64,
    /// The next number among the dead letters.
    pub(super) dead_next: u64,
    pub(super) settle_no: u64,
    /// The wall clock at the last write for which it was believed.
    pub(super) wall: Millis,
    pub(super) dead_queued: RangeSet,
    pub(super) dead_gone: RangeSet,
    pub(super) generations: BTreeMap<u64, Sealed>,
    pub(super) periods: BTreeMap<u64, Period>,
    pub(super) marks: HashMap<EntryId, Marked>,
    /// Events left under each stored mark, and its parts.
    mark_left: HashMap<u64, (u32, u16)>,
    next_mark: u64,
}

fn ranged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            cursor: Cursor::new(1, RangeSet::default()),
            last_seq: 0,
            totals: AcceptTotals::default(),
            delivered: 0,
            dead: [0; DeadReason::ALL.len()],
            purged: 0,
            set_aside: 0,
            retried: 0,
            resent: 0,
            dead_next: 1,
            settle_no: 0,
            wall: 0,
            dead_queued: RangeSet::default(),
            dead_gone: RangeSet::default(),
            generations: BTreeMap::new(),
            periods: BTreeMap::new(),
            marks: HashMap::new(),
            mark_left: HashMap::new(),
            next_mark: 1,
        }
    }

    /// Reads the account; everything that was marked is in doubt.
    pub(super) fn load(meta: &Store) -> Result<Self, StoreError> {
        let bad = |what: &'static str| move |bad| StoreError::bad(meta.path(), what, bad);
        let mut ledger = Self::new();
        let mut low = 1;
        if let Some(state) = meta.get(b"s")? {
            low = ledger.read_state(&state).map_err(bad("the state record"))?;
        }
        let mut above = RangeSet::default();
        for (tag, set) in [
            (b'r', &mut above),
            (b'q', &mut ledger.dead_queued),
            (b'x', &mut ledger.dead_gone),
        ] {
            for row in meta.scan(&[tag], &[tag + 1]) {
                let (key, value) = row?;
                let (first, last) = value
                    .and_then(|v| read_range(&key, &v))
                    .map_err(bad("a range"))?;
                set.insert(first..=last);
            }
        }
        ledger.cursor = Cursor::new(low, above);
        for row in meta.scan(b"g", b"h") {
            let (key, value) = row?;
            let read = |v: Vec<u8>| {
                let mut r = Reader::versioned(&v)?;
                Ok((
                    number(&key)?,
                    Sealed {
                        first_seq: r.u64()?,
                        last_seq: r.u64()?,
                    },
                ))
            };
            let (generation, sealed) = value.and_then(read).map_err(bad("a generation"))?;
            ledger.generations.insert(generation, sealed);
        }
        for row in meta.scan(b"p", b"q") {
            let (key, value) = row?;
            let read = |v: Vec<u8>| {
                let mut r = Reader::versioned(&v)?;
                let period = Period {
                    first: r.u64()?,
                    last: r.u64()?,
                    opened: r.i64()?,
                    newest: r.i64()?,
                };
                Ok((number(&key)?, period))
            };
            let (period, numbers) = value.and_then(read).map_err(bad("a period"))?;
            ledger.periods.insert(period, numbers);
        }
        ledger.load_marks(meta)?;
        Ok(ledger)
    }

    fn load_marks(&mut self, meta: &Store) -> Result<(), StoreError> {
        let bad = |bad| StoreError::bad(meta.path(), "a mark", bad);
        let mut marks: BTreeMap<u64, (u16, Vec<u8>)> = BTreeMap::new();
        for row in meta.scan(b"m", b"n") {
            let (key, value) = row?;
            let (prefix, part) = split_part(&key).ok_or_else(|| bad(Bad::Value))?;
            let entry = marks.entry(number(prefix).map_err(bad)?).or_default();
            if entry.0 != part {
                return Err(bad(Bad::Short));
            }
            entry.0 += 1;
            entry.1.extend(value.map_err(bad)?);
        }
        for (mark, (parts, bytes)) in marks {
            let events = mark::decode(&bytes).map_err(bad)?;
            self.next_mark = mark + 1;
            let mut left = 0;
            for (id, name) in events {
                if self.is_open(id) {
                    // A later mark of the same event repeats its name.
                    if let Some(older) = self.marks.insert(
                        id,
                        Marked {
                            name,
                            in_doubt: true,
                            mark,
                        },
                    ) && let Some((n, _)) = self.mark_left.get_mut(&older.mark)
                    {
                        *n -= 1;
                    }
                    left += 1;
                }
            }
            self.mark_left.insert(mark, (left, parts));
        }
        Ok(())
    }

    /// Whether the event waits for its settlement.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => !self.cursor.is_settled(seq),
            Origin::Dead(number) => self.dead_queued.contains(number),
        }
    }

    /// Whether this dead letter is neither queued again nor gone.
    pub(super) fn is_dead(&self, number: u64) -> bool {
        number < self.dead_next
            && self
                .periods
                .values()
                .any(|p| (p.first..=p.last).contains(&number))
            && !self.dead_queued.contains(number)
            && !self.dead_gone.contains(number)
    }

    fn read_state(&mut self, bytes: &[u8]) -> Result<u64, Bad> {
        let mut r = Reader::versioned(bytes)?;
        let low = r.u64()?;
        self.last_seq = r.u64()?;
        self.totals = AcceptTotals::read(&mut r)?;
        self.delivered = r.u64()?;
        for count in &mut self.dead {
            *count = r.u64()?;
        }
        self.purged = r.u64()?;
        self.set_aside = r.u64()?;
        self.retried = r.u64()?;
        self.resent = r.u64()?;
        self.dead_next = r.u64()?;
        self.settle_no = r.u64()?;
        self.wall = r.i64()?;
        if low == 0 || self.dead_next == 0 || !r.0.is_empty() {
            return Err(Bad::Value);
        }
        Ok(low)
    }

    /// Puts the state record; every batch ends with it. Invariant: `wall` is a time that was
    /// believed, or the next start would measure a wrong clock by itself and believe it.
    pub(super) fn put_state(&mut self, batch: &mut Batch, wall: Millis) {
        self.settle_no += 1;
        self.wall = wall;
        let mut w = Writer::versioned();
        w.u64(self.cursor.mark());
        w.u64(self.last_seq);
        self.totals.write(&mut w);
        w.u64(self.delivered);
        self.dead.iter().for_each(|count| w.u64(*count));
        for v in [
            self.purged,
            self.set_aside,
            self.retried,
            self.resent,
            self.dead_next,
            self.settle_no,
        ] {
            w.u64(v);
        }
        w.i64(self.wall);
        batch.put(b"s", w.0);
    }

    /// Settles line numbers; the caller has counted where they went.
    pub(super) fn settle_line(&mut self, batch: &mut Batch, first: u64, last: u64) {
        let diff = self.cursor.settle(first..=last);
        put_diff(batch, b'r', &diff);
    }

    /// Puts dead letters back into the queue.
    pub(super) fn queue_dead(&mut self, batch: &mut Batch, number: u64) {
        let diff = self.dead_queued.insert(number..=number);
        put_diff(batch, b'q', &diff);
    }

    /// A dead letter's number has no event any more; the caller has counted where it went.
    pub(super) fn bury(&mut self, batch: &mut Batch, number: u64) {
        let diff = self.dead_queued.remove(number..=number);
        put_diff(batch, b'q', &diff);
        let diff = self.dead_gone.insert(number..=number);
        put_diff(batch, b'x', &diff);
    }

    /// Records a sealed generation.
    pub(super) fn put_generation(&mut self, batch: &mut Batch, generation: u64, sealed: Sealed) {
        let mut w = Writer::versioned();
        w.u64(sealed.first_seq);
        w.u64(sealed.last_seq);
        batch.put(&ranged(b'g', generation), w.0);
        self.generations.insert(generation, sealed);
    }

    pub(super) fn remove_generation(&mut self, batch: &mut Batch, generation: u64) {
        batch.remove(&ranged(b'g', generation));
        self.generations.remove(&generation);
    }

    /// Records that a period now reaches `last`.
    pub(super) fn put_period(&mut self, batch: &mut Batch, period: u64, numbers: Period) {
        let mut w = Writer::versioned();
        w.u64(numbers.first);
        w.u64(numbers.last);
        w.i64(numbers.opened);
        w.i64(numbers.newest);
        batch.put(&ranged(b'p', period), w.0);
        self.periods.insert(period, numbers);
    }

    /// Forgets a period; the caller has counted its dead letters as purged.
    pub(super) fn remove_period(&mut self, batch: &mut Batch, period: u64) {
        batch.remove(&ranged(b'p', period));
        if let Some(numbers) = self.periods.remove(&period) {
            let diff = self.dead_gone.remove(numbers.first..=numbers.last);
            put_diff(batch, b'x', &diff);
        }
    }

    /// Lays a mark. Events that are marked already keep their first name and count as resent.
    pub(super) fn lay_mark(&mut self, batch: &mut Batch, mark: &Mark) {
        let mut fresh = Vec::with_capacity(mark.events.len());
        for (id, name) in &mark.events {
            if self.marks.contains_key(id) {
                self.resent += 1;
            } else if self.is_open(*id) {
                fresh.push((*id, name.clone()));
            }
        }
        if fresh.is_empty() {
            return;
        }
        let number = self.next_mark;
        self.next_mark += 1;
        let bytes = mark::encode(&fresh);
        batch.put_parts(&ranged(b'm', number), &bytes);
        let parts = super::store::parts(bytes.len()) as u16;
        self.mark_left.insert(number, (fresh.len() as u32, parts));
        for (id, name) in fresh {
            self.marks.insert(
                id,
                Marked {
                    name,
                    in_doubt: false,
                    mark: number,
                },
            );
        }
    }

    /// Takes an event out of its mark; the last one takes the mark away.
    pub(super) fn unmark(&mut self, batch: &mut Batch, id: EntryId) -> Option<Arc<str>> {
        let marked = self.marks.remove(&id)?;
        if let Some((left, parts)) = self.mark_left.get_mut(&marked.mark) {
            *left -= 1;
            if *left == 0 {
                for part in 0..*parts {
                    batch.remove(&super::store::part_key(&ranged(b'm', marked.mark), part));
                }
                self.mark_left.remove(&marked.mark);
            }
        }
        Some(marked.name)
    }

    /// Pinterest took none of these: they leave their marks, unless an earlier attempt is in
    /// doubt. A mark that keeps other events is written anew without them, for they stay open
    /// and a crash must not take them for sent.
    pub(super) fn release(&mut self, batch: &mut Batch, ids: &[EntryId]) {
        let mut touched = BTreeSet::new();
        for id in ids {
            if let Some(marked) = self.marks.get(id).filter(|marked| !marked.in_doubt) {
                touched.insert(marked.mark);
                self.unmark(batch, *id);
            }
        }
        for mark in touched {
            let Some((_, parts)) = self.mark_left.get(&mark).copied() else {
                continue;
            };
            let kept = self.marks.iter().filter(|(_, marked)| marked.mark == mark);
            let mut kept: Vec<_> = kept
                .map(|(id, marked)| (*id, marked.name.clone()))
                .collect();
            kept.sort_unstable_by_key(|(id, _)| *id);
            let bytes = mark::encode(&kept);
            batch.put_parts(&ranged(b'm', mark), &bytes);
            let fewer = super::store::parts(bytes.len()) as u16;
            for part in fewer..parts {
                batch.remove(&super::store::part_key(&ranged(b'm', mark), part));
            }
            self.mark_left.insert(mark, (kept.len() as u32, fewer));
        }
    }

    /// Marks the event as one that may have arrived under `name`.
    pub(super) fn mark_in_doubt(&mut self, batch: &mut Batch, id: EntryId, name: Arc<str>) {
        self.lay_mark(
            batch,
            &Mark {
                events: vec![(id, name)],
            },
        );
        if let Some(marked) = self.marks.get_mut(&id) {
            marked.in_doubt = true;
        }
    }

    /// The account for people; the age is the claim side's to add.
    pub(super) fn census(&self) -> Census {
        let in_doubt = self.marks.values().filter(|m| m.in_doubt).count() as u64;
        let sending = self.marks.len() as u64 - in_doubt;
        let open = self.cursor.unsettled(self.last_seq) + self.dead_queued.count();
        Census {
            accepted: self.totals.accepted,
            queued: open.saturating_sub(sending),
            sending,
            delivered: self.delivered,
            dead: self.dead,
            purged: self.purged,
            set_aside: self.set_aside,
            duplicate: self.totals.duplicate,
            ignored: self.totals.ignored,
            rejected: self.totals.rejected,
            revived: self.totals.revived + self.retried,
            in_doubt,
            resent: self.resent,
            oldest_accepted_at: None,
        }
    }
}

fn put_diff(batch: &mut Batch, tag: u8, diff: &RangeDiff) {
    for first in &diff.removed {
        batch.remove(&ranged(tag, *first));
    }
    for (first, last) in &diff.written {
        let mut w = Writer::versioned();
        w.u64(*last);
        batch.put(&ranged(tag, *first), w.0);
    }
}

fn number(key: &[u8]) -> Result<u64, Bad> {
    let bytes = key
        .get(1..)
        .and_then(|k| k.try_into().ok())
        .ok_or(Bad::Value)?;
    Ok(u64::from_be_bytes(bytes))
}

fn read_range(key: &[u8], value: &[u8]) -> Result<(u64, u64), Bad> {
    let (first, last) = (number(key)?, Reader::versioned(value)?.u64()?);
    if first <= last {
        Ok((first, last))
    } else {
        Err(Bad::Value)
    }
}
