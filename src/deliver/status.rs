//! What the delivery side shows of itself. No personal data and no token in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A snapshot of the delivery side; counts run since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The gate before the destination.
    pub gate: GateStatus,
    /// Somebody else has the turn to deliver: nothing is in hand here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub standing_by: bool,
    /// Calls a minute that may be made now, by the config and what the destination's headers said
    /// last; 0: no limit.
    pub calls_per_minute: u32,
    /// Requests whose answer is awaited.
    pub in_flight: usize,
    /// Events that gather for a batch.
    pub ready: usize,
    /// Events in batches that wait for another attempt.
    pub waiting: usize,
    /// Events in refused batches that are being split.
    pub isolating: usize,
    /// Events claimed and not settled, the above included.
    pub in_hand: usize,
    /// The last trouble.
    pub last_error: Option<LastError>,
    /// Events answered `processed`.
    pub delivered: u64,
    /// Of these, later than `delivery.late_after` when they left: to Pinterest they are offline
    /// events, which it does not deduplicate against the Tag.
    pub late: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events that were deferred because they keep failing alone.
    #[serde(rename = "set_apart")]
    pub deferred: u64,
    /// Answers by class.
    pub requests: Requests,
    /// Warnings on processed events, by kind.
    pub warnings: BTreeMap<String, u64>,
    /// Custom properties left out because they are refused, by key.
    pub stripped: BTreeMap<String, u64>,
    /// Why the delivery side has stopped by itself, if it has.
    pub stopped: Option<String>,
}

/// The gate's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// Open, shut for a while, parked, or paused.
    pub state: GateState,
    /// Why it is not open. Of one that is open: what the last attempts failed of, with nothing
    /// answered since.
    pub reason: Option<Reason>,
    /// The destination's words, without values; the operator's, if it is paused.
    pub detail: Option<String>,
    /// Since when it is so, from the first failure on; wall-clock milliseconds.
    pub since: Option<Millis>,
    /// When the next probe leaves, or the next try of what failed; wall-clock milliseconds.
    pub next_probe: Option<Millis>,
    /// When a pause or a wait for calls ends by itself, wall-clock milliseconds.
    pub until: Option<Millis>,
}

/// How the gate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Everything may leave.
    #[default]
    Open,
    /// It opens by itself, when the destination is well or the wait is over. Also where only what
    /// failed waits, and fresh events would leave: with none, nobody could tell the difference.
    Shut,
    /// Somebody has to mend something; probes find out when that is done.
    Parked,
    /// The operator has it wait: nothing leaves, not even a probe.
    Paused,
}

impl GateState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Shut, Self::Parked, Self::Paused];

    /// The name used in the CLI, logs, metrics and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Shut => "shut",
            Self::Parked => "parked",
            Self::Paused => "paused",
        }
    }
}

/// Why the gate is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// 5xx, time-outs, broken connections.
    Unavailable,
    /// 429, or an answer whose headers leave no calls.
    RateLimited,
    /// 401, 403 or 404: the token or the account.
    Auth,
    /// A redirect or an answer that the API does not document.
    Unexpected,
    /// Every event is refused alike: a wrong config or a changed API.
    RefusedAll,
    /// By the operator's word.
    Paused,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unavailable,
        Self::RateLimited,
        Self::Auth,
        Self::Unexpected,
        Self::RefusedAll,
        Self::Paused,
    ];

    /// Whether somebody has to act, so that the gate counts as parked and not only shut.
    pub const fn parks(self) -> bool {
        !matches!(self, Self::Unavailable | Self::RateLimited)
    }

    /// The name used in the CLI, logs, metrics and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::Auth => "auth",
            Self::Unexpected => "unexpected",
            Self::RefusedAll => "refused_all",
            Self::Paused => "paused",
        }
    }
}

/// The last trouble in words, without values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// Wall-clock milliseconds.
    pub at: Millis,
    /// What happened.
    #[serde(rename = "words")]
    pub message: String,
}

/// Requests by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Answered with one verdict per event (200, 422).
    pub judged: u64,
    /// Refused as a whole (400, 413, 422 without details).
    pub refused: u64,
    /// 401, 403, 404.
    pub auth: u64,
    /// 429.
    pub limited: u64,
    /// Redirects and undocumented answers.
    pub unexpected: u64,
    /// 5xx, 408, time-outs, broken connections, unreadable answers.
    pub unknown: u64,
    /// No connection: nothing left this machine.
    pub not_sent: u64,
}

impl Requests {
    /// Each class by its name.
    pub const fn by_class(&self) -> [(&'static str, u64); 7] {
        [
            ("judged", self.judged),
            ("refused", self.refused),
            ("auth", self.auth),
            ("limited", self.limited),
            ("unexpected", self.unexpected),
            ("unknown", self.unknown),
            ("not_sent", self.not_sent),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_class().iter().map(|(_, count)| count).sum()
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainEnd {
    /// Everything is delivered or dead.
    Empty,
    /// The deadline came first, or nothing more could be sent before it.
    Deadline,
    /// The gate is not open: waiting would deliver nothing.
    GateClosed,
    /// Nothing is in hand, and another daemon goes on.
    HandedOver,
    /// A second signal.
    Abandoned,
    /// The queue takes nothing more.
    QueueStopped,
}

/// What a drain did and left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// How it ended.
    pub end: DrainEnd,
    /// Events delivered while draining.
    pub delivered: u64,
    /// Events that became dead letters while draining.
    pub dead: u64,
    /// Events still queued, safe on disk; those in doubt included.
    pub queued: u64,
    /// Of these, events that the destination may have seen: they go again under the same name.
    pub in_doubt: u64,
    /// Requests in flight when the drain began, whose answers were waited for.
    pub awaited: usize,
    /// Requests in flight that were abandoned; their events are in doubt.
    pub abandoned: usize,
    /// How the gate stood at the end, and why.
    pub gate: GateStatus,
}
