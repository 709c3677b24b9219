//! What the operator does with dead letters, on the committer: back into the queue, away, or
//! replaced by what is imported. Each slice is one batch of `meta` with its counters, so a crash
//! in between leaves the rest as it was.

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;

use tokio::sync::oneshot;

use super::accept::Place;
use super::batch::Batch;
use super::committer::Committer;
use super::error::StoreError;
use super::find::{Judged, Look};
use super::letter::Record;
use super::{Op, Pressure, SledEngine, lock, pages, turn};
use crate::queue::entry::EntryId;
use crate::queue::error::QueueError;
use crate::queue::letter::{Import, Imported, Keep, LetterKey, PAGE_NUMBERS, Page};
use crate::queue::loss::Loss;
use crate::queue::ranges::RangeSet;

/// Stretches of numbers that one batch changes: each may touch a neighbour on either side.
const RUNS: usize = 80;
/// Letters of one operation: others get their turn between two.
const LETTERS: usize = 512;
/// Events that one operation takes back: each may take a number out of the midst of a range.
const IMPORTS: usize = 100;

/// Asked of the committer.
pub(super) enum Ask {
    /// Which of these numbers are dead now.
    Dead(RangeInclusive<u64>, oneshot::Sender<Stretch>),
    Revive(Vec<LetterKey>, oneshot::Sender<u64>),
    Purge(Vec<LetterKey>, oneshot::Sender<u64>),
    TakeBack(Vec<Import>, oneshot::Sender<Vec<Option<Imported>>>),
    /// What is known of a messageId.
    Look(u128, oneshot::Sender<Look>),
    /// The operator knows of the losses.
    Acknowledge(oneshot::Sender<Vec<Loss>>),
    /// Whether an event is open.
    Judge(EntryId, oneshot::Sender<Judged>),
    /// Another turn begins.
    Turn(oneshot::Sender<()>),
}

/// A period and dead letters of it, and the number from which to go on.
type Stretch = (Option<(u64, RangeSet)>, Option<u64>);

/// Whether letters go back to the queue, or away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whither {
    Queue,
    Away,
}

impl Committer {
    pub(super) fn operate(&mut self, op: Ask) -> Result<(), StoreError> {
        // Whoever asked may be gone; what was done stands.
        match op {
            Ask::Dead(numbers, reply) => {
                let _ = reply.send(self.ledger.dead_within(numbers, PAGE_NUMBERS));
            }
            Ask::Revive(letters, reply) => {
                let _ = reply.send(self.take_out(letters, Whither::Queue)?);
            }
            Ask::Purge(letters, reply) => {
                let _ = reply.send(self.take_out(letters, Whither::Away)?);
            }
            Ask::TakeBack(events, reply) => {
                let _ = reply.send(self.take_back(events)?);
            }
            Ask::Look(id_hash, reply) => {
                let _ = reply.send(self.look(id_hash)?);
            }
            Ask::Acknowledge(reply) => {
                let mut batch = Batch::default();
                let losses = self.ledger.acknowledge_losses(&mut batch);
                if !losses.is_empty() {
                    self.write_meta(batch)?;
                    self.publish_losses();
                }
                let _ = reply.send(losses);
            }
            Ask::Judge(id, reply) => {
                let _ = reply.send(self.judge(id));
            }
            Ask::Turn(reply) => {
                turn::begin(&self.shared, &mut self.ledger);
                self.publish_census();
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// Takes those that are dead out of the dead letters; how many they were.
    fn take_out(
        &mut self,
        mut letters: Vec<LetterKey>,
        whither: Whither,
    ) -> Result<u64, StoreError> {
        letters.sort_unstable_by_key(|key| key.number);
        letters.dedup_by_key(|key| key.number);
        letters.retain(|key| self.ledger.is_dead(key.number));
        let runs: Vec<_> = letters
            .chunk_by(|one, next| one.number + 1 == next.number)
            .collect();
        for runs in runs.chunks(RUNS) {
            let mut batch = Batch::default();
            let mut periods = BTreeSet::new();
            let mut apart = Vec::new();
            for run in runs {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let numbers = first.number..=last.number;
                match whither {
                    Whither::Queue => {
                        self.ledger.state.retried += run.len() as u64;
                        self.ledger.queue_dead(&mut batch, numbers);
                    }
                    Whither::Away => {
                        self.ledger.state.purged += run.len() as u64;
                        self.ledger.purge_dead(&mut batch, numbers);
                    }
                }
                let mut dead = lock(&self.shared.dead);
                for key in *run {
                    self.ledger.uncount_dead(key.number, key.reason);
                    match whither {
                        Whither::Queue => dead.queue(key.id_hash, key.number),
                        Whither::Away => dead.forget(key.id_hash, key.number),
                    }
                    let period = self.ledger.period_of(key.number).unwrap_or_default();
                    periods.insert(period);
                    match whither {
                        Whither::Queue => apart.push((key.number, period, None)),
                        Whither::Away => self.purged.insert((key.id_hash, key.number)),
                    }
                }
            }
            for period in periods {
                let numbers = self.ledger.periods.get(&period).copied();
                if let Some(numbers) = numbers {
                    self.ledger.put_period(&mut batch, period, numbers);
                }
            }
            self.write_meta(batch)?;
            lock(&self.shared.apart).0.extend(apart);
        }
        self.publish_census();
        Ok(letters.len() as u64)
    }

    /// Events whose messageIds are those of dead or purged letters take their places; those whose
    /// ids are known in no way are left to the caller.
    ///
    /// Invariant: the same import given twice is not sent twice. What is taken back is known
    /// while it is queued, and from its delivery on by [`super::kept`].
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
                self.ledger.bury(&mut batch, known.number);
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
            answers.push(Some(Imported::Revived));
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
            let numbers = first..first + records.len() as u64;
            self.ledger.state.retried += records.len() as u64;
            self.ledger.queue_dead(&mut batch, first..=numbers.end - 1);
            self.write_meta(batch)?;
            let period = self.ledger.period_of(first).unwrap_or_default();
            let apart = numbers.map(|number| (number, period, None));
            lock(&self.shared.apart).0.extend(apart);
        }
        // Counts of duplicates, as after a group that holds nothing else.
        self.write_high(false)?;
        self.publish_census();
        Ok(answers)
    }
}

impl SledEngine {
    pub(super) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(Op::Ask(ask(reply)))?;
        done.await.map_err(|_| self.stopped())
    }

    pub(in crate::queue) async fn dead_page(
        &self,
        numbers: RangeInclusive<u64>,
        keep: Keep,
    ) -> Result<Page, QueueError> {
        let dead = self.ask(|reply| Ask::Dead(numbers, reply));
        let (stretch, next) = dead.await?;
        let Some((period, numbers)) = stretch else {
            return Ok(Page::default());
        };
        let shared = self.shared.clone();
        let read = move || pages::read(&shared, period, &numbers, next, &keep);
        let read = tokio::task::spawn_blocking(read).await;
        let unreadable = |why: String| QueueError::Unavailable(format!("dead letters: {why}"));
        match read {
            Ok(page) => page.map_err(|error| unreadable(error.to_string())),
            Err(_) => Err(unreadable("reading them panicked, which is a bug".into())),
        }
    }

    pub(in crate::queue) async fn dead_number(
        &self,
        id_hash: u128,
    ) -> Result<Option<u64>, QueueError> {
        let known = lock(&self.shared.dead).lookup(id_hash);
        Ok(known.map(|known| known.number))
    }

    pub(in crate::queue) async fn revive(
        &self,
        letters: Vec<LetterKey>,
    ) -> Result<u64, QueueError> {
        let mut revived = 0;
        for letters in letters.chunks(LETTERS) {
            let letters = letters.to_vec();
            revived += self.ask(|r| Ask::Revive(letters, r)).await?;
        }
        Ok(revived)
    }

    pub(in crate::queue) async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        let mut purged = 0;
        for letters in letters.chunks(LETTERS) {
            let letters = letters.to_vec();
            purged += self.ask(|r| Ask::Purge(letters, r)).await?;
        }
        Ok(purged)
    }

    pub(in crate::queue) async fn take_back(
        &self,
        events: &[Import],
    ) -> Result<Vec<Option<Imported>>, QueueError> {
        let mut answers = Vec::with_capacity(events.len());
        for events in events.chunks(IMPORTS) {
            if let Pressure::Reserve(why) = &*self.shared.pressure.borrow() {
                return Err(QueueError::Unavailable(why.clone()));
            }
            let events = events.to_vec();
            answers.extend(self.ask(|r| Ask::TakeBack(events, r)).await?);
        }
        Ok(answers)
    }
}
