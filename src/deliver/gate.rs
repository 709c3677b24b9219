//! The gate before the destination: open, shut for a while, or parked until a probe gets
//! through. It is about trouble of the destination; what is a batch's own fault is in its trial.
//!
//! Requests are numbered as they leave. Failures count only against the gate as it stood when they
//! left; a sound answer opens it, whoever asked, if its request left after the one whose failure
//! closed it. What a 429 asks for is waited for all the same.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::destination::{Destination, Notice};
use super::failing::Failing;
use super::retry::{Backoff, jitter};
use super::status::Reason;

/// Between probes while everything is refused.
const REFUSED_ALL_PROBE: Duration = Duration::from_secs(60);
/// Longest pause between probes of a credential or a config: recovery has to be prompt.
const PARKED_MAX: Duration = Duration::from_secs(60);
/// Longest wait that an answer may ask for; a larger one is a garbled header.
pub(super) const LIMITED_MAX: Duration = Duration::from_secs(3600);
/// A 429 that asks for less is not specific enough to keep from hammering.
const LIMITED_MIN: Duration = Duration::from_secs(1);
/// Requests in flight right after the gate opened; each sound answer adds one.
const RAMP_START: usize = 2;
/// So many batches that fail by their own fault, one after the other with nothing answered between,
/// are trouble of more than one of them.
const OWN_FAULTS: usize = 3;

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

/// Goes with a request, so that a failure of an older state of the gate cannot change a newer
/// one, and a request that left before the trouble is no witness of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    epoch: u64,
    /// Among all that left, ascending.
    number: u64,
    pub probe: bool,
}

/// A gate that is not open, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub reason: Reason,
    pub message: String,
    pub since: Instant,
    pub next_probe: Instant,
    /// The request whose failure closed it.
    blamed: u64,
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
    /// Requests that have left.
    departed: u64,
    ramp: usize,
    /// What failed since the last sound answer and did not shut it. One batch alone says nothing
    /// about the destination; a second one does.
    failing: Option<Failing>,
    /// Batches that failed by their own fault since the last sound answer.
    own_faults: Vec<u64>,
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
            departed: 0,
            ramp: usize::MAX,
            failing: None,
            own_faults: Vec::new(),
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
        self.departed += 1;
        Ticket {
            epoch: self.epoch,
            number: self.departed,
            probe,
        }
    }

    /// The destination judged the request, whatever the judgement. Says whether trouble is over:
    /// the gate opened, or what was told of an open one has ended.
    pub fn on_judged(&mut self, now: Instant, ticket: Ticket) -> bool {
        let is_current = self.accepts(ticket);
        self.own_faults.clear();
        let failing = self.failing.take().filter(Failing::is_told);
        self.ramp = self.ramp.saturating_add(1);
        if let (true, true, Some(all)) = (is_current, ticket.probe, &mut self.refused_all) {
            all.next_probe = now + REFUSED_ALL_PROBE;
        }
        let opens = |closed: &mut Closed| match closed.reason {
            Reason::RateLimited => now >= closed.next_probe,
            _ => ticket.number > closed.blamed,
        };
        let since = match (self.closed.take_if(opens), failing) {
            (Some(closed), _) => {
                self.reopen();
                closed.since
            }
            (None, Some(failing)) => failing.since,
            (None, None) => return false,
        };
        tracing::info!(
            seconds = now.saturating_duration_since(since).as_secs(),
            "{}",
            (self.destination.notice)(Notice::Answers)
        );
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
    /// no batch can be. One batch failing shuts nothing yet; a probe or a second batch does, for
    /// at least as long as is `asked` for.
    pub fn trouble(
        &mut self,
        now: Instant,
        ticket: Ticket,
        batch: Option<u64>,
        message: &str,
        asked: Duration,
        rng: &mut impl RngExt,
    ) {
        if !self.accepts(ticket) {
            return;
        }
        let failing = self.failing.get_or_insert_with(|| Failing::new(now));
        let second = batch.is_none_or(|batch| failing.fails(batch, message));
        if ticket.probe || second {
            let wait = self.shut_for.wait(Duration::MAX, rng);
            let wait = match asked.min(LIMITED_MAX) {
                Duration::ZERO => wait,
                asked => wait.max(asked + jitter(asked / 10, rng)),
            };
            self.close(Reason::Unavailable, now, wait, message, ticket);
        } else {
            self.watch(now, false);
        }
    }

    /// A batch failed by its own fault, as is known, which says nothing about the destination;
    /// several different ones with nothing answered between do, and are told. The gate stays open.
    pub fn own_fault(&mut self, now: Instant, batch: u64, message: &str) {
        if !self.own_faults.contains(&batch) && self.own_faults.len() < OWN_FAULTS {
            self.own_faults.push(batch);
        }
        if self.own_faults.len() == OWN_FAULTS && self.view().is_none() {
            let failing = self.failing.get_or_insert_with(|| Failing::new(now));
            failing.fails(batch, message);
            self.watch(now, true);
        }
    }

    /// Nothing was answered since a request left at `since`, though it is high time.
    pub fn silence(&mut self, now: Instant, since: Instant, message: &str) {
        if self.view().is_none() {
            let failing = (self.failing).get_or_insert_with(|| Failing::new(since));
            if !failing.is_told() {
                message.clone_into(&mut failing.message);
            }
            self.watch(now, true);
        }
    }

    /// Tells of failures that last, or, where `at_once`, of any.
    pub fn watch(&mut self, now: Instant, at_once: bool) {
        if let Some(failing) = &mut self.failing
            && failing.tell(now, at_once)
        {
            let (reason, message) = (Reason::Unavailable, &failing.message);
            let next_step = (self.destination.next_step)(reason);
            tracing::warn!(reason = reason.name(), "{message}: {next_step}");
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
        self.close(Reason::RateLimited, now, wait, "rate limited (429)", ticket);
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
        self.close(reason, now, wait, message, ticket);
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
                blamed: self.departed,
            });
        }
    }

    /// Whether refused events are to stay queued.
    pub fn refuses_all(&self) -> bool {
        self.refused_all.is_some()
    }

    /// The token or the config changed: what somebody had to mend may be mended, another token may
    /// have calls left, and the network may be reached another way. What is in flight left before
    /// that. `nothing_waits`: there is nothing to try it with, and so nothing in trouble.
    pub fn retry_now(&mut self, now: Instant, nothing_waits: bool) {
        if self.view().is_none() {
            return;
        }
        self.epoch += 1;
        self.probing = false;
        self.shut_for.reset();
        self.parked_for.reset();
        let closed = [self.closed.as_mut(), self.refused_all.as_mut()];
        for closed in closed.into_iter().flatten() {
            closed.next_probe = now;
        }
        if nothing_waits {
            self.force_open();
        } else if let Some(closed) = &self.closed
            && closed.reason == Reason::RateLimited
        {
            self.closed = None;
            self.ramp = RAMP_START;
        }
    }

    /// Nothing waits to be sent. Trouble that would be tried again by now is over; what somebody
    /// has to mend is not.
    pub fn idle(&mut self, now: Instant) {
        self.failing = None;
        self.own_faults.clear();
        let is_over = |closed: &mut Closed| !closed.reason.parks() && now >= closed.next_probe;
        if !self.probing && self.closed.take_if(is_over).is_some() {
            self.reopen();
        }
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

    /// What fails though it is open.
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref().filter(|_| self.view().is_none())
    }

    /// When a probe may leave next, unless one is on its way, or failures are to be told.
    pub fn wake(&self) -> Option<Instant> {
        match self.view() {
            Some(view) => (!self.probing).then_some(view.next_probe),
            None => self.failing.as_ref()?.wake(),
        }
    }

    /// A request did not leave after all: it was no probe.
    pub fn unsent(&mut self, ticket: Ticket) {
        self.accepts(ticket);
    }

    /// Whether an answer is one to the gate as it stands; a probe is over then.
    fn accepts(&mut self, ticket: Ticket) -> bool {
        let is_current = ticket.epoch == self.epoch;
        self.probing &= !(is_current && ticket.probe);
        is_current
    }

    fn close(
        &mut self,
        reason: Reason,
        now: Instant,
        wait: Duration,
        message: &str,
        ticket: Ticket,
    ) {
        let failing = (self.failing.take()).filter(|_| reason == Reason::Unavailable);
        let same = self.closed.as_ref().filter(|c| c.reason == reason);
        let since = match (same, &failing) {
            (Some(closed), _) => closed.since,
            (None, Some(failing)) => failing.since,
            (None, None) => now,
        };
        if same.is_none() && !failing.is_some_and(|failing| failing.is_told()) {
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
            blamed: ticket.number,
        });
    }

    fn reopen(&mut self) {
        self.epoch += 1;
        self.probing = false;
        self.failing = None;
        self.own_faults.clear();
        self.ramp = RAMP_START;
        self.shut_for.reset();
        self.parked_for.reset();
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
