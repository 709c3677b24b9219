//! The brake on batches that fail by their own fault.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::deliver::retry::Backoff;

/// Invariant: `in_flight` counts the requests in flight whose batch is stubborn. While `rest` is
/// set, the last stubborn batch failed too and nothing was answered since: until then none
/// leaves, and then one at a time. Their failures do not shut the gate, and without this they
/// would hammer where nothing else is left to be sent.
pub struct Stubborn {
    in_flight: usize,
    rest: Option<Instant>,
    backoff: Backoff,
}

impl Stubborn {
    pub fn new(backoff: Backoff) -> Self {
        Self {
            in_flight: 0,
            rest: None,
            backoff,
        }
    }

    /// Goes on with other intervals.
    pub fn change(&mut self, backoff: Backoff) {
        self.backoff = backoff;
    }

    /// Whether one more may leave.
    pub fn may_leave(&self, now: Instant, max_in_flight: usize) -> bool {
        let slots = match self.rest {
            None => (max_in_flight / 4).max(1),
            Some(until) => usize::from(now >= until),
        };
        self.in_flight < slots
    }

    /// When one may leave again, if none may now.
    pub fn wake(&self) -> Option<Instant> {
        self.rest
    }

    /// The operator wants one tried now: the rest is over, the number of slots stays.
    pub fn hurry(&mut self) {
        self.rest = None;
    }

    pub fn started(&mut self) {
        self.in_flight += 1;
    }

    pub fn finished(&mut self) {
        self.in_flight -= 1;
    }

    /// One failed again.
    pub fn failed(&mut self, now: Instant, most: Duration, rng: &mut impl RngExt) {
        self.rest = Some(now + self.backoff.wait(most, rng));
    }

    /// The destination judged a request.
    pub fn on_judged(&mut self) {
        self.rest = None;
        self.backoff.reset();
    }
}

#[cfg(test)]
#[path = "stubborn_tests.rs"]
mod tests;
