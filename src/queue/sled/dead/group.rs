//! The group of dead letters that the claims read last.

use std::sync::Arc;

use crate::queue::contract::{Entry, EntryId, LetterNumber};
use crate::queue::record::dead_record::Record;
use crate::queue::sled::dead::period::{group_of, read_letters};
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::numbers::PeriodNumber;

/// The group of dead letters that was read last: letters that were queued again together are
/// claimed together, and unpacking their group for each would cost 64 times as much. What was
/// counted once is never written anew, so a group stays as it was read.
#[derive(Default)]
pub struct CachedGroup {
    period: PeriodNumber,
    first: LetterNumber,
    records: Vec<Record>,
}

impl CachedGroup {
    /// A letter that is queued again, as a claim; none if it cannot be found. `store` gives the
    /// period's, if that stands.
    pub fn read(
        &mut self,
        period: PeriodNumber,
        number: LetterNumber,
        store: impl FnOnce() -> Result<Option<Arc<Store>>, StoreError>,
    ) -> Result<Option<Entry>, StoreError> {
        let is_in = |group: &Self| {
            let behind = group.first + group.records.len() as u64;
            group.period == period && (group.first..behind).contains(&number)
        };
        if !is_in(self) {
            let Some(store) = store()? else {
                return Ok(None);
            };
            let Some(first) = group_of(&store, number)? else {
                return Ok(None);
            };
            *self = Self {
                period,
                first,
                records: read_letters(&store, first)?,
            };
        }
        let record = match is_in(self) {
            true => self.records.get((number - self.first) as usize),
            false => None,
        };
        Ok(record.map(|record| Entry {
            id: EntryId::dead(number),
            id_hash: record.id_hash,
            accepted_at: record.accepted_at,
            event_time: record.event_time,
            body: record.body.clone(),
            sent_as: None,
            failures: record.failures,
        }))
    }
}
