//! Reading dead letters beside the committer: a page of them for the operator, one by one for the
//! claims.

use super::Shared;
use super::dead::store_of;
use super::error::StoreError;
use super::letter::Record;
use super::period::{group_of, read_letters};
use crate::queue::entry::{Entry, EntryId};
use crate::queue::letter::{Keep, Letter, LetterKey, PAGE_BYTES, Page};
use crate::queue::ranges::RangeSet;

/// The group of dead letters that was read last: letters that were queued again together are
/// claimed together, and unpacking their group for each would cost 64 times as much. What was
/// counted once is never written anew, so a group stays as it was read.
#[derive(Default)]
pub(super) struct Group {
    period: u64,
    first: u64,
    records: Vec<Record>,
}

impl Group {
    /// A letter that is queued again, as a claim; none if it cannot be found.
    pub(super) fn read(
        &mut self,
        shared: &Shared,
        period: u64,
        number: u64,
    ) -> Result<Option<Entry>, StoreError> {
        let is_in = |group: &Self| {
            let behind = group.first + group.records.len() as u64;
            group.period == period && (group.first..behind).contains(&number)
        };
        if !is_in(self) {
            let Some(store) = store_of(shared, period)? else {
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

/// Reads the letters of `period` with these `numbers` that `keep` wants. `next`: where the page
/// after this one begins, if all of these fit.
pub(super) fn read(
    shared: &Shared,
    period: u64,
    numbers: &RangeSet,
    next: Option<u64>,
    keep: &Keep,
) -> Result<Page, StoreError> {
    let mut page = Page {
        letters: Vec::new(),
        next,
    };
    // Purged as a whole since the numbers were taken.
    let Some(store) = store_of(shared, period)? else {
        return Ok(page);
    };
    let mut bytes = 0;
    let mut from = 0;
    // The group that was met last, and cannot be read.
    let mut damaged = None;
    while let Some(number) = numbers
        .within(from..=u64::MAX)
        .next()
        .map(|(first, _)| first)
    {
        from = number + 1;
        let Some(first) = group_of(&store, number)?.filter(|first| damaged != Some(*first)) else {
            continue;
        };
        if bytes >= PAGE_BYTES {
            page.next = Some(number);
            break;
        }
        match read_letters(&store, first) {
            Ok(records) => {
                from = from.max(first + records.len() as u64);
                let wanted = (first..).zip(records);
                for (number, record) in wanted.filter(|(number, _)| numbers.contains(*number)) {
                    if let Some(letter) = shown(number, record).filter(|letter| keep(letter)) {
                        bytes += letter.body.len();
                        page.letters.push(letter);
                    }
                }
            }
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!("{error}; run `pinrelay verify`");
                damaged = Some(first);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

/// A record as the operator meets it; `None`: it was set apart, and never dead.
fn shown(number: u64, record: Record) -> Option<Letter> {
    Some(Letter {
        key: LetterKey {
            number,
            id_hash: record.id_hash,
            reason: record.reason?,
        },
        accepted_at: record.accepted_at,
        event_time: record.event_time,
        died_at: record.died_at,
        message: record.message,
        body: record.body,
    })
}
