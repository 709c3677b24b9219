//! The requests under way, and whether they are answered.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::deliver::batch::Batch;
use crate::queue::EntryId;

/// Nothing answered for so long since a request left is trouble, before any time-out says so.
const SILENCE: Duration = Duration::from_secs(15);
/// Between two looks that have to find it: a process that was frozen hears first what came
/// meanwhile.
const GLANCE: Duration = Duration::from_millis(500);

/// When a request left: after its mark was durable, which is nobody's silence.
pub type Left = Arc<OnceLock<Instant>>;

/// Invariant: one for each request in flight, by its batch.
#[derive(Default)]
pub struct Flights {
    flights: Vec<Flight>,
    /// When it was first found that nothing is answered.
    found_at: Option<Instant>,
}

struct Flight {
    batch: u64,
    events: Vec<EntryId>,
    decided_at: Instant,
    left: Left,
    /// Sound answers before it left.
    sound: u64,
    /// Its batch is known to fail by its own fault: its silence says nothing.
    is_stubborn: bool,
}

impl Flights {
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// A request leaves now, or as soon as its mark is durable. `sound`: sound answers so far.
    pub fn started(&mut self, now: Instant, batch: &Batch, sound: u64) -> Left {
        let left = Left::default();
        self.flights.push(Flight {
            batch: batch.id,
            events: batch.ids(),
            decided_at: now,
            left: left.clone(),
            sound,
            is_stubborn: batch.is_stubborn(),
        });
        left
    }

    /// The events of all of them.
    pub fn events(&self) -> impl Iterator<Item = EntryId> {
        self.flights
            .iter()
            .flat_map(|flight| flight.events.iter().copied())
    }

    /// It is over.
    pub fn finished(&mut self, batch: u64) {
        let at = self.flights.iter().position(|flight| flight.batch == batch);
        debug_assert!(at.is_some(), "what has ended was under way");
        at.map(|at| self.flights.swap_remove(at));
    }

    /// Since when nothing was answered, if that is trouble; `sound` as above.
    pub fn silent_since(&mut self, now: Instant, sound: u64) -> Option<Instant> {
        let left = (self.unanswered(sound)).filter_map(|flight| flight.left.get().copied());
        let Some(since) = left.min().filter(|left| now >= *left + SILENCE) else {
            self.found_at = None;
            return None;
        };
        let found_at = *self.found_at.get_or_insert(now);
        (now >= found_at + GLANCE).then_some(since)
    }

    /// When to look for it next.
    pub fn wake(&self, now: Instant, sound: u64) -> Option<Instant> {
        let look = |flight: &Flight| match flight.left.get() {
            Some(left) => *left + SILENCE,
            // The disk is slow.
            None => (flight.decided_at + SILENCE).max(now + GLANCE),
        };
        let first = self.unanswered(sound).map(look).min()?;
        match self.found_at {
            Some(found_at) => Some(found_at + GLANCE),
            None => Some(first),
        }
    }

    fn unanswered(&self, sound: u64) -> impl Iterator<Item = &Flight> {
        let flights = self.flights.iter();
        flights.filter(move |flight| flight.sound == sound && !flight.is_stubborn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::batch::Course;
    use crate::deliver::fixture;

    #[test]
    fn silence_is_found_by_two_looks_and_ends_with_any_answer() {
        let now = Instant::now();
        let mut flights = Flights::default();
        let mut own_fault = fixture::batch(1, 1);
        own_fault.trial.course = Course::Stubborn;
        flights.started(now, &own_fault, 7).set(now).unwrap();
        let late = flights.started(now, &fixture::batch(2, 1), 7);
        assert_eq!(
            flights.silent_since(now + 60 * SILENCE, 7),
            None,
            "not left"
        );
        late.set(now + SILENCE).unwrap();
        assert_eq!(flights.wake(now, 7), Some(now + 2 * SILENCE));
        assert_eq!(flights.silent_since(now + SILENCE, 7), None);
        let found = now + 2 * SILENCE;
        assert_eq!(flights.silent_since(found, 7), None, "the first look");
        assert_eq!(flights.wake(found, 7), Some(found + GLANCE));
        let again = flights.silent_since(found + GLANCE, 7);
        assert_eq!(again, Some(now + SILENCE));
        assert_eq!(flights.silent_since(found + GLANCE, 8), None, "answered");
        assert_eq!(flights.wake(found, 8), None);
        flights.finished(2);
        assert_eq!((flights.len(), flights.wake(found, 7)), (1, None));
    }
}
