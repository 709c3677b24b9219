//! Giving up what is of one person, in the reference engine.

use super::engine::MemoryEngine;
use super::state::State;
use crate::clock::Millis;
use crate::queue::contract::{EntryId, Forgotten, Origin, QueueError, Whose};

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
}

impl State {
    /// Whether the event is in the line, or a letter that is dead or queued again.
    pub(super) fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => self.line.contains_key(&seq),
            Origin::Dead(number) => self.letters.contains_key(&number),
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
