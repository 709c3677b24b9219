//! Reading dead letters beside the committer: a page of them for the operator.

use crate::queue::contract::{
    Letter, LetterFilter, LetterKey, LetterNumber, Number, PAGE_BYTES, Page,
};
use crate::queue::record::dead_record::Record;
use crate::queue::sled::account::Stretch;
use crate::queue::sled::dead::{group_of, read_letters};
use crate::queue::sled::disk::StoreError;
use crate::queue::sled::runtime::{Shared, period_store};

/// Reads the letters of a stretch that `keep` wants, up to a page of them.
pub fn read(shared: &Shared, stretch: &Stretch, keep: &LetterFilter) -> Result<Page, StoreError> {
    let numbers = &stretch.dead;
    let mut page = Page {
        letters: Vec::new(),
        next: stretch.next,
    };
    // Purged as a whole since the numbers were taken.
    let Some(store) = period_store(shared, stretch.period)? else {
        return Ok(page);
    };
    let mut bytes = 0;
    let mut from = LetterNumber(0);
    // The group that was met last, and cannot be read.
    let mut damaged = None;
    while let Some(number) = numbers
        .within(from..=LetterNumber(u64::MAX))
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
                let wanted = first.onward().zip(records);
                for (number, record) in wanted.filter(|(number, _)| numbers.contains(*number)) {
                    // Also within a group, whose letters may be large, messages included.
                    if bytes >= PAGE_BYTES {
                        page.next = Some(number);
                        return Ok(page);
                    }
                    if let Some(letter) = shown(number, record).filter(|letter| keep(letter)) {
                        bytes += letter.body.len() + letter.message.len();
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

/// A record as the operator meets it; `None`: it was deferred, and never dead.
fn shown(number: LetterNumber, record: Record) -> Option<Letter> {
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
