//! What follows from an answer: settlements, splits, retries, and what the gate hears.

use tokio::time::Instant;

use super::batch::Batch;
use super::courier::Courier;
use super::destination::{NoReply, Notice};
use super::gate::Ticket;
use super::item::Item;
use super::judgement::{Class, Refusal, Verdict};
use super::messages::{Finished, Kind};
use super::normalise::normalise;
use super::options::OnRefused;
use super::status::Reason;
use super::streak::Fate;
use crate::queue::{DeadReason, Entry, Origin, Outcome};

/// So often a batch may fail without a verdict while others are answered, before it is halved
/// or set apart.
const OWN_FAILURES: u32 = 8;
/// The same for what came out of such a batch.
const STUBBORN_FAILURES: u32 = 2;
/// So often a batch may go unanswered while nothing else is wrong, before it is cut into pieces.
const UNANSWERED: u32 = 2;
/// A batch that fails while others are answered is tried again within so many initial
/// intervals: the destination is well, and the line waits for it.
const OWN_WAIT: u32 = 8;

/// How an event was made: what decides whether it may be sent again as it is.
#[derive(Clone, Copy)]
struct Made<'a> {
    keys: &'a [String],
    generation: u64,
}

impl Courier {
    /// Takes a finished request.
    pub fn finished(&mut self, now: Instant, finished: Finished) {
        let Finished {
            batch,
            ticket,
            took,
            result,
        } = finished;
        self.tell_finished(&batch, took, &result);
        self.in_flight -= 1;
        self.stubborn_in_flight -= usize::from(batch.trial.stubborn);
        if batch.trial.piece {
            self.isolation.back();
        }
        let (status, judgement) = match result {
            Ok((status, signals, judgement)) => {
                if let Some(date) = signals.date {
                    self.trust.observe_date(date);
                }
                self.pace.hear(now, &signals, self.in_flight);
                (status, judgement)
            }
            Err(NoReply::NotSent(words)) => return self.not_sent(now, batch, ticket, &words),
            Err(NoReply::Unknown(words)) => {
                return self.unanswered(now, batch, ticket, &words);
            }
        };
        for (kind, count) in judgement.warnings {
            *self.status.warnings.entry(kind).or_default() += count;
        }
        let requests = &mut self.status.requests;
        match judgement.class {
            Class::Judged(verdicts) => {
                requests.judged += 1;
                self.sound(now, ticket);
                self.judged(now, batch, verdicts);
            }
            Class::Refused { too_large, refusal } => {
                requests.refused += 1;
                self.sound(now, ticket);
                self.refused(now, batch, too_large, refusal);
            }
            Class::Auth(refusal) => {
                requests.auth += 1;
                let words = self.words(status, &refusal);
                self.gate
                    .park(now, ticket, Reason::Auth, &words, &mut self.rng);
                self.release(&batch);
                self.keep(now, batch);
            }
            Class::Limited { wait } => {
                requests.limited += 1;
                self.trouble("rate limited (429)".to_owned());
                self.gate.limited(now, ticket, wait, &mut self.rng);
                self.release(&batch);
                self.keep(now, batch);
            }
            Class::Unexpected(refusal) => {
                requests.unexpected += 1;
                let words = self.words(status, &refusal);
                // The gate waits for the answer to its probe, whoever was sent as one.
                if !batch.trial.stubborn || ticket.probe {
                    self.gate
                        .park(now, ticket, Reason::Unexpected, &words, &mut self.rng);
                }
                self.release(&batch);
                self.failed(now, batch);
            }
            Class::Unknown(words) => self.unknown(now, batch, ticket, words),
        }
    }

    fn words(&mut self, status: u16, refusal: &Refusal) -> String {
        let words = format!("HTTP {status}: {}", normalise(&refusal.message, "", b""));
        self.trouble(words.clone());
        words
    }

    /// The destination judged a request: whoever failed before may try again at once.
    fn sound(&mut self, now: Instant, ticket: Ticket) {
        self.sound += 1;
        self.stubborn_rest = None;
        self.stubborn_backoff.reset();
        if self.gate.sound(now, ticket) {
            self.recover(now);
        }
    }

    fn recover(&mut self, now: Instant) {
        for (due, mut batch) in self.waiting.take() {
            let due = if batch.trial.stubborn {
                due
            } else {
                batch.trial.backoff.reset();
                due.min(now)
            };
            self.waiting.push(due, batch);
        }
    }

    fn judged(&mut self, now: Instant, batch: Batch, verdicts: Vec<Verdict>) {
        let Batch {
            items, keys, trial, ..
        } = batch;
        let (mut unclear, mut again) = (Vec::new(), Vec::new());
        let made = Made {
            keys: &keys,
            generation: trial.generation,
        };
        for (item, verdict) in items.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Processed => {
                    self.status.late += u64::from(trial.lateness.is_late(&item.entry));
                    self.processed(now, item);
                    if let Some(without) = &trial.without {
                        self.strip_keys(now, without);
                    }
                }
                Verdict::Failed(refusal) => {
                    let refused = (self.destination.refused_keys)(&refusal.message, &keys);
                    if refused.is_empty() {
                        self.refused_alone(now, item, made, refusal, DeadReason::Refused);
                    } else if self.limits.on_refused == OnRefused::DeadLetter {
                        self.die(item.entry, DeadReason::CustomRefused, refusal.message);
                    } else {
                        self.out.release.push(item.entry.id);
                        self.strip_keys(now, &refused);
                        again.push(item.entry);
                    }
                }
                Verdict::Unclear => unclear.push(item),
            }
        }
        self.prepare(now, again, Kind::Again);
        if !unclear.is_empty() {
            let mut rest = self.batch(unclear, keys);
            rest.trial = trial;
            rest.doubt();
            self.out.doubt.extend(rest.ids());
            self.failed(now, rest);
        }
    }

    fn processed(&mut self, now: Instant, item: Item) {
        self.streak.processed();
        self.isolation.processed();
        if self.gate.processed(now) {
            self.recover(now);
        }
        self.status.delivered += 1;
        self.settle(item.entry, Outcome::Delivered);
    }

    /// The request as a whole was refused: none of it was taken.
    fn refused(&mut self, now: Instant, batch: Batch, too_large: bool, refusal: Refusal) {
        let keys = if too_large {
            Vec::new()
        } else {
            (self.destination.refused_keys)(&refusal.message, &batch.keys)
        };
        if !keys.is_empty() {
            return self.keys_refused(now, batch, &keys, &refusal);
        }
        self.isolation.refused();
        if batch.len() == 1 {
            let reason = if too_large {
                DeadReason::TooLarge
            } else {
                DeadReason::Refused
            };
            return self.refused_lone(now, batch, refusal, reason);
        }
        self.release(&batch);
        if self.gate.refuses_all() {
            let mut batch = batch;
            batch.trial.piece = false;
            self.keep(now, batch);
        } else if batch.trial.generation != self.generation && !batch.trial.in_doubt {
            self.keep(now, batch);
        } else if batch.trial.piece {
            let (first, second) = self.halves(batch);
            self.isolation.halves(first, second);
        } else {
            self.isolation.push(batch);
        }
    }

    /// A lone event with custom keys gets one more chance without them: no event is lost for
    /// an extra.
    fn refused_lone(&mut self, now: Instant, batch: Batch, refusal: Refusal, reason: DeadReason) {
        let strip = self.limits.on_refused == OnRefused::Strip;
        let extras = !batch.keys.is_empty() && reason == DeadReason::Refused;
        let keys = batch.keys;
        let made = Made {
            keys: &keys,
            generation: batch.trial.generation,
        };
        for item in batch.items {
            if extras && strip && !self.gate.refuses_all() {
                self.out.release.push(item.entry.id);
                let without = keys.clone();
                self.prepare(now, vec![item.entry], Kind::Alone { without });
            } else {
                self.refused_alone(now, item, made, refusal.clone(), reason);
            }
        }
    }

    /// One event was refused by itself.
    fn refused_alone(
        &mut self,
        now: Instant,
        item: Item,
        made: Made<'_>,
        refusal: Refusal,
        reason: DeadReason,
    ) {
        if self.gate.refuses_all() || made.generation != self.generation {
            return self.hold(now, item, made);
        }
        let words = normalise(&refusal.message, &item.message_id, &item.json);
        let by_name = (self.destination.blames_name)(&refusal.message, &item.name);
        match self
            .streak
            .refused(&item.name, refusal.code, &words, by_name)
        {
            Fate::Dies { new_name } => {
                if new_name {
                    let notice = (self.destination.notice)(Notice::RefusesName(&item.name));
                    tracing::warn!("{notice}");
                } else if self.tell_once(&words) {
                    let notice = (self.destination.notice)(Notice::RefusedEvent(&words));
                    tracing::warn!(code = refusal.code, "{notice}");
                }
                self.trouble(words);
                self.die(item.entry, reason, refusal.message);
            }
            Fate::Stays => {
                let since = jiff::Timestamp::from_millisecond(self.config_since)
                    .map_or_else(|_| "unknown".to_owned(), |at| at.to_string());
                let words = format!("{words} (config last changed {since})");
                self.gate.refuse_all(now, &words);
                self.trouble(words);
                // What waits to be split was refused for the same reason: it gathers anew.
                for mut piece in self.isolation.take() {
                    piece.trial.piece = false;
                    self.keep(now, piece);
                }
                self.hold(now, item, made);
            }
        }
    }

    /// Keeps a refused event queued, behind the others so that probes rotate; under the config
    /// of the moment.
    fn hold(&mut self, now: Instant, item: Item, made: Made<'_>) {
        self.out.release.push(item.entry.id);
        if made.generation == self.generation {
            self.ready.push(item, made.keys, now);
        } else {
            self.prepare(now, vec![item.entry], Kind::Again);
        }
    }

    /// Custom keys of the request are refused; nothing is wrong with its events.
    fn keys_refused(&mut self, now: Instant, batch: Batch, keys: &[String], refusal: &Refusal) {
        if self.limits.on_refused == OnRefused::DeadLetter {
            for item in batch.items {
                let message = refusal.message.clone();
                self.die(item.entry, DeadReason::CustomRefused, message);
            }
            return;
        }
        self.release(&batch);
        self.strip_keys(now, keys);
        let entries = batch.items.into_iter().map(|item| item.entry);
        self.prepare(now, entries.collect(), Kind::Again);
    }

    /// Remembers refused keys and takes them out of what has not left yet.
    fn strip_keys(&mut self, now: Instant, keys: &[String]) {
        for key in self.strip.refused(keys, now) {
            let notice = (self.destination.notice)(Notice::RefusesKey(&key));
            tracing::warn!("{notice}");
        }
        let has = |batch_keys: &[String]| batch_keys.iter().any(|key| keys.contains(key));
        let mut again: Vec<Entry> = Vec::new();
        self.ready
            .remove(has, |_| true, |item| again.push(item.entry));
        let mut take = |batch: Batch| {
            let stays = batch.trial.in_doubt || !has(&batch.keys);
            if !stays {
                again.extend(batch.items.into_iter().map(|item| item.entry));
                return None;
            }
            Some(batch)
        };
        for (due, batch) in self.waiting.take() {
            if let Some(batch) = take(batch) {
                self.waiting.push(due, batch);
            }
        }
        self.isolation.sift(take);
        self.prepare(now, again, Kind::Again);
    }

    fn not_sent(&mut self, now: Instant, batch: Batch, ticket: Ticket, words: &str) {
        self.status.requests.not_sent += 1;
        self.trouble(words.to_owned());
        self.gate.trouble(now, ticket, None, words, &mut self.rng);
        self.release(&batch);
        self.keep(now, batch);
    }

    fn unknown(&mut self, now: Instant, batch: Batch, ticket: Ticket, words: &str) {
        let batch = self.doubted(now, batch, ticket, words);
        self.failed(now, batch);
    }

    /// A request was not answered at all. That takes a time-out each time, and its events wait for
    /// it together: so who is to blame is found by widths, not by halves.
    ///
    /// Invariant: where one event makes the receiver hang, the others of its batch are delivered
    /// within three time-outs: the batch is sent twice, then in about as many pieces as each has
    /// events, then the events of the one piece that hangs go alone.
    fn unanswered(&mut self, now: Instant, batch: Batch, ticket: Ticket, words: &str) {
        let is_probe = ticket.probe;
        let mut batch = self.doubted(now, batch, ticket, words);
        let trial = &mut batch.trial;
        if trial.suspect && self.sound > trial.sound_left {
            // Others were answered while it hung.
            return self.isolate_failure(now, batch);
        }
        // While the gate is shut it is the destination that does not answer.
        let is_alone = !is_probe && self.gate.view().is_none();
        trial.unanswered = if is_alone { trial.unanswered + 1 } else { 0 };
        if trial.unanswered >= UNANSWERED && batch.len() > 1 {
            // Its pieces may not take every slot: all of its events may hang.
            (batch.trial.suspect, batch.trial.stubborn) = (true, true);
            let width = batch.len().isqrt().max(1);
            return self.shatter(now, batch, width);
        }
        self.failed(now, batch);
    }

    /// The outcome of a request is unknown.
    fn doubted(&mut self, now: Instant, mut batch: Batch, ticket: Ticket, words: &str) -> Batch {
        self.status.requests.unknown += 1;
        self.trouble(words.to_owned());
        batch.doubt();
        self.out.doubt.extend(batch.ids());
        if !batch.trial.stubborn || ticket.probe {
            self.gate
                .trouble(now, ticket, Some(batch.id), words, &mut self.rng);
        }
        batch
    }

    /// A batch failed without a verdict: it waits, and if that is its own fault it is halved,
    /// or set apart when it is one event.
    fn failed(&mut self, now: Instant, mut batch: Batch) {
        let trial = &mut batch.trial;
        if trial.generation != self.generation && !trial.in_doubt {
            return self.keep(now, batch);
        }
        let others_are_well = trial.sound_seen.is_some_and(|seen| self.sound > seen);
        if others_are_well {
            // The failure before this one was its own as well, as is now known.
            trial.own_failures = trial.own_failures.max(1) + 1;
            trial.blind_failures = 0;
        } else {
            trial.blind_failures += 1;
        }
        trial.sound_seen = Some(self.sound);
        if trial.stubborn {
            let max = self.limits.backoff_max;
            self.stubborn_rest = Some(now + self.stubborn_backoff.wait(max, &mut self.rng));
        }
        let most = if trial.stubborn {
            STUBBORN_FAILURES
        } else {
            OWN_FAILURES
        };
        if trial.own_failures >= most {
            return self.isolate_failure(now, batch);
        }
        if trial.blind_failures >= OWN_FAILURES && batch.len() > 1 {
            // Nobody else is there to tell whether it is at fault: its halves tell of each
            // other. In an outage this costs little, for only probes get this far.
            let (first, second) = self.halves(batch);
            for mut half in [first, second] {
                half.trial.blind_failures = 0;
                half.trial.backoff.reset();
                self.waiting.push(now, half);
            }
            return;
        }
        let cap = if others_are_well {
            self.limits.backoff_initial * OWN_WAIT
        } else {
            self.limits.backoff_max
        };
        let wait = batch.trial.backoff.wait(cap, &mut self.rng);
        self.waiting.push(now + wait, batch);
    }

    fn isolate_failure(&mut self, now: Instant, mut batch: Batch) {
        batch.trial.stubborn = true;
        batch.trial.piece = false;
        if batch.len() > 1 {
            // What is suspected was cut once already.
            let width = match batch.trial.suspect {
                true => 1,
                false => batch.len().div_ceil(2),
            };
            return self.shatter(now, batch, width);
        }
        for item in &mut batch.items {
            item.entry.failures += 1;
        }
        let line = |item: &Item| matches!(item.entry.id.origin(), Origin::Line(_));
        if !batch.items.iter().all(line) {
            // It holds nobody up where it is.
            let wait = (batch.trial.backoff).wait(self.limits.backoff_max, &mut self.rng);
            return self.waiting.push(now + wait, batch);
        }
        for item in batch.items {
            let failures = item.entry.failures;
            self.status.set_apart += 1;
            self.tell_set_apart(&item.entry);
            self.settle(item.entry, Outcome::SetApart { failures });
        }
    }

    /// Cuts a batch into pieces of at most `width` events that may leave at once, each with a
    /// trial of its own.
    fn shatter(&mut self, now: Instant, mut batch: Batch, width: usize) {
        let trial = &mut batch.trial;
        (trial.own_failures, trial.blind_failures) = (0, 0);
        (trial.unanswered, trial.sound_seen) = (0, None);
        trial.backoff.reset();
        while batch.len() > width {
            let (id, backoff) = (self.batch_id(), self.backoff());
            let rest = batch.split_off(width, id, backoff);
            self.waiting.push(now, std::mem::replace(&mut batch, rest));
        }
        self.waiting.push(now, batch);
    }

    fn halves(&mut self, mut batch: Batch) -> (Batch, Batch) {
        let (id, backoff) = (self.batch_id(), self.backoff());
        let second = batch.split_off(batch.len() / 2, id, backoff);
        (batch, second)
    }

    fn release(&mut self, batch: &Batch) {
        let ids = batch.items.iter().map(|item| item.entry.id);
        self.out.release.extend(ids);
    }
}
