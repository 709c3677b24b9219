//! The account that `meta` keeps: what is settled, what is dead, what may have been sent.
//!
//! Every change goes into one batch of `meta` together with the counters that count it, so the
//! identity of [`Census`] holds whichever batches a crash leaves. The rows are [`super::rows`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{
    Census, EntryId, LetterNumber, Loss, LossKind, Mark, Number, Origin, Seq,
};
use crate::queue::ranges::{Cursor, RangeSet};
use crate::queue::sled::account::{
    marks::Marks,
    rows::{self, Period, Row, Sealed, Undelivered, number, put_diff},
};
use crate::queue::sled::disk::{Batch, Store, StoreError};
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::record::{IdFile, List, State};

/// The whole account, in memory as in `meta`.
#[derive(Clone, Default)]
pub struct Ledger {
    /// `low` in it is brought up to date by [`Ledger::settle_line`].
    pub state: State,
    pub cursor: Cursor,
    pub dead_queued: RangeSet<LetterNumber>,
    pub dead_gone: RangeSet<LetterNumber>,
    /// Of those that are gone and whose period stands, the purged ones: they may be imported.
    pub dead_purged: RangeSet<LetterNumber>,
    /// Of those that stand in a list of purged letters, the ones that came back since.
    pub listed_back: RangeSet<LetterNumber>,
    /// What died since an event was delivered last.
    pub undelivered: Option<Undelivered>,
    /// Of those that died since: the names of attempts that may have arrived, and when each first
    /// left.
    pub doubtful_letters: BTreeMap<LetterNumber, (Arc<str>, Millis)>,
    pub generations: BTreeMap<Generation, Sealed>,
    pub periods: BTreeMap<PeriodNumber, Period>,
    /// By first number.
    pub lists: BTreeMap<LetterNumber, List>,
    pub marks: Marks,
    /// Forgotten while they were being sent, with the hashes of their messageIds: given up unless
    /// they are delivered.
    pub forgetting: BTreeMap<EntryId, u128>,
    /// Generations in which something could not be used.
    pub held_generations: BTreeSet<Generation>,
    /// The same of periods.
    pub held_periods: BTreeSet<PeriodNumber>,
    /// The files of remembered ids that must be there, by their names in `seen/`.
    pub files: BTreeMap<String, IdFile>,
    /// What was lost and is not acknowledged.
    pub losses: BTreeMap<(LossKind, String), Loss>,
}

impl Ledger {
    /// Reads the account; everything that was marked is in doubt.
    pub fn load(meta: &Store, state: State) -> Result<Self, StoreError> {
        let mut ledger = Self {
            state,
            ..Self::default()
        };
        let mut above = RangeSet::default();
        for range in Row::Settled.load(meta, "a range", rows::range) {
            let (first, last) = range?;
            above.insert(first..=last);
        }
        for (row, set) in [
            (Row::DeadQueued, &mut ledger.dead_queued),
            (Row::DeadGone, &mut ledger.dead_gone),
            (Row::DeadPurged, &mut ledger.dead_purged),
            (Row::ListedBack, &mut ledger.listed_back),
        ] {
            for range in row.load(meta, "a range", rows::range) {
                let (first, last) = range?;
                set.insert(first..=last);
            }
        }
        ledger.cursor = Cursor::new(state.low, above);
        let sealed = Row::Sealed.load(meta, "a generation", Sealed::read);
        ledger.generations = sealed.collect::<Result<_, _>>()?;
        let periods = Row::Period.load(meta, "a period", Period::read);
        ledger.periods = periods.collect::<Result<_, _>>()?;
        for list in Row::List.load(meta, "a list", rows::list) {
            let list = list?;
            ledger.lists.insert(list.first, list);
        }
        const HELD: &str = "a store to be kept";
        let held = Row::HeldGeneration.load(meta, HELD, |key, _| number(key));
        ledger.held_generations = held.collect::<Result<_, _>>()?;
        let held = Row::HeldPeriod.load(meta, HELD, |key, _| number(key));
        ledger.held_periods = held.collect::<Result<_, _>>()?;
        let files = Row::IdFile.load(meta, "a file of ids", rows::id_file);
        ledger.files = files.collect::<Result<_, _>>()?;
        for loss in Row::Loss.load(meta, "a loss", rows::loss) {
            let loss = loss?;
            ledger.losses.insert((loss.kind, loss.object.clone()), loss);
        }
        for row in Row::Undelivered.load(meta, "the last delivery", Undelivered::read) {
            ledger.undelivered = Some(row?);
        }
        // No turn that the operator spoke of goes on.
        ledger.keeps_dead_no_longer();
        let doubtful = Row::DoubtfulLetter.load(meta, "a dead letter in doubt", rows::doubtful);
        ledger.doubtful_letters = doubtful.collect::<Result<_, _>>()?;
        let forgetting = Row::Forgetting.load(meta, "a forgotten event", rows::forgetting);
        ledger.forgetting = forgetting.collect::<Result<_, _>>()?;
        ledger.marks = Marks::load(meta, |id| ledger.is_open(id))?;
        Ok(ledger)
    }

    /// Whether the event waits for its settlement.
    pub fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => !self.cursor.is_settled(seq),
            Origin::Dead(number) => self.dead_queued.contains(number),
        }
    }

    /// Settles line numbers; the caller has counted where they went.
    pub fn settle_line(&mut self, batch: &mut Batch, first: Seq, last: Seq) {
        let diff = self.cursor.settle(first..=last);
        self.state.low = self.cursor.low_water();
        put_diff(batch, Row::Settled, &diff);
    }

    /// Line numbers whose stored bytes cannot be used are settled as that; how many they were.
    pub fn set_line_aside(&mut self, batch: &mut Batch, first: Seq, last: Seq) -> u64 {
        let mut count = 0;
        for seq in first.through(last) {
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
    pub fn put_generation(&mut self, batch: &mut Batch, generation: Generation, sealed: Sealed) {
        sealed.put(batch, generation);
        self.generations.insert(generation, sealed);
    }

    pub fn remove_generation(&mut self, batch: &mut Batch, generation: Generation) {
        batch.remove(&Row::Sealed.numbered(generation));
        self.generations.remove(&generation);
    }

    /// Lays a mark. Events that are marked already keep their first name and count as resent,
    /// as do those that a damaged or copied queue left in doubt. `remembers`: how long the
    /// destination knows an event_id. Gives those that are not marked, since they are forgotten.
    pub fn lay_mark(
        &mut self,
        batch: &mut Batch,
        mark: &Mark,
        now: Millis,
        remembers: Millis,
    ) -> Vec<EntryId> {
        let mut forgotten = Vec::new();
        let mut fresh = Vec::with_capacity(mark.events.len());
        for (id, name) in &mark.events {
            let first_sent = match self.marks.get(*id) {
                Some(marked) => Some(marked.at),
                None if !self.is_open(*id) => {
                    forgotten.push(*id);
                    continue;
                }
                None => {
                    fresh.push((*id, name.clone()));
                    self.is_doubtful(*id).then_some(self.state.doubt_since)
                }
            };
            if let Some(first_sent) = first_sent {
                self.state.resent += 1;
                self.state.resent_late += u64::from(now - first_sent > remembers);
            }
        }
        self.marks.lay(batch, &fresh, now);
        forgotten
    }

    /// Notes that the event is to be given up, unless the answer that is awaited says that it was
    /// delivered.
    pub fn forget_after_answer(&mut self, batch: &mut Batch, event: EntryId, id_hash: u128) {
        rows::put_forgetting(batch, event, id_hash);
        self.forgetting.insert(event, id_hash);
    }

    /// It is waited for no more; gives the hash of its messageId, if it was.
    pub fn forgets(&mut self, batch: &mut Batch, event: EntryId) -> Option<u128> {
        let id_hash = self.forgetting.remove(&event)?;
        batch.remove(&Row::Forgetting.numbered(event.to_raw()));
        Some(id_hash)
    }

    /// Whether the event was open when the queue was found damaged or copied.
    pub fn is_doubtful(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => seq < self.state.doubt_lines,
            Origin::Dead(number) => number < self.state.doubt_letters,
        }
    }

    /// Everything unsettled may have been sent, marked or not.
    pub fn doubt_everything(&mut self, now: Millis) {
        self.state.doubt_lines = self.state.last_seq + 1;
        self.state.doubt_letters = self.state.dead_next;
        self.state.doubt_since = now;
    }

    /// Marks the event as one that may have arrived under `name`, first sent `at`.
    pub fn mark_in_doubt(&mut self, batch: &mut Batch, id: EntryId, name: Arc<str>, at: Millis) {
        self.marks.lay(batch, &[(id, name)], at);
        self.marks.doubt(id);
    }

    /// Events in doubt: those marked so, and the unmarked ones below the doubt marks.
    fn in_doubt(&self) -> u64 {
        let (lines, letters) = (self.state.doubt_lines, self.state.doubt_letters);
        let open = self.cursor.unsettled(Seq(lines.0.saturating_sub(1)))
            + self
                .dead_queued
                .count_within(LetterNumber(1)..=LetterNumber(letters.0.saturating_sub(1)));
        if open == 0 {
            return self.marks.in_doubt();
        }
        let marked = self.marks.iter().filter(|(id, _)| self.is_doubtful(*id));
        self.marks.in_doubt() + open.saturating_sub(marked.count() as u64)
    }

    /// The counts for those who watch; the caller adds the age of the oldest event.
    pub fn census(&self) -> Census {
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
            retried: state.totals.retried + state.retried,
            in_doubt: self.in_doubt(),
            resent: state.resent,
            resent_late: state.resent_late,
            oldest_accepted_at: None,
        }
    }
}
