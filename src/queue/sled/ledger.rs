//! The account that `meta` keeps: what is settled, what is dead, what may have been sent.
//!
//! Every change goes into one batch of `meta` together with the counters that count it, so the
//! identity of [`Census`] holds whichever batches a crash leaves. Keys: `s` the state record ·
//! `r` + first: a settled range above the mark · `q` + first: dead letters queued again · `x` +
//! first: dead letters that are gone, their event being elsewhere · `y` + first: dead letters that
//! were purged one by one · `l` + first: a list of purged letters · `m` + mark + part: a mark · `g` + generation: a sealed
//! generation · `p` + period: a period of dead letters and how many of them are dead · `i` a
//! copy of the `format` file · `u` while the account is being made anew.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::batch::Batch;
use super::codec::{Bad, Reader, Writer};
use super::error::StoreError;
use super::marks::Marks;
use super::purged::List;
use super::state::State;
use super::store::Store;
use crate::queue::census::Census;
use crate::queue::entry::{DeadReason, EntryId, Mark, Millis, Origin};
use crate::queue::ranges::{Cursor, RangeDiff, RangeSet};

/// How long Pinterest remembers an event_id (pinterest-api.md, "Deduplication").
const PINTEREST_REMEMBERS: Millis = 48 * 3_600_000;

/// A generation that is full, reopened once, and whose ids are in `seen/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// A period of dead letters: its numbers, when it was begun, when the newest died, and how many
/// are dead now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) opened: Millis,
    pub(super) newest: Millis,
    /// By [`DeadReason::index`].
    pub(super) dead: [u64; DeadReason::ALL.len()],
}

impl Period {
    pub(super) fn holds(&self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// The whole account, in memory as in `meta`.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    /// `low` in it is brought up to date by [`Ledger::settle_line`].
    pub(super) state: State,
    pub(super) cursor: Cursor,
    pub(super) dead_queued: RangeSet,
    pub(super) dead_gone: RangeSet,
    /// Disjoint from the other two; of letters whose period still stands.
    pub(super) dead_purged: RangeSet,
    pub(super) generations: BTreeMap<u64, Sealed>,
    pub(super) periods: BTreeMap<u64, Period>,
    /// By first number.
    pub(super) lists: BTreeMap<u64, List>,
    pub(super) marks: Marks,
}

/// The key of a numbered row.
pub(super) fn ranged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Ledger {
    /// Reads the account; everything that was marked is in doubt.
    pub(super) fn load(meta: &Store, state: State) -> Result<Self, StoreError> {
        let bad = |what: &'static str| move |bad| StoreError::bad(meta.path(), what, bad);
        let mut ledger = Self {
            state,
            ..Self::default()
        };
        let mut above = RangeSet::default();
        for (tag, set) in [
            (b'r', &mut above),
            (b'q', &mut ledger.dead_queued),
            (b'x', &mut ledger.dead_gone),
            (b'y', &mut ledger.dead_purged),
        ] {
            for row in meta.scan(&[tag], &[tag + 1]) {
                let (key, value) = row?;
                let (first, last) = value
                    .and_then(|v| read_range(&key, &v))
                    .map_err(bad("a range"))?;
                set.insert(first..=last);
            }
        }
        ledger.cursor = Cursor::new(state.low, above);
        for row in meta.scan(b"g", b"h") {
            let (key, value) = row?;
            let (generation, sealed) = value
                .and_then(|v| read_sealed(&key, &v))
                .map_err(bad("a generation"))?;
            ledger.generations.insert(generation, sealed);
        }
        for row in meta.scan(b"p", b"q") {
            let (key, value) = row?;
            let (period, numbers) = value
                .and_then(|v| read_period(&key, &v))
                .map_err(bad("a period"))?;
            ledger.periods.insert(period, numbers);
        }
        for row in meta.scan(b"l", b"m") {
            let (key, value) = row?;
            let list = value
                .and_then(|v| read_list(&key, &v))
                .map_err(bad("a list"))?;
            ledger.lists.insert(list.first, list);
        }
        ledger.marks = Marks::load(meta, |id| ledger.is_open(id))?;
        Ok(ledger)
    }

    /// Whether the event waits for its settlement.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => !self.cursor.is_settled(seq),
            Origin::Dead(number) => self.dead_queued.contains(number),
        }
    }

    /// Whether this dead letter is neither queued again nor gone nor purged.
    pub(super) fn is_dead(&self, number: u64) -> bool {
        number < self.state.dead_next
            && self.period_of(number).is_some()
            && !self.dead_queued.contains(number)
            && !self.is_gone(number)
    }

    /// Whether this number stands for no event of its own any more.
    pub(super) fn is_gone(&self, number: u64) -> bool {
        self.dead_gone.contains(number) || self.dead_purged.contains(number)
    }

    /// How many of a period's numbers stand for no event any more.
    pub(super) fn gone_within(&self, numbers: &Period) -> u64 {
        let range = numbers.first..=numbers.last;
        self.dead_gone.count_within(range.clone()) + self.dead_purged.count_within(range)
    }

    /// The period of a dead letter.
    pub(super) fn period_of(&self, number: u64) -> Option<u64> {
        let mut newest_first = self.periods.iter().rev();
        newest_first
            .find(|(_, numbers)| numbers.holds(number))
            .map(|(period, _)| *period)
    }

    /// Settles line numbers; the caller has counted where they went.
    pub(super) fn settle_line(&mut self, batch: &mut Batch, first: u64, last: u64) {
        let diff = self.cursor.settle(first..=last);
        self.state.low = self.cursor.mark();
        put_diff(batch, b'r', &diff);
    }

    /// Line numbers whose stored bytes cannot be used are settled as that; how many they were.
    pub(super) fn set_line_aside(&mut self, batch: &mut Batch, first: u64, last: u64) -> u64 {
        let mut count = 0;
        for seq in first..=last {
            if !self.cursor.is_settled(seq) {
                count += 1;
                self.marks.remove(batch, EntryId::line(seq));
            }
        }
        self.state.set_aside += count;
        self.settle_line(batch, first, last);
        count
    }

    /// Puts dead letters back into the queue.
    pub(super) fn queue_dead(&mut self, batch: &mut Batch, numbers: RangeInclusive<u64>) {
        let diff = self.dead_queued.insert(numbers);
        put_diff(batch, b'q', &diff);
    }

    /// A dead letter's number has no event any more; the caller has counted where it went.
    pub(super) fn bury(&mut self, batch: &mut Batch, number: u64) {
        let numbers = number..=number;
        let diff = self.dead_queued.remove(numbers.clone());
        put_diff(batch, b'q', &diff);
        let diff = self.dead_purged.remove(numbers.clone());
        put_diff(batch, b'y', &diff);
        let diff = self.dead_gone.insert(numbers);
        put_diff(batch, b'x', &diff);
    }

    /// Dead letters are given up; the caller counts them as purged.
    pub(super) fn purge_dead(&mut self, batch: &mut Batch, numbers: RangeInclusive<u64>) {
        let diff = self.dead_purged.insert(numbers);
        put_diff(batch, b'y', &diff);
    }

    /// A letter counts as dead no more. [`Ledger::put_period_of`] makes that durable.
    pub(super) fn uncount_dead(&mut self, number: u64, reason: DeadReason) {
        let mut periods = self.periods.values_mut();
        if let Some(period) = periods.find(|period| period.holds(number)) {
            period.dead[reason.index()] -= 1;
        }
    }

    /// Puts the counts of the period that holds this letter.
    pub(super) fn put_period_of(&mut self, batch: &mut Batch, number: u64) {
        if let Some(period) = self.period_of(number) {
            self.put_period(batch, period, self.periods[&period]);
        }
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

    /// Records a period as it now is.
    pub(super) fn put_period(&mut self, batch: &mut Batch, period: u64, numbers: Period) {
        let mut w = Writer::versioned();
        w.u64(numbers.first);
        w.u64(numbers.last);
        w.i64(numbers.opened);
        w.i64(numbers.newest);
        numbers.dead.iter().for_each(|count| w.u64(*count));
        batch.put(&ranged(b'p', period), w.0);
        self.periods.insert(period, numbers);
    }

    /// Records that purged letters are listed.
    pub(super) fn put_list(&mut self, batch: &mut Batch, list: List) {
        let mut w = Writer::versioned();
        w.u64(list.last);
        w.i64(list.purged_at);
        batch.put(&ranged(b'l', list.first), w.0);
        self.lists.insert(list.first, list);
    }

    pub(super) fn remove_list(&mut self, batch: &mut Batch, first: u64) {
        batch.remove(&ranged(b'l', first));
        self.lists.remove(&first);
    }

    /// Forgets a period; the caller has counted where its dead letters went. Its rows of letters
    /// that are gone or purged, of which there may be many, go by and by: [`Ledger::sweep`].
    pub(super) fn remove_period(&mut self, batch: &mut Batch, period: u64) {
        batch.remove(&ranged(b'p', period));
        if let Some(numbers) = self.periods.remove(&period) {
            let diff = self.dead_queued.remove(numbers.first..=numbers.last);
            put_diff(batch, b'q', &diff);
        }
    }

    /// Removes up to `limit` rows about letters of which nothing is left: neither their period,
    /// nor a list of them in `listed`. How many were removed.
    pub(super) fn sweep(&mut self, batch: &mut Batch, listed: &RangeSet, limit: usize) -> usize {
        let periods: RangeSet = (self.periods.values())
            .map(|numbers| (numbers.first, numbers.last))
            .collect();
        let everything = 0..=u64::MAX - 1;
        let mut removed = 0;
        for (tag, set) in [(b'x', &mut self.dead_gone), (b'y', &mut self.dead_purged)] {
            let mut left = set.clone();
            left.subtract(&periods, everything.clone());
            if tag == b'x' {
                left.subtract(listed, everything.clone());
            }
            for (first, last) in left.iter().take(limit - removed) {
                put_diff(batch, tag, &set.remove(first..=last));
                removed += 1;
            }
        }
        removed
    }

    /// The first period that holds numbers in `range`, and of those, at most `limit`, the dead
    /// ones; and the number from which to go on, if there are more.
    pub(super) fn dead_within(
        &self,
        range: RangeInclusive<u64>,
        limit: u64,
    ) -> (Option<(u64, RangeSet)>, Option<u64>) {
        let (from, to) = range.into_inner();
        let to = to.min(self.state.dead_next - 1);
        let mut periods = self.periods.iter().filter(|(_, p)| p.last >= from);
        let Some((period, numbers)) = periods.next().filter(|(_, p)| p.first <= to) else {
            return (None, None);
        };
        let first = from.max(numbers.first);
        let last = to.min(numbers.last).min(first.saturating_add(limit - 1));
        let mut dead = RangeSet::default();
        dead.insert(first..=last);
        for others in [&self.dead_queued, &self.dead_gone, &self.dead_purged] {
            dead.subtract(others, first..=last);
        }
        (Some((*period, dead)), (last < to).then_some(last + 1))
    }

    /// Lays a mark. Events that are marked already keep their first name and count as resent,
    /// as do those that a damaged or copied queue left in doubt.
    pub(super) fn lay_mark(&mut self, batch: &mut Batch, mark: &Mark, now: Millis) {
        let mut fresh = Vec::with_capacity(mark.events.len());
        for (id, name) in &mark.events {
            let first_sent = match self.marks.get(*id) {
                Some(marked) => Some(marked.at),
                None if !self.is_open(*id) => continue,
                None => {
                    fresh.push((*id, name.clone()));
                    self.is_doubtful(*id).then_some(self.state.doubt_since)
                }
            };
            if let Some(first_sent) = first_sent {
                self.state.resent += 1;
                self.state.resent_late += u64::from(now - first_sent > PINTEREST_REMEMBERS);
            }
        }
        self.marks.lay(batch, &fresh, now);
    }

    /// Whether the event was open when the queue was found damaged or copied.
    pub(super) fn is_doubtful(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => seq < self.state.doubt_lines,
            Origin::Dead(number) => number < self.state.doubt_letters,
        }
    }

    /// Everything unsettled may have been sent, marked or not.
    pub(super) fn doubt_everything(&mut self, now: Millis) {
        self.state.doubt_lines = self.state.last_seq + 1;
        self.state.doubt_letters = self.state.dead_next;
        self.state.doubt_since = now;
    }

    /// Marks the event as one that may have arrived under `name`, first sent `at`.
    pub(super) fn mark_in_doubt(
        &mut self,
        batch: &mut Batch,
        id: EntryId,
        name: Arc<str>,
        at: Millis,
    ) {
        self.marks.lay(batch, &[(id, name)], at);
        self.marks.doubt(id);
    }

    /// Dead letters now, by [`DeadReason::index`].
    pub(super) fn dead(&self) -> [u64; DeadReason::ALL.len()] {
        let mut dead = [0; DeadReason::ALL.len()];
        for period in self.periods.values() {
            for (sum, count) in dead.iter_mut().zip(period.dead) {
                *sum += count;
            }
        }
        dead
    }

    /// Events in doubt: those marked so, and the unmarked ones below the doubt marks.
    fn in_doubt(&self) -> u64 {
        let (lines, letters) = (self.state.doubt_lines, self.state.doubt_letters);
        let open = self.cursor.unsettled(lines.saturating_sub(1))
            + self.dead_queued.count_within(1..=letters.saturating_sub(1));
        if open == 0 {
            return self.marks.in_doubt();
        }
        let marked = self.marks.iter().filter(|(id, _)| self.is_doubtful(*id));
        self.marks.in_doubt() + open.saturating_sub(marked.count() as u64)
    }

    /// The account for people; the age is the claim side's to add.
    pub(super) fn census(&self) -> Census {
        let state = &self.state;
        let sending = self.marks.len() - self.marks.in_doubt();
        let open = self.cursor.unsettled(state.last_seq) + self.dead_queued.count();
        Census {
            accepted: state.totals.accepted,
            queued: open.saturating_sub(sending),
            sending,
            delivered: state.delivered,
            dead: self.dead(),
            purged: state.purged,
            set_aside: state.set_aside,
            duplicate: state.totals.duplicate,
            ignored: state.totals.ignored,
            rejected: state.totals.rejected,
            revived: state.totals.revived + state.retried,
            in_doubt: self.in_doubt(),
            resent: state.resent,
            resent_late: state.resent_late,
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

/// The number in a key of [`ranged`].
pub(super) fn number(key: &[u8]) -> Result<u64, Bad> {
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

fn read_sealed(key: &[u8], value: &[u8]) -> Result<(u64, Sealed), Bad> {
    let mut r = Reader::versioned(value)?;
    let sealed = Sealed {
        first_seq: r.u64()?,
        last_seq: r.u64()?,
    };
    Ok((number(key)?, sealed))
}

fn read_list(key: &[u8], value: &[u8]) -> Result<List, Bad> {
    let mut r = Reader::versioned(value)?;
    Ok(List {
        first: number(key)?,
        last: r.u64()?,
        purged_at: r.i64()?,
    })
}

fn read_period(key: &[u8], value: &[u8]) -> Result<(u64, Period), Bad> {
    let mut r = Reader::versioned(value)?;
    let mut period = Period {
        first: r.u64()?,
        last: r.u64()?,
        opened: r.i64()?,
        newest: r.i64()?,
        dead: [0; DeadReason::ALL.len()],
    };
    for count in &mut period.dead {
        *count = r.u64()?;
    }
    Ok((number(key)?, period))
}
