//! Has the stores written anew that hold bytes of what is gone beside what stays: the housekeeper
//! does it, one store at a time.

use crate::clock::Millis;
use crate::queue::contract::LetterNumber;
use crate::queue::lock::lock;
use crate::queue::ranges::RangeSet;
use crate::queue::sled::runtime::Job;
use crate::queue::sled::threads::committer::{Committer, to_erase::Piece};

impl Committer {
    /// Looks at all stores where it is time for that, and has the next one written anew.
    pub(super) fn erase(&mut self) {
        let now = self.shared.trust.stamp();
        if self.to_erase.is_look_due(now) {
            self.look_for_bytes(now);
        }
        while !self.to_erase.is_busy
            && let Some(piece) = self.to_erase.todo.pop_front()
        {
            if let Some(job) = self.erase_job(piece) {
                self.to_erase.is_busy = true;
                self.ask(job);
            }
        }
    }

    /// Notes which stores hold bytes of what has gone since they were last written.
    fn look_for_bytes(&mut self, now: Millis) {
        let (ledger, to_erase) = (&self.ledger, &mut self.to_erase);
        to_erase
            .settled
            .retain(|g, _| ledger.generations.contains_key(g));
        to_erase
            .sealed_at
            .retain(|g, _| ledger.generations.contains_key(g));
        to_erase.gone.retain(|p, _| ledger.periods.contains_key(p));
        for (generation, sealed) in &ledger.generations {
            let (first, last) = (sealed.first_seq, sealed.last_seq);
            let open = ledger.cursor.unsettled(last) - ledger.cursor.unsettled(first - 1);
            let settled = last + 1 - first - open;
            let before = to_erase.settled.get(generation).copied().unwrap_or(0);
            if settled > before && !to_erase.rests(*generation, now) {
                to_erase.settled.insert(*generation, settled);
                to_erase.want(Piece::Generation(*generation));
            }
        }
        for (period, numbers) in &ledger.periods {
            let gone = ledger.dead_gone.count_within(numbers.first..=numbers.last);
            let before = to_erase.gone.insert(*period, gone).unwrap_or(0);
            if gone > before {
                to_erase.want(Piece::Period(*period));
            }
        }
    }

    /// What the housekeeper is asked. None for what is about to be deleted as a whole, and for
    /// what is to be kept as it is.
    fn erase_job(&mut self, piece: Piece) -> Option<Job> {
        let ledger = &self.ledger;
        match piece {
            Piece::Generation(generation) => {
                let sealed = ledger.generations.get(&generation)?;
                let is_spent = sealed.last_seq < ledger.cursor.low_water();
                if is_spent || ledger.held_generations.contains(&generation) {
                    return None;
                }
                Some(Job::EraseEvents {
                    generation,
                    settled: Box::new(ledger.cursor.clone()),
                })
            }
            Piece::Period(period) => {
                let numbers = *ledger.periods.get(&period)?;
                let range = numbers.first..=numbers.last;
                let gone: RangeSet<LetterNumber> = ledger.dead_gone.within(range).collect();
                let is_spent = gone.count() == numbers.last + 1 - numbers.first;
                if is_spent || ledger.held_periods.contains(&period) {
                    return None;
                }
                lock(&self.shared.dead).close_current(period);
                Some(Job::EraseLetters {
                    period,
                    numbers,
                    gone: Box::new(gone),
                })
            }
        }
    }
}
