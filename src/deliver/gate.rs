//! The gate before the destination: open, shut for a while, or parked until a probe gets
//! through. Its troubles are the destination's; a batch's own are told in its trial.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::retry::{Backoff, jitter};

/// Between probes while everything is refused.
const REFUSED_ALL_PROBE: Duration = Duration::from_secs(60);
/// Longest pause between probes of a credential or a config: recovery has to be prompt.
const PARKED_MAX: Duration = Duration::from_secs(60);
/// Longest wait that a 429 may ask for; a larger one is a garbled header.
const LIMITED_MAX: Duration = Duration::from_secs(3600);
/// Requests in flight right after the gate opened; each sound answer adds one.
const RAMP_START: usize = 2;

/// Why the gate is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// 5xx, time-outs, broken connections.
    Unavailable,
    /// 429.
    RateLimited,
    /// 401, 403 or 404: the token or the account.
    Auth,
    /// A redirect or an answer that the API does not document.
    Unexpected,
    /// Every event is refused alike: a wrong config or a changed API.
    RefusedAll,
}

impl Reason {
    /// Whether somebody has to act, so that the gate counts as parked and not only shut.
    pub const fn parks(self) -> bool {
        !matches!(self, Self::Unavailable | Self::RateLimited)
    }

    /// What the operator is to do.
    const fn next_step(self) -> &'static str {
        match self {
            Self::Unavailable => "nothing is lost; it is tried again by itself",
            Self::RateLimited => "nothing is lost; lower delivery.max_calls_per_minute if it lasts",
            Self::Auth => {
                "nothing is lost; check the token (pinterest.token_file) and \
                 pinterest.ad_account_id; it is tried again by itself, and at once when the \
                 token changes"
            }
            Self::Unexpected => {
                "nothing is lost; check pinterest.base_url and what stands between here and \
                 Pinterest; it is tried again by itself"
            }
            Self::RefusedAll => {
                "everything stays queued; mend the config and reload; one event a minute is \
                 tried by itself"
            }
        }
    }
}

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

#[derive(Debug)]
struct Closed {
    reason: Reason,
    until: Instant,
    since: Instant,
    words: String,
}

#[derive(Debug)]
struct RefusedAll {
    until: Instant,
    since: Instant,
    words: String,
}

/// What `status` shows of the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View<'a> {
    pub reason: Reason,
    pub words: &'a str,
    pub since: Instant,
    pub next_probe: Instant,
}

/// One destination's gate.
#[derive(Debug)]
pub(super) struct Gate {
    closed: Option<Closed>,
    refused_all: Option<RefusedAll>,
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
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
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
    pub fn leaves(&mut self) -> Ticket {
        let probe = self.view().is_some();
        self.probing |= probe;
        Ticket {
            epoch: self.epoch,
            probe,
        }
    }

    /// Pinterest judged the request, whatever the judgement. Says whether the gate opened.
    pub fn sound(&mut self, now: Instant, ticket: Ticket) -> bool {
        if self.stale(ticket) {
            return false;
        }
        self.failed = None;
        self.ramp = self.ramp.saturating_add(1);
        self.probe_over(ticket);
        if let (true, Some(all)) = (ticket.probe, &mut self.refused_all) {
            all.until = now + REFUSED_ALL_PROBE;
        }
        let Some(closed) = self.closed.take() else {
            return false;
        };
        tracing::info!(
            reason = ?closed.reason,
            seconds = now.saturating_duration_since(closed.since).as_secs(),
            "Pinterest answers again: delivery goes on"
        );
        self.reopen();
        true
    }

    /// Pinterest took an event: not everything is refused. Says whether that is news.
    pub fn processed(&mut self, now: Instant) -> bool {
        let Some(all) = self.refused_all.take() else {
            return false;
        };
        tracing::info!(
            seconds = now.saturating_duration_since(all.since).as_secs(),
            "Pinterest takes events again: delivery goes on"
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
        words: &str,
        rng: &mut impl RngExt,
    ) {
        if self.stale(ticket) {
            return;
        }
        self.probe_over(ticket);
        let second = self.failed.is_some() && self.failed != batch;
        self.failed = self.failed.or(batch);
        if ticket.probe || second || batch.is_none() {
            let wait = self.shut_for.wait(Duration::MAX, rng);
            self.close(Reason::Unavailable, now, wait, words);
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
        if self.stale(ticket) {
            return;
        }
        self.probe_over(ticket);
        let wait = match asked {
            Some(asked) => {
                let asked = asked.min(LIMITED_MAX);
                asked + jitter((asked / 10).max(Duration::from_millis(100)), rng)
            }
            None => self.shut_for.wait(Duration::MAX, rng),
        };
        self.close(Reason::RateLimited, now, wait, "rate limited (429)");
    }

    /// Trouble with the token, the account or the config.
    pub fn park(
        &mut self,
        now: Instant,
        ticket: Ticket,
        reason: Reason,
        words: &str,
        rng: &mut impl RngExt,
    ) {
        if self.stale(ticket) {
            return;
        }
        self.probe_over(ticket);
        let wait = self.parked_for.wait(Duration::MAX, rng);
        self.close(reason, now, wait, words);
    }

    /// Everything is refused alike.
    pub fn refuse_all(&mut self, now: Instant, words: &str) {
        if self.refused_all.is_none() {
            let next_step = Reason::RefusedAll.next_step();
            tracing::error!("Pinterest refuses every event alike: {words}; {next_step}");
            self.epoch += 1;
            self.probing = false;
            self.refused_all = Some(RefusedAll {
                until: now + REFUSED_ALL_PROBE,
                since: now,
                words: words.to_owned(),
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
            closed.until = now;
            self.parked_for.reset();
        }
        if let Some(all) = &mut self.refused_all {
            all.until = now;
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
    pub fn view(&self) -> Option<View<'_>> {
        let closed = self.closed.as_ref().map(|closed| View {
            reason: closed.reason,
            words: &closed.words,
            since: closed.since,
            next_probe: closed.until,
        });
        let all = self.refused_all.as_ref().map(|all| View {
            reason: Reason::RefusedAll,
            words: &all.words,
            since: all.since,
            next_probe: all.until,
        });
        // What keeps even a probe from being judged comes first.
        closed.or(all)
    }

    /// When a probe may leave next, unless one is on its way.
    pub fn wake(&self) -> Option<Instant> {
        let view = self.view().filter(|_| !self.probing);
        view.map(|view| view.next_probe)
    }

    fn stale(&self, ticket: Ticket) -> bool {
        ticket.epoch != self.epoch
    }

    fn probe_over(&mut self, ticket: Ticket) {
        self.probing &= !ticket.probe;
    }

    fn close(&mut self, reason: Reason, now: Instant, wait: Duration, words: &str) {
        let same = self.closed.as_ref().filter(|c| c.reason == reason);
        let since = same.map_or(now, |closed| closed.since);
        if same.is_none() {
            tracing::warn!(?reason, "{words}: {}", reason.next_step());
        } else {
            tracing::debug!(?reason, "a probe failed: {words}");
        }
        self.epoch += 1;
        self.probing = false;
        self.closed = Some(Closed {
            reason,
            until: now + wait,
            since,
            words: words.to_owned(),
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
mod tests {
    use super::super::fixture;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate() -> Gate {
        Gate::new(SECOND, 300 * SECOND)
    }

    #[test]
    fn one_failing_batch_shuts_nothing_two_do_and_the_rest_add_nothing() {
        let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
        let tickets: Vec<Ticket> = (0..20).map(|_| gate.leaves()).collect();
        gate.trouble(now, tickets[0], Some(1), "503", &mut rng);
        gate.trouble(now, tickets[1], Some(1), "503", &mut rng);
        assert_eq!(gate.pass(now), Pass::UpTo(usize::MAX));
        gate.trouble(now, tickets[2], Some(2), "503", &mut rng);
        let first = gate.view().unwrap().next_probe;
        assert!(first <= now + SECOND);
        for (id, ticket) in tickets.iter().enumerate().skip(3) {
            gate.trouble(now, *ticket, Some(id as u64), "503", &mut rng);
        }
        assert_eq!(gate.view().unwrap().next_probe, first);
        assert_eq!(gate.pass(first), Pass::ProbeBatch);
    }

    #[test]
    fn a_sound_answer_between_clears_the_suspicion() {
        let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
        for batch in 0..50 {
            let ticket = gate.leaves();
            gate.trouble(now, ticket, Some(batch), "503", &mut rng);
            let ticket = gate.leaves();
            gate.sound(now, ticket);
        }
        assert!(gate.view().is_none());
    }

    #[test]
    fn probes_go_one_at_a_time_at_growing_intervals_and_the_opening_is_gentle() {
        let (mut gate, mut now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
        for batch in 1..=2 {
            let ticket = gate.leaves();
            gate.trouble(now, ticket, Some(batch), "time-out", &mut rng);
        }
        let mut longest = Duration::ZERO;
        for level in 1..=12u32 {
            now = gate.wake().unwrap();
            assert_eq!(gate.pass(now), Pass::ProbeBatch);
            let ticket = gate.leaves();
            assert_eq!(
                gate.pass(now + 1000 * SECOND),
                Pass::None,
                "one is on its way"
            );
            gate.trouble(now, ticket, Some(1), "time-out", &mut rng);
            let wait = gate.wake().unwrap() - now;
            assert!(wait <= SECOND * 2u32.pow(level).min(300));
            longest = longest.max(wait);
        }
        assert!(
            longest > 60 * SECOND,
            "it grows beyond a minute: {longest:?}"
        );
        now = gate.wake().unwrap();
        let ticket = gate.leaves();
        assert!(gate.sound(now, ticket));
        assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START));
        let ticket = gate.leaves();
        gate.sound(now, ticket);
        assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START + 1));
    }

    #[test]
    fn an_answer_from_before_the_trouble_opens_nothing() {
        let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
        let (early, late) = (gate.leaves(), gate.leaves());
        gate.park(now, early, Reason::Auth, "401", &mut rng);
        assert!(!gate.sound(now, late));
        assert_eq!(gate.view().unwrap().reason, Reason::Auth);
    }

    #[test]
    fn a_parked_credential_is_probed_within_a_minute_and_at_once_when_it_changes() {
        let (mut gate, mut now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
        let ticket = gate.leaves();
        gate.park(now, ticket, Reason::Auth, "401", &mut rng);
        for _ in 0..20 {
            let next = gate.wake().unwrap();
            assert!(next <= now + PARKED_MAX);
            now = next;
            assert_eq!(gate.pass(now), Pass::ProbeEvent);
            let ticket = gate.leaves();
            gate.park(now, ticket, Reason::Auth, "401", &mut rng);
        }
        gate.retry_now(now);
        assert_eq!(gate.pass(now), Pass::ProbeEvent);
    }

    #[test]
    fn a_429_waits_at_least_as_long_as_it_asks() {
        for seed in 0..50 {
            let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(seed));
            let ticket = gate.leaves();
            gate.limited(now, ticket, Some(10 * SECOND), &mut rng);
            let wake = gate.wake().unwrap();
            assert!(wake >= now + 10 * SECOND && wake <= now + 11 * SECOND);
        }
    }

    #[test]
    fn refused_all_ends_with_a_processed_event_and_not_with_an_answer() {
        let (mut gate, now) = (gate(), Instant::now());
        gate.refuse_all(now, "no");
        assert_eq!(gate.pass(now + 59 * SECOND), Pass::None);
        let now = now + 60 * SECOND;
        assert_eq!(gate.pass(now), Pass::ProbeEvent);
        let ticket = gate.leaves();
        assert!(!gate.sound(now, ticket));
        assert_eq!(gate.wake(), Some(now + 60 * SECOND));
        gate.retry_now(now);
        assert_eq!(gate.pass(now), Pass::ProbeEvent);
        let ticket = gate.leaves();
        gate.sound(now, ticket);
        assert!(gate.processed(now));
        assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START));
    }

    #[test]
    fn a_dead_destination_under_refused_all_is_probed_with_one_event_too() {
        let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(5));
        gate.refuse_all(now, "no");
        let ticket = gate.leaves();
        gate.trouble(now, ticket, Some(1), "503", &mut rng);
        assert_eq!(gate.view().unwrap().reason, Reason::Unavailable);
        let now = gate.wake().unwrap();
        assert_eq!(gate.pass(now), Pass::ProbeEvent);
        let ticket = gate.leaves();
        gate.sound(now, ticket);
        assert!(gate.refuses_all());
    }
}
