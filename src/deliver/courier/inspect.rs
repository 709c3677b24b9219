//! Where events are in delivery's hands, and trying at once what backs off.
//!
//! Invariant: an event is told to be where `Courier` has it, and nowhere by guess; what is with the
//! transform is in none of the places that are looked through here, and is told to be in the line.

use std::collections::HashMap;

use tokio::time::Instant;

use super::state::Courier;
use crate::clock::{Millis, millis};
use crate::deliver::held::{Held, TriedAtOnce, WaitsFor};
use crate::deliver::status::Reason;
use crate::queue::EntryId;

impl Courier {
    /// What each of these waits for, in their order; `None`: another process has the turn.
    pub fn held(&self, now: Instant, ids: &[EntryId]) -> Option<Vec<Held>> {
        (!self.status.standing_by).then(|| self.held_here(now, ids))
    }

    fn held_here(&self, now: Instant, ids: &[EntryId]) -> Vec<Held> {
        let mut held: HashMap<EntryId, Held> =
            ids.iter().map(|id| (*id, Held::default())).collect();
        let mut put = |id: EntryId, waits_for, next_try| {
            if let Some(held) = held.get_mut(&id) {
                *held = Held {
                    waits_for,
                    next_try,
                };
            }
        };
        for id in self.ready.ids() {
            put(id, WaitsFor::Batch, None);
        }
        for (due, batch) in self.waiting.with_due() {
            let due = Some(self.wall(now, due));
            let ids = batch.ids().into_iter();
            ids.for_each(|id| put(id, WaitsFor::Backoff, due));
        }
        for batch in self.isolation.iter() {
            let ids = batch.ids().into_iter();
            ids.for_each(|id| put(id, WaitsFor::Isolation, None));
        }
        for id in self.flights.events() {
            put(id, WaitsFor::Answer, None);
        }
        ids.iter().map(|id| held[id]).collect()
    }

    /// Tries the batch of this event at once, or with `None` every one that backs off.
    pub fn try_at_once(&mut self, now: Instant, id: Option<EntryId>) -> TriedAtOnce {
        if self.status.standing_by {
            return TriedAtOnce::StandingBy;
        }
        if let Some(reason) = self.closed(now) {
            return TriedAtOnce::Closed(reason);
        }
        let events = self.waiting.hurry(now, |batch| {
            id.is_none_or(|id| batch.items.iter().any(|item| item.entry.id == id))
        });
        match id {
            Some(id) if events == 0 => {
                TriedAtOnce::NotBackingOff(self.held_here(now, &[id]).pop().unwrap_or_default())
            }
            _ => {
                if events > 0 {
                    self.stubborn.hurry();
                }
                TriedAtOnce::Now(events)
            }
        }
    }

    /// Why nothing may leave, if so; a wait that the destination asks for included.
    fn closed(&self, now: Instant) -> Option<Reason> {
        self.gate_closed()
            .or_else(|| self.pace.held(now).map(|_| Reason::RateLimited))
    }

    /// By the wall clock.
    pub(super) fn wall(&self, now: Instant, at: Instant) -> Millis {
        let ahead = millis(at.saturating_duration_since(now));
        self.clock.now() + ahead - millis(now.saturating_duration_since(at))
    }
}
