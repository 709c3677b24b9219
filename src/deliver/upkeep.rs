//! What happens to the state by itself or by the operator: expiry, lateness, reload,
//! what `status` shows.

use std::time::Duration;

use tokio::time::Instant;

use super::age::{Horizon, Lateness};
use super::batch::Batch;
use super::courier::Courier;
use super::gate::View;
use super::messages::Kind;
use super::options::{Limits, OnLate, Pause};
use super::retry::Backoff;
use super::status::{GateState, GateStatus, Reason, Status};
use crate::clock::{Millis, millis};
use crate::queue::{DeadReason, Entry};

/// Between two looks for expired events in hand.
const SWEEP: Duration = Duration::from_secs(30);

impl Courier {
    /// Ends what is too old, also while nothing can be sent.
    pub fn sweep(&mut self, now: Instant) {
        if now < self.swept_at + SWEEP {
            return;
        }
        self.swept_at = now;
        let horizon = self.horizon();
        let mut old: Vec<Entry> = Vec::new();
        self.ready.remove(
            |_| true,
            |item| horizon.passed(&item.entry),
            |item| old.push(item.entry),
        );
        for entry in old {
            self.expired(entry);
        }
        for (due, batch) in self.waiting.take() {
            if let Some(batch) = self.unexpired(batch, horizon) {
                self.waiting.push(due, batch);
            }
        }
        let mut pieces = std::mem::take(&mut self.isolation);
        pieces.sift(|batch| self.unexpired(batch, horizon));
        self.isolation = pieces;
    }

    pub(super) fn horizon(&self) -> Horizon {
        // The time that was judged: a leap may come between a judgement and another look.
        let now = self.trust.believed_reading().map(|now| now.wall);
        Horizon::new(now, self.limits.max_age, self.trust.unproven())
    }

    /// Takes the expired out of a batch; `None` if nothing is left.
    pub(super) fn unexpired(&mut self, batch: Batch, horizon: Horizon) -> Option<Batch> {
        let mut old = Vec::new();
        let left = batch.without(|i| horizon.passed(&i.entry), |i| old.push(i.entry));
        for entry in old {
            self.expired(entry);
        }
        left
    }

    pub(super) fn lateness(&self) -> Lateness {
        Lateness::new(self.clock.now(), self.limits.late_after, &self.trust)
    }

    /// Takes out what is late, if it is not to be sent; `None` if nothing is left. Only what is
    /// about to leave is looked at, so that nothing dies of lateness before a gate that opens
    /// in time.
    pub(super) fn in_time(&mut self, batch: Batch, lateness: Lateness) -> Option<Batch> {
        if self.limits.on_late == OnLate::Deliver {
            return Some(batch);
        }
        let mut late = Vec::new();
        let left = batch.without(|i| lateness.may_die(&i.entry), |i| late.push(i.entry));
        for entry in late {
            let message = "it happened longer ago than delivery.late_after".to_owned();
            self.die(entry, DeadReason::Late, message);
        }
        left
    }

    pub(super) fn expired(&mut self, entry: Entry) {
        let message = "older than delivery.max_age".to_owned();
        self.die(entry, DeadReason::Expired, message);
    }

    /// Goes on under another config: what has not left and is not in doubt is made anew.
    pub fn reload(&mut self, now: Instant, limits: Limits) {
        self.gate.change(limits.backoff_initial, limits.backoff_max);
        self.stubborn_backoff = Backoff::new(limits.backoff_initial, limits.backoff_max);
        let per_second = (self.test).then_some(self.destination.test_calls_per_second);
        self.pace.change(limits.max_calls_per_minute, per_second);
        self.limits = limits;
        self.generation += 1;
        self.config_since = self.clock.now();
        self.strip.forget();
        self.streak.restart();
        let mut again: Vec<Entry> = Vec::new();
        self.ready
            .remove(|_| true, |_| true, |item| again.push(item.entry));
        let mut waiting = Vec::new();
        for (due, batch) in self.waiting.take() {
            if batch.trial.in_doubt {
                waiting.push((due, batch));
            } else {
                again.extend(batch.items.into_iter().map(|item| item.entry));
            }
        }
        for (due, batch) in waiting {
            self.waiting.push(due, batch);
        }
        self.isolation.sift(|batch| {
            if batch.trial.in_doubt {
                return Some(batch);
            }
            again.extend(batch.items.into_iter().map(|item| item.entry));
            None
        });
        self.prepare(now, again, Kind::Again);
        self.gate.retry_now(now);
    }

    /// The operator says that it is mended. `isolate`: every refused event is judged alone and
    /// becomes a dead letter, until one is processed.
    pub fn resume(&mut self, isolate: bool) {
        if isolate {
            self.streak.isolate();
        } else {
            self.streak.restart();
        }
        self.paused = None;
        self.gate.force_open();
    }

    /// When something may be due by itself after `now`.
    pub fn wake(&mut self, now: Instant) -> Instant {
        let candidates = [
            self.ready.next_due(&self.gathering()),
            self.waiting.next_due(now),
            self.gate.wake(),
            self.stubborn_rest,
            Some(self.pace.next(now)),
        ];
        let later = candidates.into_iter().flatten().filter(|at| *at > now);
        later.fold(self.swept_at + SWEEP, Instant::min)
    }

    /// What `status` shows.
    pub fn status(&self, now: Instant) -> Status {
        let wall = self.clock.now();
        let at = |instant: Instant| -> Millis {
            let ahead = millis(instant.saturating_duration_since(now));
            wall + ahead - millis(now.saturating_duration_since(instant))
        };
        let shown = |view: View<'_>| GateStatus {
            state: if view.reason.parks() {
                GateState::Parked
            } else {
                GateState::Shut
            },
            reason: Some(view.reason),
            detail: Some(view.words.to_owned()),
            since: Some(at(view.since)),
            next_probe: Some(at(view.next_probe)),
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
            None => self.gate.view().map(shown).unwrap_or_default(),
        };
        Status {
            gate,
            in_flight: self.in_flight,
            ready: self.ready.len(),
            waiting: self.waiting.events(),
            isolating: self.isolation.events(),
            in_hand: self.hand_events,
            ..self.status.clone()
        }
    }

    /// Why nothing but probes may leave, if so.
    pub fn gate_closed(&self) -> Option<Reason> {
        if self.paused.is_some() {
            return Some(Reason::Paused);
        }
        self.gate.view().map(|view| view.reason)
    }

    /// Whether all that is in hand waits until after `deadline`.
    pub fn idle_until(&self, deadline: Instant) -> bool {
        self.in_flight == 0
            && self.hand_events == self.waiting.events()
            && self.waiting.first_due().is_none_or(|due| due > deadline)
    }
}
