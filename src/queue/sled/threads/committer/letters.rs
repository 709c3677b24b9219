//! What the operator does with dead letters: retry, purge, or replace by an import. Each slice is
//! one batch of `meta` together with its counters, so a crash in between leaves the rest as it was.

use std::collections::{BTreeSet, HashSet};

use crate::queue::contract::{Import, Imported, LetterKey, Number, PAGE_NUMBERS};
use crate::queue::lock::lock;
use crate::queue::record::dead_record::Record;
use crate::queue::sled::disk::{Batch, StoreError};
use crate::queue::sled::line::DeferredLetter;
use crate::queue::sled::runtime::OperatorOp;
use crate::queue::sled::threads::committer::{Committer, accept::Place, to_erase::Piece};

/// Stretches of numbers that one batch changes: each may touch a neighbour on either side. All that
/// a refusal of everything has cost comes back in one.
const RUNS: usize = 128;

/// Whether letters go back to the queue, or away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LetterMove {
    Retry,
    Purge,
    /// Away, without a way back.
    Forget,
}

impl Committer {
    pub(super) fn operate(&mut self, op: OperatorOp) -> Result<(), StoreError> {
        // Whoever asked may be gone; what was done stands.
        match op {
            OperatorOp::Dead(numbers, reply) => {
                let _ = reply.send(self.ledger.dead_within(numbers, PAGE_NUMBERS));
            }
            OperatorOp::UndeliveredLetters(reply) => {
                let _ = reply.send(self.ledger.undelivered_letters());
            }
            OperatorOp::KeepDead(reply) => {
                let mut batch = Batch::default();
                self.ledger.keep_dead(&mut batch);
                self.write_meta(batch)?;
                let _ = reply.send(());
            }
            OperatorOp::Retry(letters, reply) => {
                let _ = reply.send(self.take_out(letters, LetterMove::Retry)?);
            }
            OperatorOp::Purge(letters, reply) => {
                let _ = reply.send(self.take_out(letters, LetterMove::Purge)?);
            }
            OperatorOp::ForgetDead(letters, reply) => {
                let _ = reply.send(self.take_out(letters, LetterMove::Forget)?);
            }
            OperatorOp::Forget(theirs, reply) => {
                let _ = reply.send(self.forget(theirs)?);
            }
            OperatorOp::Deferred(reply) => {
                let _ = reply.send(self.ledger.deferred_numbers());
            }
            OperatorOp::TakeBack(events, reply) => {
                let _ = reply.send(self.take_back(events)?);
            }
            OperatorOp::Look(id_hash, reply) => {
                let _ = reply.send(self.look(id_hash)?);
            }
            OperatorOp::Acknowledge(reply) => {
                let mut batch = Batch::default();
                let losses = self.ledger.acknowledge_losses(&mut batch);
                if !losses.is_empty() {
                    self.write_meta(batch)?;
                    self.publish_losses();
                }
                let _ = reply.send(losses);
            }
            OperatorOp::States(ids, reply) => {
                let states = ids.into_iter().map(|id| self.open_state(id));
                let _ = reply.send(states.collect());
            }
        }
        Ok(())
    }

    /// Takes those of `letters` that are dead out of the dead letters; returns how many they were.
    fn take_out(&mut self, mut letters: Vec<LetterKey>, to: LetterMove) -> Result<u64, StoreError> {
        letters.sort_unstable_by_key(|key| key.number);
        letters.dedup_by_key(|key| key.number);
        letters.retain(|key| self.ledger.is_dead(key.number));
        let runs: Vec<_> = letters
            .chunk_by(|one, next| one.number + 1 == next.number)
            .collect();
        for runs in runs.chunks(RUNS) {
            let mut batch = Batch::default();
            let mut periods = BTreeSet::new();
            let mut deferred = Vec::new();
            for run in runs {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let numbers = first.number..=last.number;
                match to {
                    LetterMove::Retry => {
                        self.ledger.state.retried += run.len() as u64;
                        self.ledger.queue_dead(&mut batch, numbers);
                    }
                    LetterMove::Purge => {
                        self.ledger.state.purged += run.len() as u64;
                        self.ledger.purge_dead(&mut batch, numbers);
                    }
                    LetterMove::Forget => {
                        self.ledger.state.purged += run.len() as u64;
                        self.ledger.forget_dead(&mut batch, numbers);
                        let ids: Vec<u128> = run.iter().map(|key| key.id_hash).collect();
                        let now = self.shared.trust.stamp();
                        self.delivered.insert(&mut batch, now, &ids);
                    }
                }
                let mut dead = lock(&self.shared.dead);
                for key in *run {
                    self.ledger.uncount_dead(key.number, key.reason);
                    match to {
                        LetterMove::Retry => dead.queue(key.id_hash, key.number),
                        LetterMove::Purge | LetterMove::Forget => {
                            dead.forget(key.id_hash, key.number);
                        }
                    }
                    let period = self.ledger.period_of(key.number).unwrap_or_default();
                    periods.insert(period);
                    match to {
                        LetterMove::Retry => deferred.push(DeferredLetter {
                            number: key.number,
                            period,
                            sent_as: self.ledger.queue_doubtful(&mut batch, key.number),
                        }),
                        LetterMove::Purge => self.purged.insert((key.id_hash, key.number)),
                        LetterMove::Forget => {}
                    }
                }
            }
            for period in periods {
                if to != LetterMove::Retry {
                    self.to_erase.want(Piece::Period(period));
                }
                let numbers = self.ledger.periods.get(&period).copied();
                if let Some(numbers) = numbers {
                    self.ledger.put_period(&mut batch, period, numbers);
                }
            }
            self.write_meta(batch)?;
            lock(&self.shared.deferred).extend(deferred);
        }
        self.publish_census();
        Ok(letters.len() as u64)
    }

    /// Events whose messageIds are those of dead or purged letters take their places; those whose
    /// ids are known in no way are left to the caller.
    ///
    /// Invariant: the same import given twice is not sent twice. What is taken back is known
    /// while it is queued, and from its delivery on by [`crate::queue::sled::ids::delivered`].
    fn take_back(&mut self, events: Vec<Import>) -> Result<Vec<Option<Imported>>, StoreError> {
        let (now, horizon) = (self.shared.trust.stamp(), self.horizon());
        let mut batch = Batch::default();
        let mut answers = Vec::with_capacity(events.len());
        // A second event of the same id finds the letter gone, and what stands for it not yet
        // written.
        let mut taken = HashSet::new();
        let mut records = Vec::new();
        for event in events {
            let id = event.id_hash;
            let letter = self.letter(&lock(&self.shared.dead), id);
            if let Some(Place::Dead(known)) = letter {
                lock(&self.shared.dead).forget(id, known.number);
                self.ledger.uncount_dead(known.number, known.reason);
                self.ledger.put_period_of(&mut batch, known.number);
                self.ledger.retire_letter(&mut batch, known.number);
            } else if let Some(number) = self.purged.number(id) {
                self.purged.forget(id);
                self.ledger.state.purged -= 1;
                self.ledger.unpurge(&mut batch, number);
            } else if letter.is_some() || taken.contains(&id) || self.is_remembered(id, horizon)? {
                self.ledger.state.totals.duplicate += 1;
                answers.push(Some(Imported::Duplicate));
                continue;
            } else {
                answers.push(None);
                continue;
            }
            taken.insert(id);
            answers.push(Some(Imported::Retried));
            records.push(Record {
                id_hash: id,
                reason: None,
                failures: 0,
                accepted_at: event.accepted_at,
                event_time: event.event_time,
                died_at: now,
                message: String::new(),
                body: event.body,
            });
        }
        if !records.is_empty() {
            // Written and synced before the batch that gives up what they stand for.
            let first = self.ledger.state.dead_next;
            lock(&self.shared.dead).append(&records, &mut self.ledger, &mut batch, now)?;
            let last = first + records.len() as u64 - 1;
            self.ledger.state.retried += records.len() as u64;
            self.ledger.queue_dead(&mut batch, first..=last);
            self.write_meta(batch)?;
            let period = self.ledger.period_of(first).unwrap_or_default();
            let deferred = first.through(last).map(|number| DeferredLetter {
                number,
                period,
                sent_as: None,
            });
            lock(&self.shared.deferred).extend(deferred);
        }
        // Counts of duplicates, as after a group that holds nothing else.
        self.write_high(false)?;
        self.publish_census();
        Ok(answers)
    }
}
