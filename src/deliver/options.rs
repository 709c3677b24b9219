//! What the delivery side is given: where to deliver, within which limits, and what the process
//! lends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Millis, WallTrust};
use crate::observe::Observer;

/// Where to deliver, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// `pinterest.base_url`: https, or http on loopback.
    pub base_url: String,
    /// `pinterest.ad_account_id`: up to 18 digits.
    pub ad_account_id: String,
    /// `pinterest.test`: validated and answered, not recorded; at most 20 events a request and
    /// 10 requests a second.
    pub test: bool,
    /// `delivery.request_timeout`.
    pub request_timeout: Duration,
    /// It starts paused.
    pub paused: Option<Pause>,
    /// What a reload may change.
    pub limits: Limits,
}

/// Calls a minute that are made where nobody has said otherwise.
const UNTOLD: u32 = 5000;

/// How many calls a minute may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallLimit {
    /// As many as the destination says in its headers, up and down; 5,000 until it does.
    Auto,
    /// So many, or fewer where the headers say so; 0: no limit of our own, whatever they say.
    AtMost(u32),
}

impl CallLimit {
    /// Calls a minute, by what the headers said last; 0: no limit.
    pub(super) fn per_minute(self, told: Option<u32>) -> u32 {
        match (self, told) {
            (Self::Auto, told) => told.unwrap_or(UNTOLD),
            (Self::AtMost(0), _) => 0,
            (Self::AtMost(most), told) => told.map_or(most, |told| told.min(most)),
        }
    }
}

/// The part of the options that a reload may change. All counts and times are positive unless
/// said otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `delivery.max_batch_events`, at most 1000.
    pub max_batch_events: usize,
    /// `delivery.max_batch_bytes`, of a request's body.
    pub max_batch_bytes: usize,
    /// `delivery.linger`: how long an event waits for company.
    pub linger: Duration,
    /// `delivery.max_in_flight`: requests at once.
    pub max_in_flight: usize,
    /// `delivery.max_age`: older events expire.
    pub max_age: Duration,
    /// `delivery.max_calls_per_minute`.
    pub max_calls_per_minute: CallLimit,
    /// `delivery.backoff_initial`.
    pub backoff_initial: Duration,
    /// `delivery.backoff_max`.
    pub backoff_max: Duration,
    /// `custom_properties.on_refused`.
    pub on_refused: OnRefused,
    /// `delivery.late_after`: what happened longer ago is late when it leaves.
    pub late_after: Duration,
    /// `delivery.on_late`.
    pub on_late: OnLate,
}

/// What becomes of an event that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLate {
    /// It goes, and is counted.
    Deliver,
    /// It is a dead letter (`late`), and goes if it is queued again.
    DeadLetter,
}

/// What becomes of an event whose custom property is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefused {
    /// It goes without the property.
    Strip,
    /// It is a dead letter (`custom_refused`).
    DeadLetter,
}

/// The operator's pause: nothing leaves while it holds; what is in flight is still taken. Who
/// keeps it over a restart and who ends it is the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when, wall-clock milliseconds.
    pub since: Millis,
    /// When it ends by itself, wall-clock milliseconds of the moment it was said; `None`: when
    /// it is ended.
    pub until: Option<Millis>,
    /// The operator's words.
    pub reason: Option<String>,
}

/// What the process lends to the delivery side.
#[derive(Clone)]
pub struct Environment {
    /// The process' clock.
    pub clock: Clock,
    /// Whether the wall clock may end events.
    pub trust: WallTrust,
    /// Told of requests and of events' ends.
    pub observer: Observer,
}
