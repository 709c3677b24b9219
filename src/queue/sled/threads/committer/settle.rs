//! The settle side of the committer: marks, settlements, dead letters, in one batch of `meta`.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::clock::millis;
use crate::queue::contract::{
    EntryId, LetterNumber, LossKind, Number, Origin, Outcome, Seq, Settlement,
};
use crate::queue::lock::lock;
use crate::queue::record::dead_record::Record;
use crate::queue::sled::account::Death;
use crate::queue::sled::disk::{Batch, StoreError, generation_name, period_name};
use crate::queue::sled::line::{DeferredLetter, deferred::deferred};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::runtime::{CommitterOp, Job};
use crate::queue::sled::threads::committer::{Committer, MAX_OPS, answer};

impl Committer {
    pub(super) fn settle(&mut self, ops: Vec<CommitterOp>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut replies = Vec::new();
        let mut marked = Vec::new();
        let mut deferred = Vec::new();
        let mut freed = 0;
        // A resend lays no new mark, but it is counted as durably as one.
        let mut recount = false;
        let now = self.shared.clock.now();
        let remembers = millis(self.shared.options.destination_remembers);
        for op in ops {
            match op {
                CommitterOp::Mark(mark, reply) => {
                    let resent = self.ledger.state.resent;
                    let forgotten = self.ledger.lay_mark(&mut batch, &mark, now, remembers);
                    recount |= self.ledger.state.resent != resent;
                    marked.push((reply, forgotten));
                }
                CommitterOp::Doubt(ids) => {
                    ids.iter().for_each(|id| self.ledger.marks.doubt(*id));
                    self.give_up_undelivered(&mut batch, &ids);
                }
                CommitterOp::Release(ids) => {
                    self.ledger.marks.release(&mut batch, &ids);
                    self.give_up_undelivered(&mut batch, &ids);
                }
                CommitterOp::Settle(settlements, reply) => {
                    freed += settlements
                        .iter()
                        .map(|s| s.entry.body.len())
                        .sum::<usize>();
                    self.end(settlements, &mut batch, &mut deferred)?;
                    replies.push(reply);
                }
                CommitterOp::SetAside {
                    generation,
                    first,
                    last,
                } => self.set_line_aside(generation, first, last, &mut batch),
                CommitterOp::SetLetterAside(number) => self.set_letter_aside(number, &mut batch),
                CommitterOp::JobDone(done) => self.job_done(done, &mut batch),
                CommitterOp::Verify(reply) => {
                    let meta = self.meta.check().err();
                    self.ask(Job::Verify(Box::new(self.ledger.clone()), meta, reply));
                }
                CommitterOp::Tick => self.tick(&mut batch)?,
                CommitterOp::Enqueue(_)
                | CommitterOp::BeginTurn(_)
                | CommitterOp::Operator(_)
                | CommitterOp::Heartbeat(_)
                | CommitterOp::Close(_) => {}
            }
            if batch.len() >= MAX_OPS {
                self.write_meta(std::mem::take(&mut batch))?;
                self.publish_census();
                answer(&mut replies);
                answer_marks(&mut marked);
            }
        }
        if batch.len() > 0 || recount {
            self.write_meta(batch)?;
        }
        self.shared
            .low_water
            .store(self.ledger.cursor.low_water().0, Ordering::Release);
        self.shared.bytes_in_hand.fetch_sub(freed, Ordering::AcqRel);
        lock(&self.shared.deferred).extend(deferred);
        self.publish_census();
        answer(&mut replies);
        answer_marks(&mut marked);
        Ok(())
    }

    /// Settles events of the line that cannot be read. Invariant: the batch that settles them also
    /// notes that their store is to be kept, since a store whose events are all settled is deleted.
    fn set_line_aside(
        &mut self,
        generation: Option<Generation>,
        first: Seq,
        last: Seq,
        batch: &mut Batch,
    ) {
        let now = self.shared.clock.now();
        let count = self.ledger.set_line_aside(batch, first, last);
        if let Some(generation) = generation {
            self.ledger.hold_generation(batch, generation);
        }
        let object = match generation {
            Some(generation) => generation_name(generation),
            None => format!("events {first} to {last}"),
        };
        self.ledger
            .lose(batch, LossKind::Events, &object, count, now);
        self.publish_losses();
    }

    /// A dead letter that is queued again cannot be read.
    fn set_letter_aside(&mut self, number: LetterNumber, batch: &mut Batch) {
        if self.ledger.dead_queued.contains(number) {
            let now = self.shared.clock.now();
            if let Some(period) = self.ledger.period_of(number) {
                self.ledger.hold_period(batch, period);
                let object = period_name(period);
                let kind = LossKind::DeadLetters;
                self.ledger.lose(batch, kind, &object, 1, now);
                self.publish_losses();
            }
            self.ledger.state.set_aside += 1;
            self.ledger.marks.remove(batch, EntryId::dead(number));
            lock(&self.shared.dead).forget_queued(number);
            self.ledger.retire_letter(batch, number);
        }
    }

    /// Makes everything that the last turn had in hand claimable again: as after a start, claims
    /// restart at the low-water mark, and what was marked is in doubt. Nobody claims meanwhile.
    pub(super) fn begin_turn(&mut self) -> Result<(), StoreError> {
        let ledger = &mut self.ledger;
        ledger.keeps_dead_no_longer();
        ledger
            .marks
            .names()
            .keys()
            .for_each(|id| ledger.marks.doubt(*id));
        self.finish_forgetting()?;
        let ledger = &self.ledger;
        let marked = ledger.marks.names();
        let shared = &self.shared;
        let mut claims = lock(&shared.claims);
        claims.rewind(ledger.cursor.clone(), marked);
        lock(&shared.tail).rewind();
        *lock(&shared.deferred) = deferred(ledger);
        shared.bytes_in_hand.store(0, Ordering::Release);
        drop(claims);
        self.publish_census();
        Ok(())
    }

    /// Ends claims: dead letters are written and synced first, then counted.
    pub(super) fn end(
        &mut self,
        settlements: Vec<Settlement>,
        batch: &mut Batch,
        deferred: &mut Vec<DeferredLetter>,
    ) -> Result<(), StoreError> {
        let now = self.shared.trust.stamp();
        let mut line = Vec::with_capacity(settlements.len());
        let mut records = Vec::new();
        let mut names = Vec::new();
        let mut delivered_letters = Vec::new();
        let mut deaths = Vec::new();
        for Settlement { entry, outcome } in settlements {
            if !self.ledger.is_open(entry.id) {
                // Forgotten while it was claimed, and counted then.
                continue;
            }
            let is_forgotten = self.ledger.forgets(batch, entry.id).is_some();
            if outcome == Outcome::Forgotten || (is_forgotten && outcome != Outcome::Delivered) {
                self.give_up(batch, &[(entry.id, entry.id_hash)]);
                continue;
            }
            let marked = self.ledger.marks.remove(batch, entry.id);
            match entry.id.origin() {
                Origin::Line(seq) => line.push(seq),
                Origin::Dead(number) => {
                    lock(&self.shared.dead).forget(entry.id_hash, number);
                    self.ledger.retire_letter(batch, number);
                }
            }
            let delivered = self.ledger.state.delivered;
            let (reason, message, failures) = match outcome {
                Outcome::Forgotten => continue,
                Outcome::Delivered => {
                    self.ledger.state.delivered += 1;
                    if let Origin::Dead(_) = entry.id.origin() {
                        delivered_letters.push(entry.id_hash);
                    }
                    continue;
                }
                Outcome::Dead { reason, message } => (Some(reason), message, entry.failures),
                Outcome::Deferred { failures } => (None, String::new(), failures),
            };
            let doubtful = (marked.as_ref()).filter(|marked| reason.is_some() && marked.in_doubt);
            let sent = doubtful.map(|marked| (marked.name.clone(), marked.at));
            deaths.push((delivered, sent));
            names.push(marked.map(|marked| (marked.name, marked.at)));
            records.push(Record {
                id_hash: entry.id_hash,
                reason,
                failures,
                accepted_at: entry.accepted_at,
                event_time: entry.event_time,
                died_at: now,
                message,
                body: entry.body,
            });
        }
        self.delivered.insert(batch, now, &delivered_letters);
        if !records.is_empty() {
            let first = self.ledger.state.dead_next;
            let deaths = first
                .onward()
                .zip(deaths)
                .map(|(number, (delivered, sent))| Death {
                    number,
                    delivered,
                    sent,
                });
            self.ledger.note_deaths(batch, deaths);
            lock(&self.shared.dead).append(&records, &mut self.ledger, batch, now)?;
            let period = self
                .ledger
                .periods
                .keys()
                .next_back()
                .copied()
                .unwrap_or_default();
            for ((number, record), name) in first.onward().zip(&records).zip(names) {
                if record.reason.is_some() {
                    continue;
                }
                self.ledger.queue_dead(batch, number..=number);
                if let Some((name, at)) = &name {
                    // It may have arrived: under its new number it keeps that name.
                    let id = EntryId::dead(number);
                    self.ledger.mark_in_doubt(batch, id, name.clone(), *at);
                }
                deferred.push(DeferredLetter {
                    number,
                    period,
                    sent_as: name.map(|(name, _)| name),
                });
            }
        }
        line.sort_unstable();
        let mut at = 0;
        while at < line.len() {
            let run = line[at..]
                .iter()
                .zip(line[at].onward())
                .take_while(|(seq, n)| **seq == *n)
                .count();
            self.ledger.settle_line(batch, line[at], line[at + run - 1]);
            at += run;
        }
        Ok(())
    }
}

/// Tells each which of its events are forgotten.
fn answer_marks(marked: &mut Vec<(oneshot::Sender<Vec<EntryId>>, Vec<EntryId>)>) {
    for (reply, forgotten) in marked.drain(..) {
        // A caller that gave up waiting needs no answer.
        let _ = reply.send(forgotten);
    }
}
