//! Which dead letters are deleted without being asked: periods past their retention, the oldest
//! beyond the quota, and periods of which every letter is gone, so that no bytes outlast their
//! event for long.

use crate::clock::{Millis, millis};
use crate::queue::lock::lock;
use crate::queue::sled::account::Period;
use crate::queue::sled::disk::{Batch, StoreError};
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::record::List;
use crate::queue::sled::threads::committer::{Committer, MAX_OPS};

/// The current period is not closed for being spent while letters come in: making the next one
/// takes the committer's time.
const QUIET: Millis = 60_000;

/// Batches of rows about what is gone that one look removes.
const SWEEPS: usize = 20;

impl Committer {
    /// Deletes periods of dead letters past their retention, the oldest beyond the quota, and
    /// those that are spent; forgets lists of purged letters past the dedup window. `now`: the
    /// wall clock if it is believed; without it nothing is old.
    pub(super) fn purge(
        &mut self,
        batch: &mut Batch,
        now: Option<Millis>,
    ) -> Result<(), StoreError> {
        let stamp = self.shared.trust.stamp();
        let retention = millis(self.shared.options.dead_retention);
        let quota = self.shared.options.dead_max_bytes;
        let periods: Vec<_> = self.ledger.periods.iter().map(|(p, n)| (*p, *n)).collect();
        let mut usage: u64 = {
            let dead = lock(&self.shared.dead);
            let usage = periods.iter().map(|(period, _)| dead.usage(*period));
            usage.sum::<Result<_, _>>()?
        };
        self.dead_quota.tell(usage, quota);
        for (period, numbers) in periods {
            let newest = (self.shared.trust.unproven()).map_or(numbers.newest, |u| {
                u.of_letter(numbers.last.0, numbers.newest)
            });
            let old = now.is_some_and(|now| now.saturating_sub(newest) > retention);
            let range = numbers.first..=numbers.last;
            let queued = self.ledger.dead_queued.count_within(range.clone()) > 0;
            let is_current = self.ledger.periods.keys().next_back() == Some(&period);
            let gone = self.ledger.dead_gone.count_within(range);
            let spent = gone == numbers.last + 1 - numbers.first
                && (!is_current || stamp.saturating_sub(numbers.newest) > QUIET);
            if queued || !(old || usage > quota || spent) {
                continue;
            }
            let freed = self.delete_period(period, &numbers, batch, stamp)?;
            usage = usage.saturating_sub(freed);
            let letters: u64 = numbers.dead.iter().sum();
            if letters > 0 {
                tracing::warn!(
                    purged = letters,
                    "dead letters purged: {}",
                    if old {
                        "they were past dead_letters.retention"
                    } else {
                        "they were the oldest beyond dead_letters.max_bytes"
                    }
                );
            }
        }
        if let Some(now) = now {
            self.forget_lists(batch, now)?;
        }
        for _ in 0..SWEEPS {
            // Each removal may leave the rest of a range behind.
            if self.ledger.sweep(batch, MAX_OPS / 2) == 0 {
                break;
            }
            self.write_meta(std::mem::take(batch))?;
        }
        Ok(())
    }

    /// Purges what is dead in a period and deletes its folder; returns how many bytes that frees.
    /// What was purged is listed first, since it may be imported.
    fn delete_period(
        &mut self,
        period: PeriodNumber,
        numbers: &Period,
        batch: &mut Batch,
        stamp: Millis,
    ) -> Result<u64, StoreError> {
        let dead = lock(&self.shared.dead).named(numbers);
        let list = (self.purged).list((numbers.first, numbers.last), dead, stamp)?;
        if let Some(list) = list {
            self.ledger.put_list(batch, list);
        }
        self.ledger.state.purged += numbers.dead.iter().sum::<u64>();
        self.ledger.remove_period(batch, period);
        let is_held = self.ledger.held_periods.contains(&period);
        // Counted first, deleted after: a folder that nothing counts is removed at start.
        self.write_meta(std::mem::take(batch))?;
        let opening = lock(&self.shared.opening);
        let mut dead = lock(&self.shared.dead);
        dead.forget_all(numbers);
        let freed = dead.usage(period)?;
        dead.delete(&opening, period, is_held)?;
        self.ledger.release_period(batch, period);
        Ok(freed)
    }

    /// Lists of purged letters whose messageIds are forgotten go as well.
    fn forget_lists(&mut self, batch: &mut Batch, now: Millis) -> Result<(), StoreError> {
        let window = millis(self.shared.options.dedup_window);
        let lists = self.ledger.lists.values();
        let unproven = self.shared.trust.unproven();
        let is_past = |list: &&List| {
            let purged_at = list.purged_at;
            let at = unproven.map_or(purged_at, |u| u.of_letter(list.last.0, purged_at));
            now.saturating_sub(at) > window
        };
        let past: Vec<_> = lists.filter(is_past).copied().collect();
        for list in past {
            self.ledger.remove_list(batch, list.first);
            self.write_meta(std::mem::take(batch))?;
            self.purged.drop_list(&list)?;
        }
        Ok(())
    }
}
