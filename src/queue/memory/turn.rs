//! The right to deliver of the reference engine, which can be taken away.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::engine::MemoryEngine;
use super::state::{Marked, State};
use crate::queue::contract::{Entry, EntryId, Mark, QueueError, Settlement};

/// One turn. Clones share it.
#[derive(Clone)]
pub struct MemoryTurn(Arc<Given>);

struct Given {
    engine: MemoryEngine,
    number: u64,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[expect(missing_docs, reason = "what is not told here is `Queue`'s to tell")]
impl MemoryEngine {
    pub async fn turn(&self) -> Result<MemoryTurn, QueueError> {
        let _waiting = Waiting::new(self);
        loop {
            // From before the look on, so that no word of a change is missed.
            let changed = self.shared.changed.notified();
            if let Some(number) = self.next_turn()? {
                let engine = self.clone();
                return Ok(MemoryTurn(Arc::new(Given { engine, number })));
            }
            changed.await;
        }
    }

    pub fn is_turn_awaited(&self) -> bool {
        self.lock().turns.waiting > 0
    }

    fn next_turn(&self) -> Result<Option<u64>, QueueError> {
        let mut state = self.lock();
        state.running()?;
        if state.turns.is_held {
            return Ok(None);
        }
        state.turns.last += 1;
        state.turns.is_held = true;
        state.drop_claims(self.shared.clock.now());
        state.undelivered = state.undelivered.filter(|(_, first)| first.is_some());
        Ok(Some(state.turns.last))
    }

    /// Takes the right to deliver from whoever has it. Whoever asks for it next, or waits for it,
    /// gets it.
    pub fn take_turn_away(&self) {
        self.lock().turns.is_held = false;
        self.shared.changed.notify_waiters();
    }

    /// The turn that somebody has, by its number.
    #[cfg(test)]
    pub fn turn_number(&self) -> Option<u64> {
        let turns = &self.lock().turns;
        turns.is_held.then_some(turns.last)
    }

    /// From here on what is written under a turn is written so long after it was asked for, and
    /// answered so long after that; the turn may be lost before, between and behind.
    #[cfg(test)]
    pub fn writes_take(&self, until_written: Duration, until_answered: Duration) {
        self.lock().turns.latency = (until_written, until_answered);
    }
}

/// Counts as one who waits for the turn.
struct Waiting<'a>(&'a MemoryEngine);

impl<'a> Waiting<'a> {
    fn new(engine: &'a MemoryEngine) -> Self {
        engine.lock().turns.waiting += 1;
        Self(engine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().turns.waiting -= 1;
    }
}

impl Given {
    fn give_back(&self) {
        let mut state = self.engine.lock();
        if state.turns.last == self.number {
            state.turns.is_held = false;
        }
        drop(state);
        self.engine.shared.changed.notify_waiters();
    }
}

impl MemoryTurn {
    /// The state, while the turn is not over.
    fn state(&self) -> Result<MutexGuard<'_, State>, QueueError> {
        let state = self.0.engine.lock();
        state.running()?;
        if state.turns.is_held && state.turns.last == self.0.number {
            Ok(state)
        } else {
            Err(QueueError::TurnOver)
        }
    }

    pub async fn claim(
        &self,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        loop {
            let changed = self.0.engine.shared.changed.notified();
            let claimed = self.state()?.claim(max_events, max_bytes);
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            changed.await;
        }
    }

    /// A change that is made all of it or, once the turn is over, not at all. Who asked for it is
    /// not told that it was made if the turn was lost meanwhile.
    async fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, QueueError> {
        let (until_written, until_answered) = self.state()?.turns.latency;
        takes(until_written).await;
        let changed = change(&mut *self.state()?);
        self.0.engine.shared.changed.notify_waiters();
        takes(until_answered).await;
        self.state().map(|_| changed)
    }

    pub async fn mark(&self, mark: Mark) -> Result<Vec<EntryId>, QueueError> {
        let at = self.0.engine.shared.clock.now();
        let change = |state: &mut State| {
            let mut forgotten = Vec::new();
            for (id, name) in mark.events {
                if !state.is_open(id) {
                    forgotten.push(id);
                    continue;
                }
                match state.marks.get_mut(&id) {
                    Some(_) => state.counts.resent += 1,
                    None => {
                        let in_doubt = false;
                        state.marks.insert(id, Marked { name, at, in_doubt });
                    }
                }
            }
            forgotten
        };
        self.write(change).await
    }

    pub fn doubt(&self, ids: &[EntryId]) {
        // Whoever is not in turn has nothing in hand: all that it marked is in doubt.
        let Ok(mut state) = self.state() else { return };
        for id in ids {
            if let Some(mark) = state.marks.get_mut(id) {
                mark.in_doubt = true;
            }
        }
        state.give_up_if_forgetting(ids, self.0.engine.shared.clock.now());
    }

    pub fn release(&self, ids: &[EntryId]) {
        let Ok(mut state) = self.state() else { return };
        for id in ids {
            if state.marks.get(id).is_some_and(|mark| !mark.in_doubt) {
                state.marks.remove(id);
            }
        }
        state.give_up_if_forgetting(ids, self.0.engine.shared.clock.now());
    }

    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        let now = self.0.engine.shared.clock.now();
        let change = |state: &mut State| {
            for settlement in settlements {
                state.settle(settlement, now);
            }
        };
        self.write(change).await
    }

    pub async fn end(&self) {
        self.0.give_back();
    }
}

/// Nothing takes no time, not even a turn of the runtime.
async fn takes(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
