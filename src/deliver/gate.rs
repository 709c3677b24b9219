//! The gate before the destination: open, shut for a while, or parked until a probe gets
//! through. It is about trouble of the destination; what is a batch's own fault is in its trial.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::destination::{Destination, Notice};
use super::retry::{Backoff, jitter};
use super::status::Reason;

/// Between probes while everything is refused.
const REFUSED_ALL_PROBE: Duration = Duration::from_secs(60);
/// Longest pause between probes of a credential or a config: recovery has to be prompt.
const PARKED_MAX: Duration = Duration::from_secs(60);
/// Longest wait that a 429 may ask for; a larger one is a garbled header.
const LIMITED_MAX: Duration = Duration::from_secs(3600);
/// A 429 that asks for less is not specific enough to keep from hammering.
const LIMITED_MIN: Duration = Duration::from_secs(1);
/// Requests in flight right after the gate opened; each sound answer adds one.
const RAMP_START: usize = 2;

/// What may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Nothing.
    None,
    /// One batch, to see whether the destination is well.
    ProbeBatch,
    /// One event alone.
    ProbeEvent,
    /// Batches, while no more than this are in flight.
    UpTo(usize),
}

/// Goes with a request, so that an answer to an older state of the gate cannot change a newer
/// one: a request that left before the trouble is no witness of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    epoch: u64,
    pub probe: bool,
}

/// A gate that is not open, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub reason: Reason,
    pub message: String,
    pub since: Instant,
    pub next_probe: Instant,
}

/// One destination's gate.
#[derive(Debug)]
pub(super) struct Gate {
    destination: &'static Destination,
    closed: Option<Closed>,
    /// Every event is refused alike, which a judged probe does not end.
    refused_all: Option<Closed>,
    probing: bool,
    epoch: u64,
    ramp: usize,
    /// The batch that failed since the last sound answer. One batch alone says nothing about
    /// the destination; a second one does.
    failed: Option<u64>,
    shut_for: Backoff,
    parked_for: Backoff,
}

impl Gate {
    /// Open. Intervals between probes grow from `initial` to `max`.
    pub fn new(destination: &'static Destination, initial: Duration, max: Duration) -> Self {
        Self {
            destination,
            closed: None,
            refused_all: None,
            probing: false,
            epoch: 0,
            ramp: usize::MAX,
            failed: None,
            shut_for: Backoff::new(initial, max),
            parked_for: Backoff::new(initial, max.min(PARKED_MAX)),
        }
    }

    /// What may leave at `now`.
    pub fn pass(&self, now: Instant) -> Pass {
        let Some(view) = self.view() else {
            return Pass::UpTo(self.ramp);
        };
        if self.probing || now < view.next_probe {
            Pass::None
        } else if self.refused_all.is_some() || view.reason.parks() {
            Pass::ProbeEvent
        } else {
            Pass::ProbeBatch
        }
    }

    /// A request leaves.
    pub fn depart(&mut self) -> Ticket {
        let probe = self.view().is_some();
        self.probing |= probe;
        Ticket {
            epoch: self.epoch,
            probe,
        }
    }

    /// The destination judged the request, whatever the judgement. Says whether the gate opened.
    pub fn on_judged(&mut self, now: Instant, ticket: Ticket) -> bool {
        if !self.accepts(ticket) {
            return false;
        }
        self.failed = None;
        self.ramp = self.ramp.saturating_add(1);
        if let (true, Some(all)) = (ticket.probe, &mut self.refused_all) {
            all.next_probe = now + REFUSED_ALL_PROBE;
        }
        let Some(closed) = self.closed.take() else {
            return false;
        };
        tracing::info!(
            reason = closed.reason.name(),
            seconds = now.saturating_duration_since(closed.since).as_secs(),
            "{}",
            (self.destination.notice)(Notice::Answers)
        );
        self.reopen();
        true
    }

    /// The destination took an event: not everything is refused. Says whether that is news.
    pub fn processed(&mut self, now: Instant) -> bool {
        let Some(all) = self.refused_all.take() else {
            return false;
        };
        tracing::info!(
            seconds = now.saturating_duration_since(all.since).as_secs(),
            "{}",
            (self.destination.notice)(Notice::TakesEvents)
        );
        self.reopen();
        true
    }

    /// A request failed without a verdict. `batch`: the one that may be to blame, or `None` if
    /// no batch can be. One batch failing says nothing yet; a probe or a second batch shuts
    /// the gate.
    pub fn trouble(
        &mut self,
        now: Instant,
        ticket: Ticket,
        batch: Option<u64>,
        message: &str,
        rng: &mut impl RngExt,
    ) {
        if !self.accepts(ticket) {
            return;
        }
        let second = self.failed.is_some() && self.failed != batch;
        self.failed = self.failed.or(batch);
        if ticket.probe || second || batch.is_none() {
            let wait = self.shut_for.wait(Duration::MAX, rng);
            self.close(Reason::Unavailable, now, wait, message);
        }
    }

    /// A 429. Waits as long as it asks for, a little spread so that not all wake together.
    pub fn limited(
        &mut self,
        now: Instant,
        ticket: Ticket,
        asked: Option<Duration>,
        rng: &mut impl RngExt,
    ) {
        if !self.accepts(ticket) {
            return;
        }
        let wait = match asked {
            Some(asked) if asked >= LIMITED_MIN => {
                let asked = asked.min(LIMITED_MAX);
                asked + jitter(asked / 10, rng)
            }
            _ => self.shut_for.wait(Duration::MAX, rng),
        };
        self.close(Reason::RateLimited, now, wait, "rate limited (429)");
    }

    /// Trouble with the token, the account or the config.
    pub fn park(
        &mut self,
        now: Instant,
        ticket: Ticket,
        reason: Reason,
        message: &str,
        rng: &mut impl RngExt,
    ) {
        if !self.accepts(ticket) {
            return;
        }
        let wait = self.parked_for.wait(Duration::MAX, rng);
        self.close(reason, now, wait, message);
    }

    /// Everything is refused alike.
    pub fn refuse_all(&mut self, now: Instant, message: &str) {
        if self.refused_all.is_none() {
            let notice = (self.destination.notice)(Notice::RefusesAll(message));
            let next_step = (self.destination.next_step)(Reason::RefusedAll);
            tracing::error!("{notice}; {next_step}");
            self.epoch += 1;
            self.probing = false;
            self.refused_all = Some(Closed {
                reason: Reason::RefusedAll,
                next_probe: now + REFUSED_ALL_PROBE,
                since: now,
                message: message.to_owned(),
            });
        }
    }

    /// Whether refused events are to stay queued.
    pub fn refuses_all(&self) -> bool {
        self.refused_all.is_some()
    }

    /// The token or the config changed: what somebody had to mend may be mended. What is in
    /// flight left before that.
    pub fn retry_now(&mut self, now: Instant) {
        if self.view().is_none() {
            return;
        }
        if let Some(closed) = self.closed.as_mut().filter(|c| c.reason.parks()) {
            closed.next_probe = now;
            self.parked_for.reset();
        }
        if let Some(all) = &mut self.refused_all {
            all.next_probe = now;
        }
        self.epoch += 1;
        self.probing = false;
    }

    /// Opens by the operator's word.
    pub fn force_open(&mut self) {
        self.closed = None;
        self.refused_all = None;
        self.reopen();
    }

    /// Goes on with other intervals.
    pub fn change(&mut self, initial: Duration, max: Duration) {
        self.shut_for = Backoff::new(initial, max);
        self.parked_for = Backoff::new(initial, max.min(PARKED_MAX));
    }

    /// Why it is not open; `None` while it is.
    pub fn view(&self) -> Option<&Closed> {
        // What keeps even a probe from being judged comes first.
        self.closed.as_ref().or(self.refused_all.as_ref())
    }

    /// When a probe may leave next, unless one is on its way.
    pub fn wake(&self) -> Option<Instant> {
        let view = self.view().filter(|_| !self.probing);
        view.map(|view| view.next_probe)
    }

    /// Whether an answer is one to the gate as it stands; a probe is over then.
    fn accepts(&mut self, ticket: Ticket) -> bool {
        let is_current = ticket.epoch == self.epoch;
        self.probing &= !(is_current && ticket.probe);
        is_current
    }

    fn close(&mut self, reason: Reason, now: Instant, wait: Duration, message: &str) {
        let same = self.closed.as_ref().filter(|c| c.reason == reason);
        let since = same.map_or(now, |closed| closed.since);
        if same.is_none() {
            let next_step = (self.destination.next_step)(reason);
            tracing::warn!(reason = reason.name(), "{message}: {next_step}");
        } else {
            tracing::debug!(reason = reason.name(), "a probe failed: {message}");
        }
        self.epoch += 1;
        self.probing = false;
        self.closed = Some(Closed {
            reason,
            next_probe: now + wait,
            since,
            message: message.to_owned(),
        });
    }

    fn reopen(&mut self) {
        self.epoch += 1;
        self.probing = false;
        self.failed = None;
        self.ramp = RAMP_START;
        self.shut_for.reset();
        self.parked_for.reset();
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
