//! What happens to the state by itself or by the operator: expiry, lateness, reload,
//! what `status` shows.

use std::time::Duration;

use tokio::time::Instant;

use super::state::Courier;
use crate::deliver::age::{Horizon, Lateness};
use crate::deliver::batch::Batch;
use crate::deliver::destination::Notice;
use crate::deliver::failing::Failing;
use crate::deliver::gate::Closed;
use crate::deliver::messages::Kind;
use crate::deliver::options::{Limits, OnLate, Pause};
use crate::deliver::recall::Alike;
use crate::deliver::status::{GateState, GateStatus, Reason, Status};
use crate::deliver::streak::LIMIT;
use crate::queue::{DeadReason, Entry};

/// Between two looks for expired events in hand.
const SWEEP: Duration = Duration::from_secs(30);

impl Courier {
    /// Ends what is too old, also while nothing can be sent. Says whether it was time for that.
    pub fn sweep(&mut self, now: Instant) -> bool {
        if now < self.swept_at + SWEEP {
            return false;
        }
        self.swept_at = now;
        let horizon = self.horizon();
        let mut old: Vec<Entry> = Vec::new();
        self.ready.remove(
            |_| true,
            |item| horizon.passed(&item.entry),
            |item| old.push(item.entry),
        );
        self.expired(old);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sift(|batch| self.unexpired(batch, horizon));
        self.waiting = waiting;
        let mut pieces = std::mem::take(&mut self.isolation);
        pieces.sift(|batch| self.unexpired(batch, horizon));
        self.isolation = pieces;
        true
    }

    pub(super) fn horizon(&self) -> Horizon {
        // The time that was judged: a leap may come between a judgement and another look.
        let now = self.trust.believed_reading().map(|now| now.wall);
        Horizon::new(now, self.config.limits().max_age, self.trust.unproven())
    }

    /// Takes the expired out of a batch; `None` if nothing is left.
    pub(super) fn unexpired(&mut self, batch: Batch, horizon: Horizon) -> Option<Batch> {
        let mut old = Vec::new();
        let left = batch.without(|i| horizon.passed(&i.entry), |i| old.push(i.entry));
        self.expired(old);
        left
    }

    pub(super) fn lateness(&self) -> Lateness {
        let late_after = self.config.limits().late_after;
        Lateness::new(self.clock.now(), late_after, &self.trust)
    }

    /// Takes out what is late, if it is not to be sent; `None` if nothing is left. Only what is
    /// about to leave is looked at, so that nothing dies of lateness before a gate that opens
    /// in time.
    pub(super) fn in_time(&mut self, batch: Batch, lateness: Lateness) -> Option<Batch> {
        if self.config.limits().on_late == OnLate::Deliver {
            return Some(batch);
        }
        let mut late = Vec::new();
        let left = batch.without(|i| lateness.may_die(&i.entry), |i| late.push(i));
        for item in late {
            let message = "it happened longer ago than delivery.late_after".to_owned();
            self.die_ready(item, DeadReason::Late, message);
        }
        left
    }

    pub(super) fn expired(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let message = "older than delivery.max_age".to_owned();
            self.die(entry, DeadReason::Expired, message, None);
        }
    }

    /// Goes on under another config: what has not left and is not in doubt is made anew.
    pub fn reload(&mut self, now: Instant, limits: Limits) {
        self.gate.change(limits.backoff_initial, limits.backoff_max);
        let per_second = self.config.calls_per_second();
        self.pace.change(limits.max_calls_per_minute, per_second);
        self.config.reload(limits, self.clock.now());
        self.stubborn.change(self.config.backoff());
        self.strip.forget();
        self.streak.restart();
        let again = self.recall(|_| true);
        self.prepare(now, again, Kind::Again);
        self.retry_now(now);
    }

    /// The shared token was swapped: what is parked is tried at once.
    pub fn token_changed(&mut self, now: Instant) {
        self.retry_now(now);
    }

    fn retry_now(&mut self, now: Instant) {
        self.pace.forget_headers();
        if self.gate.failing().is_some() {
            self.waiting.recover(now);
        }
        self.gate.retry_now(now, self.hand.events() == 0);
    }

    /// The operator's pause begins or, with `None`, has ended by itself.
    pub fn pause(&mut self, pause: Option<Pause>) {
        self.paused = pause;
    }

    /// A drain has begun: nothing lingers from here on.
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// Nothing more will happen.
    pub fn stop(&mut self, why: String) {
        self.status.stopped = Some(why);
    }

    /// The operator says that it is mended. `isolate`: every refused event is judged alone and
    /// becomes a dead letter, until one is processed.
    pub fn resume(&mut self, now: Instant, isolate: bool) {
        if isolate {
            self.streak.isolate();
        } else {
            self.streak.restart();
        }
        self.paused = None;
        self.pace.forget_headers();
        self.waiting.recover(now);
        self.gate.force_open();
    }

    /// What died of refusals before this turn, and since an event was delivered. Gives the messages
    /// whose letters are as many as a refusal of everything leaves: it may have ended in the middle
    /// of their coming back.
    pub fn remember(&mut self, alike: Alike) -> Vec<String> {
        alike
            .names
            .into_iter()
            .for_each(|name| self.streak.remember_name(name));
        let mut recall = Vec::new();
        for (message, died) in alike.counts {
            self.streak.remember(&message, died);
            if died >= LIMIT - 1 {
                recall.push(message);
            }
        }
        recall
    }

    /// Trouble that shows by time alone: requests that nobody answers, failures that last, and
    /// none where nothing waits any more.
    pub fn look(&mut self, now: Instant) {
        if let Some(since) = self.flights.silent_since(now, self.sound) {
            let seconds = now.saturating_duration_since(since).as_secs();
            self.gate
                .silence(now, since, &format!("no answer for {seconds} s"));
        }
        match self.hand.events() {
            0 => self.gate.idle(now),
            _ => self.gate.watch(now, false),
        }
    }

    /// When something may be due by itself after `now`.
    pub fn wake(&mut self, now: Instant) -> Instant {
        let candidates = [
            self.ready.next_due(&self.config.batch_limits()),
            self.waiting.next_due(now),
            self.gate.wake(),
            self.flights.wake(now, self.sound),
            self.stubborn.wake(),
            Some(self.pace.next(now)),
        ];
        let later = candidates.into_iter().flatten().filter(|at| *at > now);
        later.fold(self.swept_at + SWEEP, Instant::min)
    }

    /// What `status` shows.
    pub fn status(&mut self, now: Instant) -> Status {
        // What is past was past before it was asked for.
        self.look(now);
        let this = &*self;
        let at = |instant: Instant| this.wall(now, instant);
        let shown = |view: &Closed| GateStatus {
            state: if view.reason.parks() {
                GateState::Parked
            } else {
                GateState::Shut
            },
            reason: Some(view.reason),
            detail: Some(view.message.clone()),
            since: Some(at(view.since)),
            next_probe: Some(at(view.next_probe)),
            until: (view.reason == Reason::RateLimited).then(|| at(view.next_probe)),
        };
        let held = |(since, until): (Instant, Instant)| GateStatus {
            state: GateState::Shut,
            reason: Some(Reason::RateLimited),
            detail: Some((self.config.destination.notice)(Notice::NoCallsLeft)),
            since: Some(at(since)),
            next_probe: Some(at(until)),
            until: Some(at(until)),
        };
        let failing = |failing: &Failing| GateStatus {
            // One batch that fails holds nobody up; when that lasts, it is an outage to whoever
            // looks.
            state: match failing.is_told() {
                true => GateState::Shut,
                false => GateState::Open,
            },
            reason: Some(Reason::Unavailable),
            detail: Some(failing.message.clone()),
            since: Some(at(failing.since)),
            next_probe: self.waiting.first_due().map(|due| at(due.max(now))),
            until: None,
        };
        let paused = |pause: &Pause| GateStatus {
            state: GateState::Paused,
            reason: Some(Reason::Paused),
            detail: pause.reason.clone(),
            since: Some(pause.since),
            next_probe: None,
            until: pause.until,
        };
        let gate = match &self.paused {
            Some(pause) => paused(pause),
            None => (self.gate.view().map(shown))
                .or_else(|| self.pace.held(now).map(held))
                .or_else(|| self.gate.failing().map(failing))
                .unwrap_or_default(),
        };
        Status {
            gate,
            in_flight: self.flights.len(),
            calls_per_minute: self.pace.per_minute(),
            ready: self.ready.len(),
            waiting: self.waiting.events(),
            isolating: self.isolation.events(),
            in_hand: self.hand.events(),
            ..self.status.clone()
        }
    }

    /// Whether nothing can be delivered until `deadline`, as far as is known.
    pub fn is_closed_until(&self, now: Instant, deadline: Instant) -> bool {
        let outlasts = |until: Instant| until > deadline;
        let gate = |view: &Closed| match view.reason {
            // Its end is known.
            Reason::RateLimited => outlasts(view.next_probe),
            _ => true,
        };
        let held = |(_, until)| outlasts(until);
        self.paused.is_some()
            || self.gate.view().is_some_and(gate)
            || self.pace.held(now).is_some_and(held)
    }

    /// Why nothing but probes may leave, if so.
    pub(super) fn gate_closed(&self) -> Option<Reason> {
        if self.paused.is_some() {
            return Some(Reason::Paused);
        }
        self.gate.view().map(|view| view.reason)
    }

    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Events claimed and not settled.
    pub fn in_hand(&self) -> usize {
        self.hand.events()
    }

    /// Whether all that is in hand waits until after `deadline`.
    pub fn idle_until(&self, deadline: Instant) -> bool {
        self.flights.len() == 0
            && self.hand.events() == self.waiting.events()
            && self.waiting.first_due().is_none_or(|due| due > deadline)
    }
}
