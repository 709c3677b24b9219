//! What is in hand, and what is to leave next.

use std::collections::HashSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use tokio::time::Instant;

use super::config::Config;
use super::flights::{Flights, Left};
use super::hand::Hand;
use super::stubborn::Stubborn;
use crate::clock::{Clock, WallTrust};
use crate::deliver::batch::{Batch, Course};
use crate::deliver::destination::Destination;
use crate::deliver::gate::{Gate, Pass, Ticket};
use crate::deliver::isolate::Isolation;
use crate::deliver::item::{Item, StrippedKeys};
use crate::deliver::messages::{Done, Job, Kind, Outbox};
use crate::deliver::options::{Environment, Options, Pause};
use crate::deliver::pace::Pace;
use crate::deliver::ready::Ready;
use crate::deliver::status::{LastError, Status};
use crate::deliver::streak::Streak;
use crate::deliver::strip::Strip;
use crate::deliver::waiting::Waiting;
use crate::deliver::witness::Witness;
use crate::note::Notes;
use crate::queue::{DeadReason, Entry, Outcome, Settlement};

/// Full batches on their way to a slot, so that none waits for a claim. More would lie in memory
/// and grow cold there.
const SPARE_BATCHES: usize = 4;
/// Bytes of one claim at most.
const CLAIM_BYTES: usize = 4 << 20;
/// How many kinds of refusal are logged, each once.
const LOGGED_KINDS: usize = 256;

/// Everything the delivery side knows.
///
/// Invariant: every event in hand is in exactly one place: a job of the preparer, `ready`,
/// `waiting`, `isolation`, or a request in flight. It leaves the hand by a settlement alone.
pub struct Courier {
    pub(super) config: Config,
    pub(super) rng: StdRng,
    pub(super) clock: Clock,
    pub(super) trust: WallTrust,
    pub(super) witness: Witness,
    pub(super) hand: Hand,
    pub(super) ready: Ready,
    pub(super) waiting: Waiting,
    pub(super) isolation: Isolation,
    pub(super) stubborn: Stubborn,
    pub(super) gate: Gate,
    /// The operator's pause: nothing leaves, not even a probe.
    pub(super) paused: Option<Pause>,
    pub(super) pace: Pace,
    pub(super) streak: Streak,
    pub(super) strip: Strip,
    pub(super) flights: Flights,
    /// Sound answers so far.
    pub(super) sound: u64,
    /// Draining: nothing lingers.
    pub(super) flush: bool,
    /// Kinds of refusal that the log has.
    logged_kinds: HashSet<String>,
    /// The counts; what else `status` shows is read when it is asked for.
    pub(super) status: Status,
    pub(super) out: Outbox,
    batches: u64,
    probes: u64,
    pub(super) swept_at: Instant,
}

impl Courier {
    pub fn new(
        destination: &'static Destination,
        options: &Options,
        rng: StdRng,
        environment: Environment,
        now: Instant,
    ) -> Self {
        let config = Config::new(destination, options, environment.clock.now());
        let mut courier = Self {
            gate: config.gate(),
            stubborn: Stubborn::new(config.backoff()),
            pace: config.pace(now),
            config,
            rng,
            witness: Witness::new(
                environment.clock.clone(),
                environment.observer,
                options.test,
            ),
            clock: environment.clock,
            trust: environment.trust,
            hand: Hand::default(),
            ready: Ready::default(),
            waiting: Waiting::default(),
            isolation: Isolation::default(),
            paused: options.paused.clone(),
            streak: Streak::default(),
            strip: Strip::default(),
            flights: Flights::default(),
            sound: 0,
            flush: false,
            logged_kinds: HashSet::new(),
            status: Status::default(),
            out: Outbox::default(),
            batches: 0,
            probes: 0,
            swept_at: now,
        };
        courier.status.standing_by = true;
        courier
    }

    /// Nothing is in hand until the next turn, and the next holder may have changed everything
    /// else. The config, the pause and the counts stay.
    pub fn stand_by(&mut self, now: Instant) {
        self.status.standing_by = true;
        (self.gate, self.pace) = (self.config.gate(), self.config.pace(now));
        self.stubborn = Stubborn::new(self.config.backoff());
        (self.hand, self.ready, self.waiting) = Default::default();
        (self.isolation, self.streak, self.strip) = Default::default();
        (self.flights, self.out) = Default::default();
    }

    /// It is this process' turn to deliver.
    pub fn turn_begins(&mut self, now: Instant) {
        self.status.standing_by = false;
        self.swept_at = now;
    }

    pub fn destination(&self) -> &'static Destination {
        self.config.destination
    }

    /// What is to be carried out now.
    pub fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.out)
    }

    /// How much to claim now, in events and bytes; `None`: nothing.
    pub fn claim_budget(&self) -> Option<(usize, usize)> {
        let limits = self.config.batch_limits();
        // Before a gate that is not open a few batches are enough for its probes; the rest waits
        // on disk instead of in memory.
        let slots = match self.gate_closed() {
            None => self.config.limits().max_in_flight,
            Some(_) => 0,
        };
        let most = (slots + SPARE_BATCHES) * limits.events;
        let mut held = self.hand.events();
        if held >= most {
            // Events that keep failing alone must not keep the others out.
            held -= self.waiting.iter().filter(|b| b.is_stubborn()).count();
        }
        // Those that gather and have not filled a batch yet must not keep others out.
        let coming = self.hand.preparing() + self.ready.in_full_batches(&limits);
        let spare = (SPARE_BATCHES * limits.events).saturating_sub(coming);
        let events = most.saturating_sub(held).min(spare).min(limits.events);
        let bytes = self.hand.bytes_left().min(CLAIM_BYTES);
        (events > 0 && bytes > 0).then_some((events, bytes))
    }

    /// Takes what was claimed.
    pub fn claimed(&mut self, now: Instant, entries: Vec<Entry>) {
        self.hand.take(&entries);
        let horizon = self.horizon();
        let (old, young): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| horizon.passed(e));
        self.expired(old);
        self.prepare(now, young, Kind::New);
    }

    /// Hands events to the transform.
    pub(super) fn prepare(&mut self, now: Instant, entries: Vec<Entry>, kind: Kind) {
        if entries.is_empty() {
            return;
        }
        let strip = match kind {
            Kind::Alone { .. } => StrippedKeys::every(),
            Kind::New | Kind::Again => self.strip.now(now),
        };
        self.hand.prepare(entries.len());
        self.out.prepare.push(Job {
            events: entries,
            strip,
            kind,
            generation: self.config.generation(),
        });
    }

    /// Takes what was prepared.
    pub fn prepared(&mut self, now: Instant, done: Done) {
        self.hand.prepared(done.events.len());
        for (key, count) in done.strip.counts() {
            if count > 0 {
                *self.status.stripped.entry(key.to_owned()).or_default() += count;
            }
        }
        if done.generation != self.config.generation() {
            // The config changed meanwhile.
            let entries = done.events.into_iter().map(|(entry, _)| entry);
            return self.prepare(now, entries.collect(), Kind::Again);
        }
        let limits = self.config.batch_limits();
        for (entry, result) in done.events {
            let prepared = match result {
                Ok(prepared) => prepared,
                Err(dead) => {
                    let notes = dead.notes.as_ref();
                    self.witness.noted(&entry, &dead.message_id, notes);
                    self.die(entry, dead.reason, dead.message, notes);
                    continue;
                }
            };
            if prepared.json.len() + limits.framing.bytes(1) > limits.bytes {
                let message = "alone it is larger than delivery.max_batch_bytes".to_owned();
                let notes = prepared.notes.as_ref();
                self.witness.noted(&entry, &prepared.message_id, notes);
                self.die(entry, DeadReason::TooLarge, message, notes);
                continue;
            }
            let failures = entry.failures;
            let mut keys = prepared.custom_keys;
            keys.sort_unstable();
            let item = Item {
                entry,
                name: prepared.name,
                message_id: prepared.message_id,
                json: prepared.json.into(),
                notes: prepared.notes,
                coverage: prepared.coverage,
            };
            if let Kind::Alone { without } = &done.kind {
                let mut batch = self.batch(vec![item], keys.into());
                batch.trial.without = Some(without.clone());
                // Before the other pieces: if it is taken, they need not be split.
                batch.trial.piece = true;
                self.isolation.again(batch);
            } else if failures > 0 {
                let mut batch = self.batch(vec![item], keys.into());
                batch.trial.course = Course::Stubborn;
                batch.trial.backoff.skip(failures);
                let max = self.config.limits().backoff_max;
                let wait = batch.trial.backoff.wait(max, &mut self.rng);
                self.waiting.push(now + wait, batch);
            } else {
                self.ready.push(item, &keys, now);
            }
        }
    }

    /// The next request to leave, if one may. It says when it has left.
    pub fn next(&mut self, now: Instant) -> Option<(Batch, Ticket, Left)> {
        if self.paused.is_some() {
            return None;
        }
        loop {
            let max_in_flight = self.config.limits().max_in_flight;
            let pass = self.gate.pass(now);
            let most = match pass {
                Pass::None => return None,
                Pass::UpTo(most) => most.min(max_in_flight),
                Pass::ProbeBatch | Pass::ProbeEvent => max_in_flight,
            };
            if self.flights.len() >= most || self.pace.next(now) > now {
                return None;
            }
            let batch = match pass {
                Pass::ProbeEvent => self.probe_event(now),
                Pass::ProbeBatch => self.probe_batch(now),
                Pass::UpTo(_) | Pass::None => self.pick(now),
            }?;
            let (horizon, lateness) = (self.horizon(), self.lateness());
            let Some(batch) = self.unexpired(batch, horizon) else {
                continue;
            };
            let Some(mut batch) = self.in_time(batch, lateness) else {
                continue;
            };
            batch.trial.lateness = lateness;
            self.pace.take(now);
            let (sound, is_stubborn) = (self.sound, batch.is_stubborn());
            let left = self.flights.started(now, &batch, sound);
            if is_stubborn {
                self.stubborn.started();
            }
            if batch.trial.piece {
                self.isolation.started();
            }
            batch.trial.tried_at = Some(now);
            batch.trial.sound_left = self.sound;
            self.witness.sending(&batch);
            return Some((batch, self.gate.depart(), left));
        }
    }

    fn pick(&mut self, now: Instant) -> Option<Batch> {
        let max_in_flight = self.config.limits().max_in_flight;
        if let Some(piece) = self.isolation.next(max_in_flight / 2) {
            return Some(self.piece(piece));
        }
        if self.isolation.holds_others() {
            return None;
        }
        let stubborn_too = self.stubborn.may_leave(now, max_in_flight);
        let may = |batch: &Batch| stubborn_too || !batch.is_stubborn();
        self.waiting.due(now, may).or_else(|| self.cut(now))
    }

    /// A whole batch to see whether the destination is well: mostly one of those that failed,
    /// so that few events come into doubt, but every third time a fresh one, for those that
    /// failed may be to blame themselves.
    fn probe_batch(&mut self, now: Instant) -> Option<Batch> {
        self.probes += 1;
        let fresh = self
            .probes
            .is_multiple_of(3)
            .then(|| self.cut(now))
            .flatten();
        fresh
            .or_else(|| self.waiting.least_recent(|b| !b.is_stubborn()))
            .or_else(|| self.cut(now))
            .or_else(|| self.isolation.next(1).map(|piece| self.piece(piece)))
            .or_else(|| self.waiting.due(now, |_| true))
    }

    /// One event alone.
    fn probe_event(&mut self, now: Instant) -> Option<Batch> {
        if let Some((item, keys)) = self.ready.cut_probe() {
            return Some(self.batch(vec![item], keys));
        }
        let mut batch = self
            .waiting
            .least_recent(|_| true)
            .or_else(|| self.isolation.next(1))?;
        if batch.len() > 1 {
            let rest = self.split(&mut batch, 1);
            self.put_back(now, rest);
        }
        Some(batch)
    }

    /// A piece whose turn has come; a batch that was refused whole is halved now.
    fn piece(&mut self, mut batch: Batch) -> Batch {
        if !batch.trial.piece && batch.len() > 1 {
            batch.trial.piece = true;
            let half = batch.len() / 2;
            let second = self.split(&mut batch, half);
            self.isolation.again(second);
        }
        batch
    }

    fn cut(&mut self, now: Instant) -> Option<Batch> {
        let (items, keys) = self
            .ready
            .cut(now, &self.config.batch_limits(), self.flush)?;
        Some(self.batch(items, keys))
    }

    /// Puts a batch back of which nothing was taken and which was not refused. What is
    /// in doubt stays together; the rest gathers anew, under the config of the moment.
    pub(super) fn put_back(&mut self, now: Instant, batch: Batch) {
        let trial = &batch.trial;
        if trial.in_doubt || batch.is_stubborn() {
            self.waiting.push(now, batch);
        } else if trial.generation != self.config.generation() {
            self.prepare(now, batch.into_entries().collect(), Kind::Again);
        } else if trial.piece {
            self.isolation.again(batch);
        } else {
            for item in batch.items.into_iter().rev() {
                self.ready.push_front(item, &batch.keys, now);
            }
        }
    }

    /// Takes back, to be prepared anew, what has such keys, has not left and is not in doubt.
    pub(super) fn recall(&mut self, keys_match: impl Fn(&[String]) -> bool) -> Vec<Entry> {
        let mut again: Vec<Entry> = Vec::new();
        self.ready
            .remove(&keys_match, |_| true, |item| again.push(item.entry));
        let mut stays = |batch: Batch| {
            if batch.trial.in_doubt || !keys_match(&batch.keys) {
                return Some(batch);
            }
            again.extend(batch.into_entries());
            None
        };
        self.waiting.sift(&mut stays);
        self.isolation.sift(stays);
        again
    }

    pub(super) fn batch(&mut self, items: Vec<Item>, keys: Arc<[String]>) -> Batch {
        self.batches += 1;
        let config = &self.config;
        let framing = config.destination.framing;
        let generation = config.generation();
        Batch::new(
            framing,
            self.batches,
            items,
            keys,
            generation,
            config.backoff(),
        )
    }

    /// Cuts off everything from `at` on as a batch of its own.
    pub(super) fn split(&mut self, batch: &mut Batch, at: usize) -> Batch {
        self.batches += 1;
        batch.split_off(at, self.batches, self.config.backoff())
    }

    pub(super) fn die(
        &mut self,
        entry: Entry,
        reason: DeadReason,
        message: String,
        notes: Option<&Notes>,
    ) {
        self.status.dead += 1;
        self.witness.dead(&entry, reason, &message, notes);
        self.settle(entry, Outcome::Dead { reason, message });
    }

    /// One that was made ready dies; what is told of it counts.
    pub(super) fn die_ready(&mut self, item: Item, reason: DeadReason, message: String) {
        let notes = item.notes.as_ref();
        self.witness.noted(&item.entry, &item.message_id, notes);
        self.die(item.entry, reason, message, notes);
    }

    pub(super) fn settle(&mut self, entry: Entry, outcome: Outcome) {
        self.hand.settle(&entry);
        self.out.settle.push(Settlement { entry, outcome });
    }

    /// Remembers the last trouble for `status`.
    pub(super) fn trouble(&mut self, message: String) {
        self.status.last_error = Some(LastError {
            at: self.clock.now(),
            message,
        });
    }

    /// Whether this kind of refusal is to be logged: each once.
    pub(super) fn is_new_kind(&mut self, kind: &str) -> bool {
        self.logged_kinds.len() < LOGGED_KINDS && self.logged_kinds.insert(kind.to_owned())
    }
}
