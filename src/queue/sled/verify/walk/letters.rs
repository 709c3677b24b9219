//! The dead letters of a period: each number that the account knows has its bytes, and each
//! reason its count.

use crate::queue::contract::{DeadReason, Number};
use crate::queue::ranges::RangeSet;
use crate::queue::sled::dead::read_letters;
use crate::queue::sled::disk::{StoreError, period_name};
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::verify::walk::{Piece, Stores, Walk};

impl Walk<'_> {
    pub fn period(
        &mut self,
        period: PeriodNumber,
        stores: &mut dyn Stores,
    ) -> Result<(), StoreError> {
        let ledger = self.ledger;
        let numbers = ledger.periods[&period];
        let object = period_name(period);
        let (mut faults, mut fatal, mut met) = (Vec::new(), None, None);
        let mut missing = RangeSet::default();
        missing.insert(numbers.first..=numbers.last);
        let mut dead = [0u64; DeadReason::ALL.len()];
        let mut checked = 0;
        let looked = stores.period(period, &mut |store| {
            let (firsts, unreached) = match store.firsts() {
                Ok(found) => found,
                Err(error) => return fatal = Some(error),
            };
            for first in firsts.into_iter().filter(|first| numbers.holds(*first)) {
                match read_letters(store, first) {
                    Ok(records) => {
                        for (number, record) in first.onward().zip(records) {
                            missing.remove(number..=number);
                            // Those that were queued again, or purged, are no letters any more.
                            if let (true, Some(reason)) = (ledger.is_dead(number), record.reason) {
                                checked += 1;
                                dead[reason.index()] += 1;
                            }
                        }
                    }
                    Err(error @ StoreError::Damaged { .. }) => faults.push((first, error)),
                    Err(error) => fatal = Some(error),
                }
            }
            met = unreached;
        });
        match looked {
            Err(error @ StoreError::Damaged { .. }) => {
                self.find(Piece::AtOpen, object, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
            Ok(false) => return Ok(()),
            Ok(true) => {}
        }
        if let Some(error) = fatal {
            return Err(error);
        }
        self.verdict.checked.dead_letters += checked;
        missing.subtract(&ledger.dead_gone, numbers.first..=numbers.last);
        let is_short = missing.count() > 0;
        for (first, fault) in faults {
            let piece = Piece::Letters { period, first };
            match is_short {
                true => self.find(
                    piece,
                    object.clone(),
                    format!("{fault}; its letters are lost"),
                ),
                false => self.harmless(piece, object.clone(), fault.to_string()),
            }
        }
        if is_short {
            let why = met.map_or(String::new(), |e| format!(": {e}"));
            let what = format!("{} dead letters cannot be read{why}", missing.count());
            self.find(Piece::AtOpen, object, what);
            return Ok(());
        }
        if dead != numbers.dead {
            let what = format!(
                "it holds {dead:?} letters by reason, counted are {:?}",
                numbers.dead
            );
            self.find(Piece::None, object, what);
        }
        Ok(())
    }
}
