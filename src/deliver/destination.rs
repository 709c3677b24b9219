//! The seam to the destination: what the generic part needs to know of it, what carries a
//! request, and what comes back. One destination per daemon, for an event has one settlement.

use std::time::Duration;

use bytes::Bytes;

use super::judgement::Judgement;
use super::status::Reason;
use crate::clock::Millis;

/// What there is to know of where events go. Pure.
#[derive(Debug)]
pub(super) struct Destination {
    pub framing: Framing,
    /// Events that a request of test mode may hold.
    pub test_batch_events: usize,
    /// Calls per second in test mode.
    pub test_calls_per_second: f64,
    /// Judges the answer to a request of so many events.
    pub judge: fn(&Reply, usize) -> Judgement,
    /// Which of a request's custom keys a refusal's message is about.
    pub refused_keys: fn(&str, &[String]) -> Vec<String>,
    /// Whether a refusal's message says that this event name of the shop's own is the fault.
    pub blames_name: fn(&str, &str) -> bool,
    /// What the operator reads of it.
    pub notice: fn(Notice<'_>) -> String,
    /// What the operator is to do about a gate that is not open.
    pub next_step: fn(Reason) -> &'static str,
}

/// What stands around and between the events of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    pub head: &'static [u8],
    pub tail: &'static [u8],
}

impl Framing {
    /// Bytes of a body around and between `events` events, with a comma between two.
    pub const fn bytes(&self, events: usize) -> usize {
        self.head.len() + self.tail.len() + events.saturating_sub(1)
    }
}

/// What is worth a word to the operator. Messages are normalised.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice<'a> {
    /// It answers again.
    Answers,
    /// The headers of its answers leave no calls for a while.
    NoCallsLeft,
    /// It takes events again.
    TakesEvents,
    /// It refuses every event alike, with this message.
    RefusesAll(&'a str),
    /// It refuses events of this name.
    RefusesName(&'a str),
    /// It refused an event, with this message.
    RefusedEvent(&'a str),
    /// It refuses this custom property.
    RefusesKey(&'a str),
}

/// Carries one request.
pub(super) trait Transport: Send + Sync + 'static {
    /// Sends a body once; never follows a redirect, never tries again by itself. `anew`: nothing of
    /// what was known of the way there is used.
    fn send(&self, body: Bytes, anew: bool) -> impl Future<Output = Result<Reply, NoReply>> + Send;

    /// Has the way there made anew, without a request; tells where that fails.
    fn renew(&self) -> impl Future<Output = ()> + Send;
}

/// An HTTP answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub signals: Signals,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoReply {
    /// No connection: nothing has left this machine.
    NotSent(String),
    /// It may have arrived.
    Unknown(String),
}

/// What an answer's headers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signals {
    /// The destination's wall clock.
    pub date: Option<Millis>,
    /// How long to wait before the next call.
    pub retry_after: Option<Duration>,
    /// Calls a minute that the account may make.
    pub per_minute: Option<u32>,
    /// Calls left before the limit starts anew.
    pub remaining: Option<u64>,
    /// Until it does.
    pub reset: Option<Duration>,
}
