//! Dead letters that are queued again and not claimed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::queue::contract::{EntryId, LetterNumber, Number};
use crate::queue::sled::account::Ledger;
use crate::queue::sled::numbers::PeriodNumber;

/// One of them.
pub struct DeferredLetter {
    pub number: LetterNumber,
    pub period: PeriodNumber,
    /// The name of an attempt that may have arrived.
    pub sent_as: Option<Arc<str>>,
}

/// All of them, in the order in which they are claimed.
pub type Deferred = VecDeque<DeferredLetter>;

/// The dead letters that are queued again, with their periods and the names they went out under.
pub fn deferred(ledger: &Ledger) -> Deferred {
    let mut deferred = Deferred::default();
    for (first, last) in ledger.dead_queued.iter() {
        for number in first.through(last) {
            if let Some(period) = ledger.period_of(number) {
                let marked = ledger.marks.get(EntryId::dead(number));
                deferred.push_back(DeferredLetter {
                    number,
                    period,
                    sent_as: marked.map(|marked| marked.name.clone()),
                });
            }
        }
    }
    deferred
}
