//! Giving up what is of one person, in the reference engine.

use super::engine::MemoryEngine;
use super::state::State;
use crate::clock::Millis;
use crate::queue::contract::{EntryId, Forgotten, Origin, QueueError, Sent, Unsettled, Whose};

#[expect(missing_docs, reason = "what is not told here is `Queue`'s to tell")]
impl MemoryEngine {
    pub async fn forget(&self, whose: Whose, is_dry_run: bool) -> Result<Forgotten, QueueError> {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.running()?;
        let line = state.line.iter();
        let line = line.map(|(seq, stored)| (EntryId::line(*seq), stored, None));
        let letters = state.letters.iter();
        let letters =
            letters.map(|(number, l)| (EntryId::dead(*number), &l.stored, l.reason.as_ref()));
        let theirs = line.chain(letters);
        let theirs = theirs.filter(|(_, stored, _)| whose(stored.id_hash, &stored.body));
        let theirs: Vec<_> = theirs.map(|(id, _, dead)| (id, dead.is_some())).collect();
        let mut forgotten = Forgotten::default();
        for (id, is_dead) in theirs {
            let is_sending = state.marks.get(&id).is_some_and(|mark| !mark.in_doubt);
            match (is_dead, is_sending) {
                (true, _) => forgotten.dead += 1,
                (false, true) => forgotten.in_flight += 1,
                (false, false) => forgotten.queued += 1,
            }
            match is_sending {
                _ if is_dry_run => {}
                true => drop(state.forgetting.insert(id)),
                false => state.give_up(id, now),
            }
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(forgotten)
    }

    /// Gives up one event that is queued or being sent, if it still is.
    pub async fn drop_one(&self, id: EntryId, _id_hash: u128) -> Result<Forgotten, QueueError> {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.running()?;
        let mut dropped = Forgotten::default();
        if !state.is_queued(id) {
            return Ok(dropped);
        }
        if state.marks.get(&id).is_some_and(|mark| !mark.in_doubt) {
            state.forgetting.insert(id);
            dropped.in_flight = 1;
        } else {
            state.give_up(id, now);
            dropped.queued = 1;
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(dropped)
    }

    pub async fn oldest(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        let state = self.lock();
        state.running()?;
        let line = state.line.iter();
        let line = line.map(|(seq, stored)| (EntryId::line(*seq), stored));
        let queued = state
            .letters
            .iter()
            .filter(|(_, letter)| letter.reason.is_none());
        let mut letters: Vec<_> = queued
            .map(|(number, letter)| (EntryId::dead(*number), &letter.stored))
            .collect();
        letters.sort_by_key(|(id, stored)| (stored.accepted_at, *id));
        let mut oldest: Vec<_> = (line.take(limit))
            .chain(letters.into_iter().take(limit))
            .map(|(id, stored)| Unsettled {
                id,
                id_hash: stored.id_hash,
                accepted_at: stored.accepted_at,
                failures: stored.failures,
                sent: state.marks.get(&id).map(|mark| Sent {
                    name: Some(mark.name.clone()),
                    at: mark.at,
                    in_doubt: mark.in_doubt,
                }),
                body: stored.body.clone(),
            })
            .collect();
        oldest.sort_by_key(|event| (event.accepted_at, event.id));
        oldest.truncate(limit);
        Ok(oldest)
    }
}

impl State {
    /// Whether the event is in the line, or a letter that is dead or queued again.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => self.line.contains_key(&seq),
            Origin::Dead(number) => self.letters.contains_key(&number),
        }
    }

    /// Whether the event is in the line, or a letter that is queued again.
    fn is_queued(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(_) => self.is_open(id),
            Origin::Dead(number) => {
                let letter = self.letters.get(&number);
                letter.is_some_and(|letter| letter.reason.is_none())
            }
        }
    }

    /// The event is gone, for good.
    pub(super) fn give_up(&mut self, id: EntryId, now: Millis) {
        self.marks.remove(&id);
        let stored = match id.origin() {
            Origin::Line(seq) => self.line.remove(&seq),
            Origin::Dead(number) => {
                self.deferred.retain(|deferred| *deferred != number);
                let letter = self.letters.remove(&number);
                if let Some(reason) = letter.as_ref().and_then(|letter| letter.reason) {
                    self.counts.dead[reason.index()] -= 1;
                }
                letter.map(|letter| letter.stored)
            }
        };
        if let Some(stored) = stored {
            self.counts.purged += 1;
            self.delivered.insert(stored.id_hash, now);
        }
    }

    /// Whatever the answer was, these were not delivered.
    pub(super) fn give_up_if_forgetting(&mut self, ids: &[EntryId], now: Millis) {
        for id in ids {
            if self.forgetting.remove(id) {
                self.give_up(*id, now);
            }
        }
    }
}
