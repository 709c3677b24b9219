//! The events that wait, oldest first.
//!
//! The line is read from the low-water mark on, in pages, until enough of it is open; the letters
//! that are queued again are read through, and the oldest of them are kept. Neither is claimed, so
//! what is told may be settled a moment later.

use std::collections::BTreeMap;

use crate::queue::contract::{EntryId, QueueError, Seq, Unsettled};
use crate::queue::sled::engine::SledEngine;
use crate::queue::sled::read::queued_letters;
use crate::queue::sled::runtime::{OpenState, OperatorOp};

/// Events of the line that are read at once: behind one that keeps failing most are settled.
const PAGE: usize = 1000;

impl SledEngine {
    /// See [`Queue::oldest`](crate::queue::Queue::oldest).
    pub async fn oldest(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        let mut oldest = self.first_of_line(limit).await?;
        let among = self.operator(OperatorOp::Deferred).await?;
        let letters = self
            .beside(move |shared| queued_letters::oldest(&shared, &among, limit))
            .await?;
        oldest.extend(self.open_among(letters).await?);
        oldest.sort_by_key(|event| (event.accepted_at, event.id));
        // An event that leaves the line meanwhile is met twice: as a letter it is the later one.
        let mut last_of: BTreeMap<u128, EntryId> = BTreeMap::new();
        for event in &oldest {
            let last = last_of.entry(event.id_hash).or_insert(event.id);
            *last = event.id.max(*last);
        }
        oldest.retain(|event| last_of[&event.id_hash] == event.id);
        oldest.truncate(limit);
        Ok(oldest)
    }

    async fn first_of_line(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        let mut found = Vec::new();
        let mut after = Some(Seq::default());
        while let Some(from) = after.filter(|_| found.len() < limit) {
            let page = self.waiting(from, PAGE.max(limit)).await?;
            let events = page.events.into_iter().map(|event| Unsettled {
                id: EntryId::line(event.number),
                id_hash: event.id_hash,
                accepted_at: event.accepted_at,
                // What failed alone without a verdict is not in the line any more.
                failures: 0,
                sent: None,
                body: event.body,
            });
            found.extend(self.open_among(events.collect()).await?);
            after = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Those that are open, with what they left with.
    async fn open_among(&self, events: Vec<Unsettled>) -> Result<Vec<Unsettled>, QueueError> {
        let ids = events.iter().map(|event| event.id).collect();
        let states = self.open_states(ids).await?;
        let both = events.into_iter().zip(states);
        Ok(both
            .filter_map(|(event, state)| match state {
                OpenState::Settled => None,
                OpenState::Open(sent) => Some(Unsettled { sent, ..event }),
            })
            .collect())
    }
}
