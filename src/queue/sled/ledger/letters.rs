//! The dead letters in the account: which are dead, queued again, gone or purged, by period.

use std::ops::RangeInclusive;

use super::{Ledger, List, Period, put_diff, ranged};
use crate::queue::entry::DeadReason;
use crate::queue::ranges::RangeSet;
use crate::queue::sled::batch::Batch;
use crate::queue::sled::codec::Writer;

impl Ledger {
    /// Whether this dead letter is neither queued again nor gone.
    pub(in crate::queue::sled) fn is_dead(&self, number: u64) -> bool {
        number < self.state.dead_next
            && self.period_of(number).is_some()
            && !self.dead_queued.contains(number)
            && !self.dead_gone.contains(number)
    }

    /// The period of a dead letter.
    pub(in crate::queue::sled) fn period_of(&self, number: u64) -> Option<u64> {
        let mut newest_first = self.periods.iter().rev();
        newest_first
            .find(|(_, numbers)| numbers.holds(number))
            .map(|(period, _)| *period)
    }

    /// Puts dead letters back into the queue.
    pub(in crate::queue::sled) fn queue_dead(
        &mut self,
        batch: &mut Batch,
        numbers: RangeInclusive<u64>,
    ) {
        let diff = self.dead_queued.insert(numbers);
        put_diff(batch, b'q', &diff);
    }

    /// A dead letter's number has no event any more; the caller has counted where it went.
    pub(in crate::queue::sled) fn bury(&mut self, batch: &mut Batch, number: u64) {
        let numbers = number..=number;
        let diff = self.dead_queued.remove(numbers.clone());
        put_diff(batch, b'q', &diff);
        let diff = self.dead_gone.insert(numbers);
        put_diff(batch, b'x', &diff);
    }

    /// Dead letters are given up; the caller counts them as purged.
    pub(in crate::queue::sled) fn purge_dead(
        &mut self,
        batch: &mut Batch,
        numbers: RangeInclusive<u64>,
    ) {
        let diff = self.dead_gone.insert(numbers.clone());
        put_diff(batch, b'x', &diff);
        let diff = self.dead_purged.insert(numbers);
        put_diff(batch, b'y', &diff);
    }

    /// Whether this number was purged, as far as an import goes.
    pub(in crate::queue::sled) fn is_purged(&self, number: u64) -> bool {
        self.dead_purged.contains(number) || self.period_of(number).is_none()
    }

    /// The event of a purged letter is elsewhere again: it cannot come back a second time.
    pub(in crate::queue::sled) fn unpurge(&mut self, batch: &mut Batch, number: u64) {
        let numbers = number..=number;
        if self.period_of(number).is_some() {
            let diff = self.dead_purged.remove(numbers);
            put_diff(batch, b'y', &diff);
        } else {
            let diff = self.listed_back.insert(numbers);
            put_diff(batch, b'z', &diff);
        }
    }

    /// A letter counts as dead no more. [`Ledger::put_period_of`] makes that durable.
    pub(in crate::queue::sled) fn uncount_dead(&mut self, number: u64, reason: DeadReason) {
        let mut periods = self.periods.values_mut();
        if let Some(period) = periods.find(|period| period.holds(number)) {
            period.dead[reason.index()] -= 1;
        }
    }

    /// Puts the counts of the period that holds this letter.
    pub(in crate::queue::sled) fn put_period_of(&mut self, batch: &mut Batch, number: u64) {
        if let Some(period) = self.period_of(number) {
            self.put_period(batch, period, self.periods[&period]);
        }
    }

    /// Records a period as it now is.
    pub(in crate::queue::sled) fn put_period(
        &mut self,
        batch: &mut Batch,
        period: u64,
        numbers: Period,
    ) {
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
    pub(in crate::queue::sled) fn put_list(&mut self, batch: &mut Batch, list: List) {
        let mut w = Writer::versioned();
        w.u64(list.last);
        w.i64(list.purged_at);
        batch.put(&ranged(b'l', list.first), w.0);
        self.lists.insert(list.first, list);
    }

    pub(in crate::queue::sled) fn remove_list(&mut self, batch: &mut Batch, first: u64) {
        batch.remove(&ranged(b'l', first));
        self.lists.remove(&first);
    }

    /// Forgets a period; the caller has counted where its dead letters went. Its rows of letters
    /// that are gone or purged, of which there may be many, go by and by: [`Ledger::sweep`].
    pub(in crate::queue::sled) fn remove_period(&mut self, batch: &mut Batch, period: u64) {
        batch.remove(&ranged(b'p', period));
        if let Some(numbers) = self.periods.remove(&period) {
            let diff = self.dead_queued.remove(numbers.first..=numbers.last);
            put_diff(batch, b'q', &diff);
        }
    }

    /// Removes up to `limit` rows about letters of which nothing is left, neither their period
    /// nor a list of them; how many were removed.
    pub(in crate::queue::sled) fn sweep(&mut self, batch: &mut Batch, limit: usize) -> usize {
        let periods = self.periods.values().map(|p| (p.first, p.last));
        let periods: RangeSet = periods.collect();
        let lists = self.lists.values().map(|list| (list.first, list.last));
        let lists: RangeSet = lists.collect();
        let mut removed = 0;
        for (tag, set, standing) in [
            (b'x', &mut self.dead_gone, &periods),
            (b'y', &mut self.dead_purged, &periods),
            (b'z', &mut self.listed_back, &lists),
        ] {
            let mut left = set.clone();
            left.subtract(standing, 0..=u64::MAX - 1);
            for (first, last) in left.iter().take(limit - removed) {
                put_diff(batch, tag, &set.remove(first..=last));
                removed += 1;
            }
        }
        removed
    }

    /// The first period that holds numbers in `range`, and of those, at most `limit`, the dead
    /// ones; and the number from which to go on, if there are more.
    pub(in crate::queue::sled) fn dead_within(
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
        for others in [&self.dead_queued, &self.dead_gone] {
            dead.subtract(others, first..=last);
        }
        (Some((*period, dead)), (last < to).then_some(last + 1))
    }

    /// Dead letters now, by [`DeadReason::index`].
    pub(in crate::queue::sled) fn dead(&self) -> [u64; DeadReason::ALL.len()] {
        let mut dead = [0; DeadReason::ALL.len()];
        for period in self.periods.values() {
            for (sum, count) in dead.iter_mut().zip(period.dead) {
                *sum += count;
            }
        }
        dead
    }
}
