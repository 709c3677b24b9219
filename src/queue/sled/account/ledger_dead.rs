//! The dead letters in the account: which are dead, queued again, gone or purged, by period.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{DeadReason, EntryId, LetterNumber};
use crate::queue::ranges::RangeSet;
use crate::queue::sled::account::{
    ledger::Ledger,
    rows::{self, Period, Row, Undelivered, put_diff},
};
use crate::queue::sled::disk::Batch;
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::record::List;

/// Dead letters of one period.
pub struct Stretch {
    pub period: PeriodNumber,
    /// Their numbers.
    pub dead: RangeSet<LetterNumber>,
    /// The number from which to go on, if there are more.
    pub next: Option<LetterNumber>,
}

/// Names of dead letters that are kept at a time at most; of more the first are.
const DOUBTFUL_LETTERS: usize = 1000;

/// One event dies.
pub struct Death {
    pub number: LetterNumber,
    /// Events that were delivered by then.
    pub delivered: u64,
    /// Under which name it may have arrived, and when it first left.
    pub sent: Option<(Arc<str>, Millis)>,
}

impl Ledger {
    /// Whether this dead letter is neither queued again nor gone.
    pub fn is_dead(&self, number: LetterNumber) -> bool {
        number < self.state.dead_next
            && self.period_of(number).is_some()
            && !self.dead_queued.contains(number)
            && !self.dead_gone.contains(number)
    }

    /// The period of a dead letter.
    pub fn period_of(&self, number: LetterNumber) -> Option<PeriodNumber> {
        let mut newest_first = self.periods.iter().rev();
        newest_first
            .find(|(_, numbers)| numbers.holds(number))
            .map(|(period, _)| *period)
    }

    /// Letters die, in this order.
    pub fn note_deaths(&mut self, batch: &mut Batch, deaths: impl IntoIterator<Item = Death>) {
        let before = (self.undelivered, self.doubtful_letters.clone());
        for death in deaths {
            let Death {
                number, delivered, ..
            } = death;
            if (self.undelivered).is_none_or(|noted| noted.delivered != delivered) {
                let first = number;
                self.undelivered = Some(Undelivered { delivered, first });
                self.doubtful_letters.clear();
            }
            let is_kept = (self.undelivered).is_some_and(|u| u.first == Undelivered::KEPT);
            if let (Some(sent), false) = (death.sent, is_kept)
                && self.doubtful_letters.len() < DOUBTFUL_LETTERS
            {
                self.doubtful_letters.insert(number, sent);
            }
        }
        if let Some(undelivered) = self.undelivered.filter(|now| Some(*now) != before.0) {
            undelivered.put(batch);
        }
        let now = &self.doubtful_letters;
        for number in before.1.keys().filter(|number| !now.contains_key(number)) {
            batch.remove(&Row::DoubtfulLetter.numbered(*number));
        }
        for (number, (name, at)) in now.iter().filter(|(n, _)| !before.1.contains_key(n)) {
            rows::put_doubtful(batch, *number, name, *at);
        }
    }

    /// A dead letter is queued again: the name that it has to go out under, if it may have arrived
    /// before it died.
    pub fn queue_doubtful(&mut self, batch: &mut Batch, number: LetterNumber) -> Option<Arc<str>> {
        let (name, at) = self.doubtful_letters.remove(&number)?;
        batch.remove(&Row::DoubtfulLetter.numbered(number));
        self.mark_in_doubt(batch, EntryId::dead(number), name.clone(), at);
        Some(name)
    }

    /// The operator keeps dead what died since the last delivery, and what dies until the next.
    pub fn keep_dead(&mut self, batch: &mut Batch) {
        let undelivered = Undelivered {
            delivered: self.state.delivered,
            first: Undelivered::KEPT,
        };
        undelivered.put(batch);
        self.undelivered = Some(undelivered);
    }

    /// What dies from now on may come back again.
    pub fn keeps_dead_no_longer(&mut self) {
        self.undelivered = (self.undelivered).filter(|noted| noted.first != Undelivered::KEPT);
    }

    /// The first letter that died since an event was delivered last, unless they are to stay dead.
    pub fn undelivered_letters(&self) -> Option<LetterNumber> {
        let delivered = self.state.delivered;
        let noted = (self.undelivered).filter(|noted| noted.delivered == delivered)?;
        Some(noted.first).filter(|first| *first != Undelivered::KEPT)
    }

    /// Puts dead letters back into the queue.
    pub fn queue_dead(&mut self, batch: &mut Batch, numbers: RangeInclusive<LetterNumber>) {
        let diff = self.dead_queued.insert(numbers);
        put_diff(batch, Row::DeadQueued, &diff);
    }

    /// A dead letter's number has no event any more; the caller has counted where it went.
    pub fn retire_letter(&mut self, batch: &mut Batch, number: LetterNumber) {
        let numbers = number..=number;
        let diff = self.dead_queued.remove(numbers.clone());
        put_diff(batch, Row::DeadQueued, &diff);
        let diff = self.dead_gone.insert(numbers);
        put_diff(batch, Row::DeadGone, &diff);
    }

    /// Dead letters are given up; the caller counts them as purged.
    pub fn purge_dead(&mut self, batch: &mut Batch, numbers: RangeInclusive<LetterNumber>) {
        let diff = self.dead_gone.insert(numbers.clone());
        put_diff(batch, Row::DeadGone, &diff);
        let diff = self.dead_purged.insert(numbers);
        put_diff(batch, Row::DeadPurged, &diff);
    }

    /// Dead letters are given up for good; the caller counts them as purged.
    pub fn forget_dead(&mut self, batch: &mut Batch, numbers: RangeInclusive<LetterNumber>) {
        let diff = self.dead_gone.insert(numbers);
        put_diff(batch, Row::DeadGone, &diff);
    }

    /// The dead letters that are queued again, by period.
    pub fn deferred_numbers(&self) -> Vec<(PeriodNumber, RangeSet<LetterNumber>)> {
        let by_period = self.periods.iter().map(|(period, numbers)| {
            let within = self.dead_queued.within(numbers.first..=numbers.last);
            (*period, within.collect())
        });
        by_period.collect()
    }

    /// Whether this number was purged, as far as an import goes.
    pub fn is_purged(&self, number: LetterNumber) -> bool {
        self.dead_purged.contains(number) || self.period_of(number).is_none()
    }

    /// The event of a purged letter is elsewhere again: it cannot come back a second time.
    pub fn unpurge(&mut self, batch: &mut Batch, number: LetterNumber) {
        let numbers = number..=number;
        if self.period_of(number).is_some() {
            let diff = self.dead_purged.remove(numbers);
            put_diff(batch, Row::DeadPurged, &diff);
        } else {
            let diff = self.listed_back.insert(numbers);
            put_diff(batch, Row::ListedBack, &diff);
        }
    }

    /// A letter counts as dead no more. [`Ledger::put_period_of`] makes that durable.
    pub fn uncount_dead(&mut self, number: LetterNumber, reason: DeadReason) {
        let mut periods = self.periods.values_mut();
        if let Some(period) = periods.find(|period| period.holds(number)) {
            period.dead[reason.index()] -= 1;
        }
    }

    /// Puts the counts of the period that holds this letter.
    pub fn put_period_of(&mut self, batch: &mut Batch, number: LetterNumber) {
        if let Some(period) = self.period_of(number) {
            self.put_period(batch, period, self.periods[&period]);
        }
    }

    /// Records a period as it now is.
    pub fn put_period(&mut self, batch: &mut Batch, period: PeriodNumber, numbers: Period) {
        numbers.put(batch, period);
        self.periods.insert(period, numbers);
    }

    /// Records that purged letters are listed.
    pub fn put_list(&mut self, batch: &mut Batch, list: List) {
        rows::put_list(batch, &list);
        self.lists.insert(list.first, list);
    }

    pub fn remove_list(&mut self, batch: &mut Batch, first: LetterNumber) {
        batch.remove(&Row::List.numbered(first));
        self.lists.remove(&first);
    }

    /// Forgets a period; the caller has counted where its dead letters went. Its rows of letters
    /// that are gone or purged, of which there may be many, go in pieces later: [`Ledger::sweep`].
    pub fn remove_period(&mut self, batch: &mut Batch, period: PeriodNumber) {
        batch.remove(&Row::Period.numbered(period));
        if let Some(numbers) = self.periods.remove(&period) {
            let diff = self.dead_queued.remove(numbers.first..=numbers.last);
            put_diff(batch, Row::DeadQueued, &diff);
        }
    }

    /// Removes up to `limit` rows about letters of which nothing is left, neither their period
    /// nor a list of them; how many were removed.
    pub fn sweep(&mut self, batch: &mut Batch, limit: usize) -> usize {
        let periods = self.periods.values().map(|p| (p.first, p.last));
        let periods: RangeSet<LetterNumber> = periods.collect();
        let lists = self.lists.values().map(|list| (list.first, list.last));
        let lists: RangeSet<LetterNumber> = lists.collect();
        let mut removed = 0;
        for (row, set, standing) in [
            (Row::DeadGone, &mut self.dead_gone, &periods),
            (Row::DeadPurged, &mut self.dead_purged, &periods),
            (Row::ListedBack, &mut self.listed_back, &lists),
        ] {
            let mut left = set.clone();
            left.subtract(standing, LetterNumber(0)..=LetterNumber(u64::MAX - 1));
            for (first, last) in left.iter().take(limit - removed) {
                put_diff(batch, row, &set.remove(first..=last));
                removed += 1;
            }
        }
        removed
    }

    /// Of the first period that holds numbers in `range`, the dead ones among at most `limit`
    /// numbers.
    pub fn dead_within(&self, range: RangeInclusive<LetterNumber>, limit: u64) -> Option<Stretch> {
        let (from, to) = range.into_inner();
        let to = to.min(self.state.dead_next - 1);
        let mut periods = self.periods.iter().filter(|(_, p)| p.last >= from);
        let (period, numbers) = periods.next().filter(|(_, p)| p.first <= to)?;
        let first = from.max(numbers.first);
        let last = to
            .min(numbers.last)
            .min(LetterNumber(first.0.saturating_add(limit - 1)));
        let mut dead = RangeSet::default();
        dead.insert(first..=last);
        for others in [&self.dead_queued, &self.dead_gone] {
            dead.subtract(others, first..=last);
        }
        Some(Stretch {
            period: *period,
            dead,
            next: (last < to).then_some(last + 1),
        })
    }

    /// Dead letters now, by [`DeadReason::index`].
    pub fn dead(&self) -> [u64; DeadReason::ALL.len()] {
        let mut dead = [0; DeadReason::ALL.len()];
        for period in self.periods.values() {
            for (sum, count) in dead.iter_mut().zip(period.dead) {
                *sum += count;
            }
        }
        dead
    }
}
