//! The account that `meta` keeps: what is settled, what is dead, what may have been sent.
//!
//! Every change goes into one batch of `meta` together with the counters that count it, so the
//! identity of [`Census`] holds whichever batches a crash leaves. Keys: `s` the state record ·
//! `r` + first: a settled range above the mark · `q` + first: dead letters queued again · `x` +
//! first: dead letters that are gone · `y` + first: of these, purged ones that may be imported ·
//! `l` + first: a list of purged letters · `z` + first: letters of lists that came back · `m` +
//! mark + part: a mark · `g` + generation: a sealed generation · `p` + period: a period of dead
//! letters and how many of them are dead · `k` + number: ids of delivered letters
//! ([`super::kept`]) · `i` a copy of the `format` file · `u` while the account is being made
//! anew · `t` both clocks when the wall clock was last believed · `v` what was stamped before it first was · `h` + generation and `j` +
//! period: something in that store could not be used, so it goes to `quarantine/` when it is done
//! with · `f` + name: a file of remembered ids, by its length and checksums · `n` + kind +
//! object: a loss that nobody has acknowledged yet. A release that does not know `y`, `l`, `z`,
//! `k`, `t`, `v`, `h`, `j`, `f` and `n` counts the same without them.

mod evidence;
mod letters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::census::Census;
use crate::queue::entry::{DeadReason, EntryId, Mark, Origin};
use crate::queue::loss::{Loss, LossKind};
use crate::queue::ranges::{Cursor, RangeDiff, RangeSet};
use crate::queue::sled::batch::Batch;
use crate::queue::sled::codec::{Bad, Reader, Writer};
use crate::queue::sled::error::StoreError;
use crate::queue::sled::marks::Marks;
use crate::queue::sled::purged::List;
use crate::queue::sled::state::State;
use crate::queue::sled::store::Store;

/// How long Pinterest remembers an event_id (pinterest-api.md, "Deduplication").
const PINTEREST_REMEMBERS: Millis = 48 * 3_600_000;

/// A generation that is full, reopened once, and whose ids are in `seen/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue::sled) struct Sealed {
    pub(in crate::queue::sled) first_seq: u64,
    pub(in crate::queue::sled) last_seq: u64,
}

pub(in crate::queue::sled) use evidence::IdFile;

/// A period of dead letters: its numbers, when it was begun, when the newest died, and how many
/// are dead now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue::sled) struct Period {
    pub(in crate::queue::sled) first: u64,
    pub(in crate::queue::sled) last: u64,
    pub(in crate::queue::sled) opened: Millis,
    pub(in crate::queue::sled) newest: Millis,
    /// By [`DeadReason::index`].
    pub(in crate::queue::sled) dead: [u64; DeadReason::ALL.len()],
}

impl Period {
    pub(in crate::queue::sled) fn holds(&self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// The whole account, in memory as in `meta`.
#[derive(Clone, Default)]
pub(in crate::queue::sled) struct Ledger {
    /// `low` in it is brought up to date by [`Ledger::settle_line`].
    pub(in crate::queue::sled) state: State,
    pub(in crate::queue::sled) cursor: Cursor,
    pub(in crate::queue::sled) dead_queued: RangeSet,
    pub(in crate::queue::sled) dead_gone: RangeSet,
    /// Of those that are gone and whose period stands, the purged ones: they may be imported.
    pub(in crate::queue::sled) dead_purged: RangeSet,
    /// Of those that stand in a list of purged letters, the ones that came back since.
    pub(in crate::queue::sled) listed_back: RangeSet,
    pub(in crate::queue::sled) generations: BTreeMap<u64, Sealed>,
    pub(in crate::queue::sled) periods: BTreeMap<u64, Period>,
    /// By first number.
    pub(in crate::queue::sled) lists: BTreeMap<u64, List>,
    pub(in crate::queue::sled) marks: Marks,
    /// Generations in which something could not be used.
    pub(in crate::queue::sled) held_generations: BTreeSet<u64>,
    /// The same of periods.
    pub(in crate::queue::sled) held_periods: BTreeSet<u64>,
    /// The files of remembered ids that must be there, by their names in `seen/`.
    pub(in crate::queue::sled) files: BTreeMap<String, IdFile>,
    /// What was lost and is not acknowledged.
    pub(in crate::queue::sled) losses: BTreeMap<(LossKind, String), Loss>,
}

/// The key of a numbered row.
pub(in crate::queue::sled) fn ranged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

impl Ledger {
    /// Reads the account; everything that was marked is in doubt.
    pub(in crate::queue::sled) fn load(meta: &Store, state: State) -> Result<Self, StoreError> {
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
            (b'z', &mut ledger.listed_back),
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
        for (tag, held) in [
            (b'h', &mut ledger.held_generations),
            (b'j', &mut ledger.held_periods),
        ] {
            for row in meta.scan(&[tag], &[tag + 1]) {
                let (key, value) = row?;
                value.map_err(bad("a store to be kept"))?;
                held.insert(number(&key).map_err(bad("a store to be kept"))?);
            }
        }
        for row in meta.scan(b"f", b"g") {
            let (key, value) = row?;
            let (name, file) = value
                .and_then(|v| evidence::read_file(&key, &v))
                .map_err(bad("a file of ids"))?;
            ledger.files.insert(name, file);
        }
        for row in meta.scan(b"n", b"o") {
            let (key, value) = row?;
            let loss = value
                .and_then(|v| evidence::read_loss(&key, &v))
                .map_err(bad("a loss"))?;
            ledger.losses.insert((loss.kind, loss.object.clone()), loss);
        }
        ledger.marks = Marks::load(meta, |id| ledger.is_open(id))?;
        Ok(ledger)
    }

    /// Whether the event waits for its settlement.
    pub(in crate::queue::sled) fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => !self.cursor.is_settled(seq),
            Origin::Dead(number) => self.dead_queued.contains(number),
        }
    }

    /// Settles line numbers; the caller has counted where they went.
    pub(in crate::queue::sled) fn settle_line(&mut self, batch: &mut Batch, first: u64, last: u64) {
        let diff = self.cursor.settle(first..=last);
        self.state.low = self.cursor.mark();
        put_diff(batch, b'r', &diff);
    }

    /// Line numbers whose stored bytes cannot be used are settled as that; how many they were.
    pub(in crate::queue::sled) fn set_line_aside(
        &mut self,
        batch: &mut Batch,
        first: u64,
        last: u64,
    ) -> u64 {
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

    /// Records a sealed generation.
    pub(in crate::queue::sled) fn put_generation(
        &mut self,
        batch: &mut Batch,
        generation: u64,
        sealed: Sealed,
    ) {
        let mut w = Writer::versioned();
        w.u64(sealed.first_seq);
        w.u64(sealed.last_seq);
        batch.put(&ranged(b'g', generation), w.0);
        self.generations.insert(generation, sealed);
    }

    pub(in crate::queue::sled) fn remove_generation(&mut self, batch: &mut Batch, generation: u64) {
        batch.remove(&ranged(b'g', generation));
        self.generations.remove(&generation);
    }

    /// Lays a mark. Events that are marked already keep their first name and count as resent,
    /// as do those that a damaged or copied queue left in doubt.
    pub(in crate::queue::sled) fn lay_mark(&mut self, batch: &mut Batch, mark: &Mark, now: Millis) {
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
    pub(in crate::queue::sled) fn is_doubtful(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => seq < self.state.doubt_lines,
            Origin::Dead(number) => number < self.state.doubt_letters,
        }
    }

    /// Everything unsettled may have been sent, marked or not.
    pub(in crate::queue::sled) fn doubt_everything(&mut self, now: Millis) {
        self.state.doubt_lines = self.state.last_seq + 1;
        self.state.doubt_letters = self.state.dead_next;
        self.state.doubt_since = now;
    }

    /// Marks the event as one that may have arrived under `name`, first sent `at`.
    pub(in crate::queue::sled) fn mark_in_doubt(
        &mut self,
        batch: &mut Batch,
        id: EntryId,
        name: Arc<str>,
        at: Millis,
    ) {
        self.marks.lay(batch, &[(id, name)], at);
        self.marks.doubt(id);
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
    pub(in crate::queue::sled) fn census(&self) -> Census {
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
pub(in crate::queue::sled) fn number(key: &[u8]) -> Result<u64, Bad> {
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
