//! Reading for whose events there are, beside everything else: nothing is claimed or changed.

use crate::queue::block;
use crate::queue::contract::{EntryId, LetterNumber, Number, Seq, Whose};
use crate::queue::ranges::RangeSet;
use crate::queue::sled::dead::{group_of, read_letters};
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::line::read_chunk;
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::runtime::{Shared, period_store, with_generation};

/// Events with the hashes of their messageIds.
type Events = Vec<(EntryId, u128)>;

/// The events of a generation up to `last` that are theirs, settled or not; and whether any bytes
/// of theirs are in it, those of duplicates included.
pub fn line(
    shared: &Shared,
    generation: Generation,
    last: Seq,
    whose: &Whose,
) -> Result<(Events, bool), StoreError> {
    let gather = |store: &Store| gather(store, last, whose);
    Ok(with_generation(shared, generation, gather)?.unwrap_or_default())
}

fn gather(store: &Store, last: Seq, whose: &Whose) -> Result<(Events, bool), StoreError> {
    let (mut events, mut is_there) = (Vec::new(), false);
    for first in store.firsts::<Seq>()?.0 {
        let chunk = match read_chunk(store, first) {
            Ok(chunk) => chunk,
            // Claiming meets it, tells of it and sets its events aside.
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        let (count, len) = (chunk.packed_count as usize, chunk.plain_len as usize);
        let Ok(items) = block::unpack(&chunk.packed, count, len) else {
            continue;
        };
        let mut queued = (chunk.queued.iter())
            .zip(chunk.first_seq.onward())
            .zip(&chunk.ids)
            .peekable();
        for (at, item) in (0u32..).zip(&items) {
            let number = queued.next_if(|((queued, _), _)| **queued == at);
            // Of a duplicate nothing is known but its bytes.
            let id_hash = number.map_or(0, |(_, id_hash)| *id_hash);
            if item.body.is_empty() || !whose(id_hash, &item.body) {
                continue;
            }
            is_there = true;
            if let Some(((_, seq), _)) = number.filter(|((_, seq), _)| *seq <= last) {
                events.push((EntryId::line(seq), id_hash));
            }
        }
    }
    Ok((events, is_there))
}

/// Of these letters, which are queued again, those that are theirs.
pub fn letters(
    shared: &Shared,
    period: PeriodNumber,
    numbers: &RangeSet<LetterNumber>,
    whose: &Whose,
) -> Result<Events, StoreError> {
    let mut events = Vec::new();
    let Some(store) = period_store(shared, period)? else {
        return Ok(events);
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
        for (number, record) in first.onward().zip(records) {
            if numbers.contains(number) && whose(record.id_hash, &record.body) {
                events.push((EntryId::dead(number), record.id_hash));
            }
        }
    }
    Ok(events)
}
