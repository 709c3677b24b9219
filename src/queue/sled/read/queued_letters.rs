//! Reading the dead letters that are queued again, beside everything else.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::queue::contract::{EntryId, LetterNumber, Number, Unsettled};
use crate::queue::ranges::RangeSet;
use crate::queue::sled::dead::{group_of, read_letters};
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::runtime::{DeferredNumbers, Shared, period_store};

/// The oldest, by acceptance.
type Oldest = BTreeMap<(Millis, LetterNumber), Unsettled>;

/// Of these letters the `limit` that were accepted first, oldest first.
pub fn oldest(
    shared: &Shared,
    among: &DeferredNumbers,
    limit: usize,
) -> Result<Vec<Unsettled>, StoreError> {
    let mut oldest = Oldest::new();
    for (period, numbers) in among {
        if let Some(store) = period_store(shared, *period)? {
            gather(&store, numbers, limit, &mut oldest)?;
        }
    }
    Ok(oldest.into_values().collect())
}

fn gather(
    store: &Store,
    numbers: &RangeSet<LetterNumber>,
    limit: usize,
    oldest: &mut Oldest,
) -> Result<(), StoreError> {
    let mut from = LetterNumber(0);
    while let Some((number, _)) = numbers.within(from..=LetterNumber(u64::MAX)).next() {
        from = number + 1;
        let Some(first) = group_of(store, number)? else {
            continue;
        };
        let records = match read_letters(store, first) {
            Ok(records) => records,
            // Claiming meets it, tells of it and sets the letter aside.
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        from = from.max(first + records.len() as u64);
        let named = first.onward().zip(records);
        for (number, record) in named.filter(|(number, _)| numbers.contains(*number)) {
            let event = Unsettled {
                id: EntryId::dead(number),
                id_hash: record.id_hash,
                accepted_at: record.accepted_at,
                failures: record.failures,
                sent: None,
                body: record.body,
            };
            oldest.insert((event.accepted_at, number), event);
            if oldest.len() > limit {
                oldest.pop_last();
            }
        }
    }
    Ok(())
}
