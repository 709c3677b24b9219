//! The dead letters of the reference engine, and finding an event.

use std::ops::RangeInclusive;

use super::engine::MemoryEngine;
use super::state::{Letter, Marked, State, Stored};
use crate::clock::Millis;
use crate::queue::contract::{DeadReason, EntryId, Found, LetterNumber, QueueError, Sent};
use crate::queue::letter::{self, Import, Imported, LetterFilter, LetterKey, Page};

impl From<&Import> for Stored {
    fn from(event: &Import) -> Self {
        Self {
            id_hash: event.id_hash,
            accepted_at: event.accepted_at,
            event_time: event.event_time,
            body: event.body.clone(),
            failures: 0,
        }
    }
}

impl Letter {
    /// As the operator meets it; `None`: it is queued again.
    fn shown(&self, number: LetterNumber) -> Option<letter::Letter> {
        let Stored { id_hash, .. } = self.stored;
        Some(letter::Letter {
            key: LetterKey {
                number,
                id_hash,
                reason: self.reason?,
            },
            accepted_at: self.stored.accepted_at,
            event_time: self.stored.event_time,
            died_at: self.died_at,
            message: self.message.clone(),
            body: self.stored.body.clone(),
        })
    }
}

#[expect(missing_docs, reason = "what is not told here is `Queue`'s to tell")]
impl MemoryEngine {
    pub async fn dead_page(
        &self,
        numbers: RangeInclusive<LetterNumber>,
        keep: LetterFilter,
    ) -> Result<Page, QueueError> {
        let state = self.lock();
        let letters = state.letters.range(numbers);
        let letters = letters.filter_map(|(number, letter)| letter.shown(*number));
        Ok(Page {
            letters: letters.filter(|letter| keep(letter)).collect(),
            next: None,
        })
    }

    pub async fn dead_number(&self, id_hash: u128) -> Result<Option<LetterNumber>, QueueError> {
        Ok(self.lock().dead_number(id_hash))
    }

    pub async fn find(&self, id_hash: u128) -> Result<Found, QueueError> {
        let horizon = self.shared.clock.now() - self.shared.dedup_window;
        Ok(self.lock().find(id_hash, horizon))
    }

    pub async fn undelivered_letters(&self) -> Result<Option<LetterNumber>, QueueError> {
        let state = self.lock();
        state.running()?;
        let delivered = state.counts.delivered;
        let noted = state
            .undelivered
            .filter(|(by_then, _)| *by_then == delivered);
        Ok(noted.and_then(|(_, first)| first))
    }

    pub async fn keep_dead(&self) -> Result<(), QueueError> {
        let mut state = self.lock();
        state.running()?;
        state.undelivered = Some((state.counts.delivered, None));
        Ok(())
    }

    pub async fn retry(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        let mut state = self.lock();
        state.running()?;
        let mut count = 0;
        for number in state.dead_among(&letters) {
            let letter = state.letters.get_mut(&number);
            let reason = letter.and_then(|letter| letter.reason.take());
            if let Some(reason) = reason {
                state.counts.dead[reason.index()] -= 1;
                state.deferred.push_back(number);
                if let Some((name, at)) = state.doubtful.remove(&number) {
                    let in_doubt = true;
                    let mark = Marked { name, at, in_doubt };
                    state.marks.insert(EntryId::dead(number), mark);
                }
                count += 1;
            }
        }
        state.counts.retried += count;
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(count)
    }

    pub async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        let mut state = self.lock();
        state.running()?;
        let numbers = state.dead_among(&letters);
        for number in &numbers {
            let id_hash = state.letters[number].stored.id_hash;
            state.purged.insert(id_hash, *number);
            state.retire_letter(*number);
        }
        state.counts.purged += numbers.len() as u64;
        Ok(numbers.len() as u64)
    }

    /// What of these is known by its messageId; the others are new.
    pub async fn take_back(&self, events: &[Import]) -> Result<Vec<Option<Imported>>, QueueError> {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.running()?;
        let horizon = now - self.shared.dedup_window;
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id_hash;
            answers.push(if let Some(number) = state.dead_number(id) {
                state.retire_letter(number);
                state.queue_letter(event.into(), now);
                Some(Imported::Retried)
            } else if state.purged.remove(&id).is_some() {
                state.counts.purged -= 1;
                state.queue_letter(event.into(), now);
                Some(Imported::Retried)
            } else if state.is_remembered(id, horizon) {
                state.counts.duplicate += 1;
                Some(Imported::Duplicate)
            } else {
                None
            });
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(answers)
    }

    /// Whether this messageId is remembered, or waits.
    #[cfg(test)]
    pub fn remembers(&self, message_id: &str) -> bool {
        let id_hash = self.shared.hasher.hash(message_id);
        let horizon = self.shared.clock.now() - self.shared.dedup_window;
        self.lock().is_remembered(id_hash, horizon)
    }

    /// What the durable engine does a window after the period of a purged letter went: the letter
    /// cannot be imported any more.
    #[cfg(test)]
    pub fn forget_purged(&self, message_id: &str) {
        let id_hash = self.shared.hasher.hash(message_id);
        self.lock().purged.remove(&id_hash);
    }

    /// The bytes, reason and message of every dead letter, by messageId hash.
    pub fn dead_letters(&self) -> Vec<(u128, DeadReason, String)> {
        let state = self.lock();
        let letters = state.letters.values();
        letters
            .filter_map(|l| l.reason.map(|r| (l.stored.id_hash, r, l.message.clone())))
            .collect()
    }
}

impl State {
    fn find(&self, id_hash: u128, horizon: Millis) -> Found {
        let is = |stored: &Stored| stored.id_hash == id_hash;
        if let Some(number) = self.dead_number(id_hash) {
            let letter = self.letters[&number].shown(number);
            return letter.map_or(Found::Unknown, Found::Dead);
        }
        if let Some(number) = self.purged.get(&id_hash) {
            return Found::Purged { number: *number };
        }
        let deferred = self
            .letters
            .iter()
            .map(|(n, l)| (EntryId::dead(*n), &l.stored));
        let line = self.line.iter().map(|(seq, s)| (EntryId::line(*seq), s));
        if let Some((id, stored)) = line.chain(deferred).find(|(_, stored)| is(stored)) {
            let sent = self.marks.get(&id).map(|mark| Sent {
                name: Some(mark.name.clone()),
                at: mark.at,
                in_doubt: mark.in_doubt,
            });
            return Found::Queued {
                id,
                accepted_at: stored.accepted_at,
                sent,
            };
        }
        let within = |at: &&Millis| **at >= horizon;
        let accepted = self.seen.get(&id_hash).filter(within);
        let delivered = self.delivered.get(&id_hash).filter(within);
        match accepted.or(delivered) {
            Some(by) => Found::Settled {
                accepted_after: accepted.copied(),
                accepted_by: Some(*by),
            },
            None => Found::Unknown,
        }
    }

    /// Whether a line of this id is judged by what is there: its event is remembered, or stands
    /// among the dead letters.
    pub(super) fn is_known(&self, id_hash: u128, horizon: Millis) -> bool {
        self.is_remembered(id_hash, horizon) || self.dead_number(id_hash).is_some()
    }

    /// Whether an event of this id was accepted, or a letter of it delivered, within the window;
    /// or whether one waits.
    fn is_remembered(&self, id_hash: u128, horizon: Millis) -> bool {
        // Whatever waits was accepted once.
        let Some(accepted_at) = self.seen.get(&id_hash) else {
            return false;
        };
        let delivered_at = self.delivered.get(&id_hash);
        let is_queued = |l: &Letter| l.reason.is_none() && l.stored.id_hash == id_hash;
        *accepted_at >= horizon
            || delivered_at.is_some_and(|at| *at >= horizon)
            || self.line.values().any(|stored| stored.id_hash == id_hash)
            || self.letters.values().any(is_queued)
    }

    /// The newest dead letter under this id.
    fn dead_number(&self, id_hash: u128) -> Option<LetterNumber> {
        // Whatever is dead was accepted once; without this each new event would pay for all.
        self.seen.get(&id_hash)?;
        let mut letters = self.letters.iter().rev();
        letters
            .find(|(_, l)| l.reason.is_some() && l.stored.id_hash == id_hash)
            .map(|(number, _)| *number)
    }

    /// The dead letter that an event of the line replaces: with other bytes, unless it is taken
    /// back.
    pub(super) fn replaced(
        &self,
        id_hash: u128,
        body: &[u8],
        takes_back: bool,
    ) -> Option<LetterNumber> {
        let number = self.dead_number(id_hash)?;
        (takes_back || self.letters[&number].stored.body != body).then_some(number)
    }

    /// The numbers of those that are dead now, ascending.
    fn dead_among(&self, letters: &[LetterKey]) -> Vec<LetterNumber> {
        let mut numbers: Vec<LetterNumber> = letters.iter().map(|key| key.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let is_dead = |n: &LetterNumber| self.letters.get(n).is_some_and(|l| l.reason.is_some());
        numbers.retain(is_dead);
        numbers
    }

    /// An event that is taken back waits under a new number.
    fn queue_letter(&mut self, stored: Stored, now: Millis) {
        self.last_dead = self.last_dead.next();
        let letter = Letter {
            stored,
            reason: None,
            died_at: now,
            message: String::new(),
        };
        self.letters.insert(self.last_dead, letter);
        self.deferred.push_back(self.last_dead);
        self.counts.retried += 1;
    }
}
