//! Finding an event by its messageId in the stores, since only they have the numbers.

use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{Letter, LetterFilter, LetterNumber, Number, Seq};
use crate::queue::lock::lock;
use crate::queue::ranges::RangeSet;
use crate::queue::record::chunk::Chunk;
use crate::queue::sled::account::Stretch;
use crate::queue::sled::dead::{group_of, read_letters};
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::ids::Whereabouts;
use crate::queue::sled::line::read_chunk;
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::read::dead_page;
use crate::queue::sled::runtime::{Shared, period_store, with_generation};

/// The letter with this number, if its period stands.
pub fn letter(
    shared: &Shared,
    period: PeriodNumber,
    number: LetterNumber,
) -> Result<Option<Letter>, StoreError> {
    let keep: LetterFilter = Arc::new(|_| true);
    let one = Stretch {
        period,
        dead: [(number, number)].into_iter().collect(),
        next: None,
    };
    let page = dead_page::read(shared, &one, &keep)?;
    Ok(page.letters.into_iter().next())
}

/// The newest event of the line under this id: its number and when it was accepted.
pub fn line(
    shared: &Shared,
    known: &Whereabouts,
    id_hash: u128,
) -> Result<Option<(Seq, Millis)>, StoreError> {
    let (first, last) = known.generations;
    let generations = lock(&shared.claims).generations.within(first..=last);
    for generation in generations.into_iter().rev() {
        let found = with_generation(shared, generation, |store| search(store, id_hash))?;
        if let Some(found) = found.flatten() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn search(store: &Store, id_hash: u128) -> Result<Option<(Seq, Millis)>, StoreError> {
    for first in store.firsts::<Seq>()?.0.into_iter().rev() {
        let Chunk {
            ids, accepted_at, ..
        } = match read_chunk(store, first) {
            Ok(chunk) => chunk,
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(at) = ids.iter().rposition(|id| *id == id_hash) {
            return Ok(Some((first + at as u64, accepted_at)));
        }
    }
    Ok(None)
}

/// The newest letter under this id that is queued again: its number and when it was accepted.
pub fn deferred(
    shared: &Shared,
    letters: Vec<(PeriodNumber, RangeSet<LetterNumber>)>,
    id_hash: u128,
) -> Result<Option<(LetterNumber, Millis)>, StoreError> {
    let mut found = None;
    for (period, numbers) in letters.into_iter().rev() {
        let Some(store) = period_store(shared, period)? else {
            continue;
        };
        let mut from = LetterNumber(0);
        while let Some((number, _)) = numbers.within(from..=LetterNumber(u64::MAX)).next() {
            from = number + 1;
            let Some(first) = group_of(&store, number)? else {
                continue;
            };
            let records = match read_letters(&store, first) {
                Ok(records) => records,
                Err(StoreError::Damaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            from = from.max(first + records.len() as u64);
            let mut named = first.onward().zip(records);
            found = named
                .find(|(number, record)| numbers.contains(*number) && record.id_hash == id_hash)
                .map(|(number, record)| (number, record.accepted_at))
                .or(found);
        }
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}
