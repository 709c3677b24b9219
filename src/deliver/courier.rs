//! The state of the delivery side and what is to leave next. No I/O and no waiting: the loop
//! in `run` carries out what stands in the outbox.

use std::collections::HashSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use tokio::time::Instant;

use super::batch::Batch;
use super::destination::Destination;
use super::gate::{Gate, Pass, Ticket};
use super::isolate::Isolation;
use super::item::{Item, StrippedKeys};
use super::messages::{Done, Job, Kind};
use super::options::{Limits, Pause, Surroundings};
use super::pace::Pace;
use super::ready::{BatchLimits, Ready};
use super::retry::Backoff;
use super::status::{LastError, Status};
use super::streak::Streak;
use super::strip::Strip;
use super::waiting::Waiting;
use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
use crate::queue::{DeadReason, Entry, EntryId, Outcome, Settlement};

/// Bodies in hand at most; their JSON is held beside them.
const HAND_BYTES: usize = 32 << 20;
/// Full batches on their way to a slot, so that none waits for a claim. More would lie in memory
/// and grow cold there.
const SPARE_BATCHES: usize = 4;
/// Bytes of one claim at most.
const CLAIM_BYTES: usize = 4 << 20;
/// How many kinds of refusal are told, each once.
const TOLD: usize = 256;

/// What the loop has to carry out, in this order, before the next request leaves.
#[derive(Default)]
pub(super) struct Outbox {
    pub doubt: Vec<EntryId>,
    pub release: Vec<EntryId>,
    pub settle: Vec<Settlement>,
    pub prepare: Vec<Job>,
}

/// Everything the delivery side knows.
///
/// Invariant: every event in hand is in exactly one place: a job of the preparer, `ready`,
/// `waiting`, `isolation`, or a request in flight. It leaves the hand by a settlement alone.
pub(super) struct Courier {
    pub(super) destination: &'static Destination,
    pub(super) limits: Limits,
    pub(super) test: bool,
    pub(super) rng: StdRng,
    pub(super) clock: Clock,
    pub(super) trust: WallTrust,
    pub(super) observer: Observer,
    pub(super) ready: Ready,
    pub(super) waiting: Waiting,
    pub(super) isolation: Isolation,
    pub(super) gate: Gate,
    /// The operator's pause: nothing leaves, not even a probe.
    pub(super) paused: Option<Pause>,
    pub(super) pace: Pace,
    pub(super) streak: Streak,
    pub(super) strip: Strip,
    pub(super) in_flight: usize,
    pub(super) stubborn_in_flight: usize,
    /// Until then no stubborn batch leaves, and then one at a time: the last one failed too, and
    /// nothing was answered since. Their failures do not shut the gate, and without this they
    /// would hammer where nothing else is left to be sent.
    pub(super) stubborn_rest: Option<Instant>,
    pub(super) stubborn_backoff: Backoff,
    pub(super) hand_events: usize,
    pub(super) hand_bytes: usize,
    /// Events with the transform.
    preparing: usize,
    pub(super) generation: u64,
    /// Sound answers so far.
    pub(super) sound: u64,
    /// Draining: nothing lingers.
    pub(super) flush: bool,
    pub(super) config_since: i64,
    pub(super) told: HashSet<String>,
    pub(super) status: Status,
    pub(super) out: Outbox,
    batches: u64,
    probes: u64,
    pub(super) swept_at: Instant,
}

impl Courier {
    pub fn new(
        destination: &'static Destination,
        limits: Limits,
        test: bool,
        rng: StdRng,
        around: Surroundings,
        now: Instant,
    ) -> Self {
        let Surroundings {
            clock,
            trust,
            observer,
        } = around;
        let per_second = test.then_some(destination.test_calls_per_second);
        Self {
            destination,
            gate: Gate::new(destination, limits.backoff_initial, limits.backoff_max),
            stubborn_backoff: Backoff::new(limits.backoff_initial, limits.backoff_max),
            pace: Pace::new(limits.max_calls_per_minute, per_second, now),
            paused: None,
            config_since: clock.now(),
            limits,
            test,
            rng,
            clock,
            trust,
            observer,
            ready: Ready::default(),
            waiting: Waiting::default(),
            isolation: Isolation::default(),
            streak: Streak::default(),
            strip: Strip::default(),
            in_flight: 0,
            stubborn_in_flight: 0,
            stubborn_rest: None,
            hand_events: 0,
            hand_bytes: 0,
            preparing: 0,
            generation: 0,
            sound: 0,
            flush: false,
            told: HashSet::new(),
            status: Status::default(),
            out: Outbox::default(),
            batches: 0,
            probes: 0,
            swept_at: now,
        }
    }

    /// How much to claim now, in events and bytes; `None`: nothing.
    pub fn room(&self) -> Option<(usize, usize)> {
        // Before a gate that is not open a few batches are enough for its probes; the rest waits
        // on disk instead of in memory.
        let open = self.gate_closed().is_none();
        let batches = if open { self.limits.max_in_flight } else { 0 } + SPARE_BATCHES;
        let most = batches * self.batch_events();
        let mut held = self.hand_events;
        if held >= most {
            // Events that keep failing alone must not keep the others out.
            held -= self.waiting.iter().filter(|b| b.trial.stubborn).count();
        }
        // Those that gather and have not filled a batch yet must not keep others out.
        let coming = self.preparing + self.ready.in_full_batches(&self.gathering());
        let spare = (SPARE_BATCHES * self.batch_events()).saturating_sub(coming);
        let events = most
            .saturating_sub(held)
            .min(spare)
            .min(self.batch_events());
        let bytes = HAND_BYTES.saturating_sub(self.hand_bytes).min(CLAIM_BYTES);
        (events > 0 && bytes > 0).then_some((events, bytes))
    }

    /// Takes what was claimed.
    pub fn claimed(&mut self, now: Instant, entries: Vec<Entry>) {
        self.hand_events += entries.len();
        self.hand_bytes += entries.iter().map(|e| e.body.len()).sum::<usize>();
        let horizon = self.horizon();
        let (old, young): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| horizon.passed(e));
        for entry in old {
            self.expired(entry);
        }
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
        self.preparing += entries.len();
        self.out.prepare.push(Job {
            entries,
            strip,
            kind,
            generation: self.generation,
        });
    }

    /// Takes what was prepared.
    pub fn prepared(&mut self, now: Instant, done: Done) {
        self.preparing -= done.results.len();
        for (key, count) in done.strip.counts() {
            if count > 0 {
                *self.status.stripped.entry(key.to_owned()).or_default() += count;
            }
        }
        if done.generation != self.generation {
            // The config changed meanwhile.
            let entries = done.results.into_iter().map(|(entry, _)| entry);
            return self.prepare(now, entries.collect(), Kind::Again);
        }
        for (entry, result) in done.results {
            let prepared = match result {
                Ok(prepared) => prepared,
                Err(dead) => {
                    self.die(entry, dead.reason, dead.message);
                    continue;
                }
            };
            if prepared.json.len() + self.destination.framing.bytes(1) > self.limits.max_batch_bytes
            {
                let message = "alone it is larger than delivery.max_batch_bytes".to_owned();
                self.die(entry, DeadReason::TooLarge, message);
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
            };
            if let Kind::Alone { without } = &done.kind {
                let mut batch = self.batch(vec![item], keys.into());
                batch.trial.without = Some(without.clone());
                // Before the other pieces: if it is taken, they need not be split.
                batch.trial.piece = true;
                self.isolation.again(batch);
            } else if failures > 0 {
                let mut batch = self.batch(vec![item], keys.into());
                batch.trial.stubborn = true;
                batch.trial.backoff.skip(failures);
                let max = self.limits.backoff_max;
                let wait = batch.trial.backoff.wait(max, &mut self.rng);
                self.waiting.push(now + wait, batch);
            } else {
                self.ready.push(item, &keys, now);
            }
        }
    }

    /// The next request to leave, if one may.
    pub fn next(&mut self, now: Instant) -> Option<(Batch, Ticket)> {
        if self.paused.is_some() {
            return None;
        }
        loop {
            let pass = self.gate.pass(now);
            let most = match pass {
                Pass::None => return None,
                Pass::UpTo(most) => most.min(self.limits.max_in_flight),
                Pass::ProbeBatch | Pass::ProbeEvent => self.limits.max_in_flight,
            };
            if self.in_flight >= most || self.pace.next(now) > now {
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
            self.in_flight += 1;
            self.stubborn_in_flight += usize::from(batch.trial.stubborn);
            if batch.trial.piece {
                self.isolation.leaves();
            }
            batch.trial.tried_at = Some(now);
            batch.trial.sound_left = self.sound;
            self.tell_sending(&batch);
            return Some((batch, self.gate.leaves()));
        }
    }

    fn pick(&mut self, now: Instant) -> Option<Batch> {
        if let Some(piece) = self.isolation.next(self.limits.max_in_flight / 2) {
            return Some(self.piece(piece));
        }
        if self.isolation.holds_others() {
            return None;
        }
        let slots = match self.stubborn_rest {
            None => (self.limits.max_in_flight / 4).max(1),
            Some(until) => usize::from(now >= until),
        };
        let stubborn_too = self.stubborn_in_flight < slots;
        let may = |batch: &Batch| stubborn_too || !batch.trial.stubborn;
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
            .or_else(|| self.waiting.turn(|batch| !batch.trial.stubborn))
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
            .turn(|_| true)
            .or_else(|| self.isolation.next(1))?;
        if batch.len() > 1 {
            let (id, backoff) = (self.batch_id(), self.backoff());
            let rest = batch.split_off(1, id, backoff);
            self.keep(now, rest);
        }
        Some(batch)
    }

    /// A piece whose turn has come; a batch that was refused whole is halved now.
    fn piece(&mut self, mut batch: Batch) -> Batch {
        if !batch.trial.piece && batch.len() > 1 {
            batch.trial.piece = true;
            let (id, backoff) = (self.batch_id(), self.backoff());
            let second = batch.split_off(batch.len() / 2, id, backoff);
            self.isolation.again(second);
        }
        batch
    }

    fn cut(&mut self, now: Instant) -> Option<Batch> {
        let (items, keys) = self.ready.cut(now, &self.gathering(), self.flush)?;
        Some(self.batch(items, keys))
    }

    /// Puts a batch back of which nothing was taken and which it did not refuse. What is
    /// in doubt stays together; the rest gathers anew, under the config of the moment.
    pub(super) fn keep(&mut self, now: Instant, batch: Batch) {
        let trial = &batch.trial;
        if trial.in_doubt || trial.stubborn {
            self.waiting.push(now, batch);
        } else if trial.generation != self.generation {
            let entries = batch.items.into_iter().map(|item| item.entry);
            self.prepare(now, entries.collect(), Kind::Again);
        } else if trial.piece {
            self.isolation.again(batch);
        } else {
            for item in batch.items.into_iter().rev() {
                self.ready.push_front(item, &batch.keys, now);
            }
        }
    }

    pub(super) fn batch(&mut self, items: Vec<Item>, keys: Arc<[String]>) -> Batch {
        let (id, backoff) = (self.batch_id(), self.backoff());
        Batch::new(
            self.destination.framing,
            id,
            items,
            keys,
            self.generation,
            backoff,
        )
    }

    pub(super) fn batch_id(&mut self) -> u64 {
        self.batches += 1;
        self.batches
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.limits.backoff_initial, self.limits.backoff_max)
    }

    fn batch_events(&self) -> usize {
        let most = if self.test {
            self.destination.test_batch_events
        } else {
            usize::MAX
        };
        self.limits.max_batch_events.min(most)
    }

    pub(super) fn gathering(&self) -> BatchLimits {
        BatchLimits {
            events: self.batch_events(),
            bytes: self.limits.max_batch_bytes,
            linger: self.limits.linger,
            framing: self.destination.framing,
        }
    }

    pub(super) fn die(&mut self, entry: Entry, reason: DeadReason, message: String) {
        self.status.dead += 1;
        self.tell_dead(&entry, reason, &message);
        self.settle(entry, Outcome::Dead { reason, message });
    }

    pub(super) fn settle(&mut self, entry: Entry, outcome: Outcome) {
        self.hand_events -= 1;
        self.hand_bytes -= entry.body.len();
        self.out.settle.push(Settlement { entry, outcome });
    }

    /// Remembers the last trouble for `status`.
    pub(super) fn trouble(&mut self, words: String) {
        let at = self.clock.now();
        self.status.last_error = Some(LastError { at, words });
    }

    /// Whether this kind of thing is told for the first time.
    pub(super) fn tell_once(&mut self, kind: &str) -> bool {
        self.told.len() < TOLD && self.told.insert(kind.to_owned())
    }
}
