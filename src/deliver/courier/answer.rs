//! What follows from an answer: settlements, splits, retries, and what the gate hears.

use std::time::Duration;

use tokio::time::Instant;

use super::state::Courier;
use crate::deliver::batch::{Batch, Course};
use crate::deliver::destination::{NoReply, Notice, Signals};
use crate::deliver::gate::{LIMITED_MAX, Ticket};
use crate::deliver::item::Item;
use crate::deliver::judgement::{Class, Refusal, Verdict};
use crate::deliver::messages::{Finished, Kind, Unsent};
use crate::deliver::normalise::normalise;
use crate::deliver::options::OnRefused;
use crate::deliver::status::Reason;
use crate::deliver::streak::Fate;
use crate::queue::{DeadReason, Origin, Outcome};

/// So often a batch may fail without a verdict while others are answered, before it is halved
/// or deferred.
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
            answer,
        } = finished;
        self.witness.finished(&batch, took, &answer);
        self.flights.finished(batch.id);
        if batch.is_stubborn() {
            self.stubborn.finished();
        }
        if batch.trial.piece {
            self.isolation.finished();
        }
        let (status, signals, judgement) = match answer {
            Ok((status, signals, judgement)) => {
                if let Some(date) = signals.date {
                    self.trust.observe_date(date);
                }
                self.observe_headers(now, &signals);
                (status, signals, judgement)
            }
            Err(NoReply::NotSent(why)) => return self.not_sent(now, batch, ticket, &why),
            Err(NoReply::Unknown(why)) => return self.unanswered(now, batch, ticket, &why),
        };
        for (kind, count) in judgement.warnings {
            *self.status.warnings.entry(kind).or_default() += count;
        }
        let requests = &mut self.status.requests;
        match judgement.class {
            Class::Judged(verdicts) => {
                requests.judged += 1;
                self.on_judged(now, ticket);
                self.judged(now, batch, verdicts);
            }
            Class::Refused { too_large, refusal } => {
                requests.refused += 1;
                self.on_judged(now, ticket);
                self.refused(now, batch, too_large, refusal);
            }
            Class::Auth(refusal) => {
                requests.auth += 1;
                let message = self.whole_refusal(status, &refusal);
                self.gate
                    .park(now, ticket, Reason::Auth, &message, &mut self.rng);
                self.not_taken(now, batch);
            }
            Class::Limited { wait } => {
                requests.limited += 1;
                self.trouble("rate limited (429)".to_owned());
                self.gate.limited(now, ticket, wait, &mut self.rng);
                self.not_taken(now, batch);
            }
            Class::Unexpected(refusal) => {
                requests.unexpected += 1;
                let message = self.whole_refusal(status, &refusal);
                // The gate waits for the answer to its probe, whichever batch was sent as one.
                if !batch.is_stubborn() || ticket.probe {
                    self.gate
                        .park(now, ticket, Reason::Unexpected, &message, &mut self.rng);
                }
                self.release(&batch);
                self.failed(now, batch, Duration::ZERO);
            }
            Class::Unknown(why) => {
                let asked = signals.retry_after.unwrap_or_default().min(LIMITED_MAX);
                let batch = self.doubted(now, batch, ticket, &why, asked);
                self.failed(now, batch, asked);
            }
        }
    }

    /// What the headers say of the clock was heard; this is what they say of the calls left.
    fn observe_headers(&mut self, now: Instant, signals: &Signals) {
        let in_flight = self.flights.len();
        if let Some(until) = self.pace.observe_headers(now, signals, in_flight) {
            let next_step = (self.config.destination.next_step)(Reason::RateLimited);
            let seconds = until.saturating_duration_since(now).as_secs();
            tracing::warn!(
                reason = Reason::RateLimited.name(),
                seconds,
                "{}: {next_step}",
                (self.config.destination.notice)(Notice::NoCallsLeft)
            );
        }
    }

    /// Takes a request back that did not leave: what is forgotten goes, the rest gathers anew.
    pub fn unsent(&mut self, now: Instant, unsent: Unsent) {
        let Unsent {
            batch,
            ticket,
            forgotten,
        } = unsent;
        self.witness.unsent(&batch);
        self.flights.finished(batch.id);
        if batch.is_stubborn() {
            self.stubborn.finished();
        }
        if batch.trial.piece {
            self.isolation.finished();
        }
        self.gate.unsent(ticket);
        let mut gone = Vec::new();
        let left = batch.without(
            |item| forgotten.contains(&item.entry.id),
            |item| gone.push(item.entry),
        );
        for entry in gone {
            self.settle(entry, Outcome::Forgotten);
        }
        if let Some(batch) = left {
            self.release(&batch);
            self.put_back(now, batch);
        }
    }

    fn whole_refusal(&mut self, status: u16, refusal: &Refusal) -> String {
        let message = match refusal.is_page {
            true => refusal.words(b""),
            false => format!("HTTP {status}: {}", refusal.words(b"")),
        };
        self.trouble(message.clone());
        message
    }

    /// The destination judged a request: batches that failed before may be tried again at once.
    fn on_judged(&mut self, now: Instant, ticket: Ticket) {
        self.sound += 1;
        self.stubborn.on_judged();
        if self.gate.on_judged(now, ticket) {
            self.waiting.recover(now);
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
                    let refused = (self.config.destination.refused_keys)(&refusal.message, &keys);
                    if refused.is_empty() {
                        self.refused_alone(now, item, made, refusal, DeadReason::Refused);
                    } else if self.config.limits().on_refused == OnRefused::DeadLetter {
                        self.die_ready(item, DeadReason::CustomRefused, refusal.message);
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
            self.failed(now, rest, Duration::ZERO);
        }
    }

    fn processed(&mut self, now: Instant, item: Item) {
        self.streak.processed();
        self.isolation.processed();
        if self.gate.processed(now) {
            self.waiting.recover(now);
        }
        self.status.delivered += 1;
        self.settle(item.entry, Outcome::Delivered);
    }

    /// The request as a whole was refused: none of it was taken.
    fn refused(&mut self, now: Instant, mut batch: Batch, too_large: bool, refusal: Refusal) {
        let keys = if too_large {
            Vec::new()
        } else {
            (self.config.destination.refused_keys)(&refusal.message, &batch.keys)
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
            batch.trial.piece = false;
            self.put_back(now, batch);
        } else if batch.trial.generation != self.config.generation() && !batch.trial.in_doubt {
            self.put_back(now, batch);
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
        let strip = self.config.limits().on_refused == OnRefused::Strip;
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
        if self.gate.refuses_all() || made.generation != self.config.generation() {
            return self.hold(now, item, made);
        }
        let message = normalise(&refusal.message, &item.message_id, &item.json);
        let by_name = (self.config.destination.blames_name)(&refusal.message, &item.name);
        match self.streak.refused(&item.name, &message, by_name) {
            Fate::Dies { new_name } => {
                if new_name {
                    let notice = (self.config.destination.notice)(Notice::RefusesName(&item.name));
                    tracing::warn!("{notice}");
                } else if self.is_new_kind(&message) {
                    let notice = (self.config.destination.notice)(Notice::RefusedEvent(&message));
                    tracing::warn!(code = refusal.code, "{notice}");
                }
                self.trouble(message);
                self.die_ready(item, reason, refusal.message);
            }
            Fate::HoldAll => {
                let since =
                    crate::moment::dated(self.config.since(), &jiff::tz::TimeZone::system());
                self.out.recall.push(message.clone());
                let message = format!("{message} (config last changed {since})");
                self.gate.refuse_all(now, &message);
                self.trouble(message);
                // What waits to be split was refused for the same reason: it gathers anew.
                for mut piece in self.isolation.take() {
                    piece.trial.piece = false;
                    self.put_back(now, piece);
                }
                self.hold(now, item, made);
            }
        }
    }

    /// Keeps a refused event queued, behind the others so that probes rotate; under the config
    /// of the moment.
    fn hold(&mut self, now: Instant, item: Item, made: Made<'_>) {
        self.out.release.push(item.entry.id);
        if made.generation == self.config.generation() {
            self.ready.push(item, made.keys, now);
        } else {
            self.prepare(now, vec![item.entry], Kind::Again);
        }
    }

    /// Custom keys of the request are refused; nothing is wrong with its events.
    fn keys_refused(&mut self, now: Instant, batch: Batch, keys: &[String], refusal: &Refusal) {
        if self.config.limits().on_refused == OnRefused::DeadLetter {
            for item in batch.items {
                self.die_ready(item, DeadReason::CustomRefused, refusal.message.clone());
            }
            return;
        }
        self.release(&batch);
        self.strip_keys(now, keys);
        self.prepare(now, batch.into_entries().collect(), Kind::Again);
    }

    /// Remembers refused keys and takes them out of what has not left yet.
    fn strip_keys(&mut self, now: Instant, keys: &[String]) {
        for key in self.strip.refused(keys, now) {
            let notice = (self.config.destination.notice)(Notice::RefusesKey(&key));
            tracing::warn!("{notice}");
        }
        let again = self.recall(|of_batch| of_batch.iter().any(|key| keys.contains(key)));
        self.prepare(now, again, Kind::Again);
    }

    fn not_sent(&mut self, now: Instant, batch: Batch, ticket: Ticket, why: &str) {
        self.status.requests.not_sent += 1;
        self.trouble(why.to_owned());
        (self.gate).trouble(now, ticket, None, why, Duration::ZERO, &mut self.rng);
        self.not_taken(now, batch);
    }

    /// A request was not answered at all. That takes a time-out each time, and its events wait for
    /// it together: so who is to blame is found by widths, not by halves.
    ///
    /// Invariant: where one event makes the receiver hang, the others of its batch are delivered
    /// within three time-outs: the batch is sent twice, then in about as many pieces as each has
    /// events, then the events of the one piece that hangs go alone.
    fn unanswered(&mut self, now: Instant, batch: Batch, ticket: Ticket, why: &str) {
        let is_probe = ticket.probe;
        let mut batch = self.doubted(now, batch, ticket, why, Duration::ZERO);
        let trial = &mut batch.trial;
        if trial.course == Course::Suspect && self.sound > trial.sound_left {
            // Others were answered while it hung.
            return self.isolate_failure(now, batch);
        }
        // While the gate is shut it is the destination that does not answer.
        let is_alone = !is_probe && self.gate.view().is_none();
        trial.unanswered = if is_alone { trial.unanswered + 1 } else { 0 };
        if trial.unanswered >= UNANSWERED && batch.len() > 1 {
            // Its pieces may not take every slot: all of its events may hang.
            batch.trial.course = Course::Suspect;
            let width = batch.len().isqrt().max(1);
            return self.shatter(now, batch, width);
        }
        self.failed(now, batch, Duration::ZERO);
    }

    /// The outcome of a request is unknown. `asked`: for so long nothing more is wanted.
    fn doubted(
        &mut self,
        now: Instant,
        mut batch: Batch,
        ticket: Ticket,
        why: &str,
        asked: Duration,
    ) -> Batch {
        self.status.requests.unknown += 1;
        self.trouble(why.to_owned());
        batch.doubt();
        self.out.doubt.extend(batch.ids());
        let (id, rng) = (batch.id, &mut self.rng);
        match batch.is_stubborn() && !ticket.probe {
            true => self.gate.own_fault(now, id, why),
            false => (self.gate).trouble(now, ticket, Some(id), why, asked, rng),
        }
        batch
    }

    /// A batch failed without a verdict: it waits, at least as long as is `asked` for, and if that
    /// is its own fault it is halved, or deferred when it is one event.
    fn failed(&mut self, now: Instant, mut batch: Batch, asked: Duration) {
        let (trial, limits) = (&mut batch.trial, self.config.limits());
        if trial.generation != self.config.generation() && !trial.in_doubt {
            return self.put_back(now, batch);
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
        let mut most = OWN_FAILURES;
        if trial.course != Course::Ordinary {
            most = STUBBORN_FAILURES;
            (self.stubborn).failed(now, limits.backoff_max, &mut self.rng);
        }
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
                self.waiting.push(now + asked, half);
            }
            return;
        }
        let cap = if others_are_well {
            limits.backoff_initial * OWN_WAIT
        } else {
            limits.backoff_max
        };
        let wait = batch.trial.backoff.wait(cap, &mut self.rng);
        self.waiting.push(now + wait.max(asked), batch);
    }

    fn isolate_failure(&mut self, now: Instant, mut batch: Batch) {
        let mut width = batch.len().div_ceil(2);
        match batch.trial.course {
            // It was cut once already.
            Course::Suspect => width = 1,
            Course::Ordinary | Course::Stubborn => batch.trial.course = Course::Stubborn,
        }
        batch.trial.piece = false;
        if batch.len() > 1 {
            return self.shatter(now, batch, width);
        }
        for item in &mut batch.items {
            item.entry.failures += 1;
        }
        let line = |item: &Item| matches!(item.entry.id.origin(), Origin::Line(_));
        if !batch.items.iter().all(line) {
            // It holds nobody up where it is.
            let wait = (batch.trial.backoff).wait(self.config.limits().backoff_max, &mut self.rng);
            return self.waiting.push(now + wait, batch);
        }
        for item in batch.items {
            let failures = item.entry.failures;
            self.status.deferred += 1;
            self.witness.deferred(&item.entry);
            self.settle(item.entry, Outcome::Deferred { failures });
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
            let rest = self.split(&mut batch, width);
            self.waiting.push(now, std::mem::replace(&mut batch, rest));
        }
        self.waiting.push(now, batch);
    }

    fn halves(&mut self, mut batch: Batch) -> (Batch, Batch) {
        let half = batch.len() / 2;
        let second = self.split(&mut batch, half);
        (batch, second)
    }

    /// None of it was taken, for no reason of its own.
    fn not_taken(&mut self, now: Instant, batch: Batch) {
        self.release(&batch);
        self.put_back(now, batch);
    }

    fn release(&mut self, batch: &Batch) {
        self.out.release.extend(batch.ids());
    }
}
