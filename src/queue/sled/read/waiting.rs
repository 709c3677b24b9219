//! Reading events of the line beside everything else: nothing is claimed or changed.

use std::sync::atomic::Ordering;

use crate::queue::contract::{Entry, Origin, PAGE_BYTES, Seq, Waiting, WaitingPage};
use crate::queue::lock::lock;
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::line::read_chunk;
use crate::queue::sled::runtime::{Shared, with_generation};

/// Up to `limit` events of the line behind number `after`, oldest first.
pub fn page(shared: &Shared, after: Seq, limit: usize) -> Result<WaitingPage, StoreError> {
    let low_water = shared.low_water.load(Ordering::Acquire);
    let from = Seq(low_water.max(after.0.saturating_add(1)));
    let mut page = WaitingPage::default();
    let generations = lock(&shared.claims).generations.from(from);
    for generation in generations {
        let gather = |store: &Store| gather(store, from, limit, &mut page);
        if with_generation(shared, generation, gather)?.unwrap_or(false) {
            page.next = page.events.last().map(|event| event.number);
            break;
        }
    }
    Ok(page)
}

/// Adds what a store holds from number `from` on; whether the page is full.
fn gather(
    store: &Store,
    from: Seq,
    limit: usize,
    page: &mut WaitingPage,
) -> Result<bool, StoreError> {
    let firsts = store.firsts::<Seq>()?.0;
    let begin = firsts
        .partition_point(|first| *first <= from)
        .saturating_sub(1);
    for first in &firsts[begin.min(firsts.len())..] {
        let chunk = match read_chunk(store, *first) {
            Ok(chunk) => chunk,
            // Claiming meets it, tells of it and sets its events aside.
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        let Ok(entries) = chunk.entries() else {
            continue;
        };
        for entry in entries {
            if let Some(event) = waiting(entry, from) {
                page.bytes += event.body.len();
                page.events.push(event);
            }
            if page.events.len() >= limit || page.bytes >= PAGE_BYTES {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn waiting(entry: Entry, from: Seq) -> Option<Waiting> {
    match entry.id.origin() {
        Origin::Line(number) if number >= from => Some(Waiting {
            number,
            id_hash: entry.id_hash,
            accepted_at: entry.accepted_at,
            event_time: entry.event_time,
            body: entry.body,
        }),
        _ => None,
    }
}
