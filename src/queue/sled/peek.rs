//! Reading events of the line beside everything else: nothing is claimed or changed.

use std::sync::atomic::Ordering;

use super::claims::read_chunk;
use super::error::StoreError;
use super::open::generation_folder;
use super::store::Store;
use super::{Shared, SledEngine, lock};
use crate::queue::entry::{Entry, Origin};
use crate::queue::error::QueueError;
use crate::queue::find::{Waiting, WaitingPage};
use crate::queue::letter::PAGE_BYTES;

impl SledEngine {
    /// See [`Queue::waiting`](crate::queue::Queue::waiting).
    pub(in crate::queue) async fn waiting(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<WaitingPage, QueueError> {
        self.beside(move |shared| page(&shared, after, limit)).await
    }
}

fn page(shared: &Shared, after: u64, limit: usize) -> Result<WaitingPage, StoreError> {
    let from = shared
        .low_water
        .load(Ordering::Acquire)
        .max(after.saturating_add(1));
    let mut page = WaitingPage::default();
    let generations: Vec<u64> = {
        let claims = lock(&shared.claims);
        let mut first_of = claims.generations.iter().map(|(g, r)| (*g, r.first_seq));
        // The last one that begins at or below `from` holds it, and those behind follow.
        let reach = first_of.clone().rev().find(|(_, first)| *first <= from);
        let begin = reach.or_else(|| first_of.next()).map_or(0, |(g, _)| g);
        claims.generations.range(begin..).map(|(g, _)| *g).collect()
    };
    for generation in generations {
        let claims = lock(&shared.claims);
        let full = match claims.generations.get(&generation) {
            // Deleted since: all of it was settled.
            None => continue,
            Some(readable) => match readable.store.clone() {
                Some(store) => {
                    drop(claims);
                    gather(&store, from, limit, &mut page)?
                }
                // Under the lock: a store cannot be opened twice.
                None => {
                    let path = generation_folder(&shared.options.path, generation);
                    gather(
                        &Store::open(&shared.options.path, &path)?,
                        from,
                        limit,
                        &mut page,
                    )?
                }
            },
        };
        if full {
            page.next = page.events.last().map(|event| event.number);
            break;
        }
    }
    Ok(page)
}

/// Adds what a store holds from number `from` on; whether the page is full.
fn gather(
    store: &Store,
    from: u64,
    limit: usize,
    page: &mut WaitingPage,
) -> Result<bool, StoreError> {
    let firsts = store.firsts()?.0;
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

fn waiting(entry: Entry, from: u64) -> Option<Waiting> {
    match entry.id.origin() {
        Origin::Line(number) if number >= from => Some(Waiting {
            number,
            accepted_at: entry.accepted_at,
            event_time: entry.event_time,
            body: entry.body,
        }),
        _ => None,
    }
}
