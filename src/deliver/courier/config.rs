//! The config of the moment.

use tokio::time::Instant;

use crate::clock::Millis;
use crate::deliver::destination::Destination;
use crate::deliver::gate::Gate;
use crate::deliver::options::{Limits, Options};
use crate::deliver::pace::Pace;
use crate::deliver::ready::BatchLimits;
use crate::deliver::retry::Backoff;

/// Invariant: `generation` counts the reloads, and `limits` and `since` are the last one's. What
/// was prepared under another generation and is not in doubt is prepared anew before it leaves.
pub struct Config {
    pub destination: &'static Destination,
    test: bool,
    limits: Limits,
    generation: u64,
    since: Millis,
}

impl Config {
    pub fn new(destination: &'static Destination, options: &Options, now: Millis) -> Self {
        Self {
            destination,
            test: options.test,
            limits: options.limits.clone(),
            generation: 0,
            since: now,
        }
    }

    /// Goes on under other limits.
    pub fn reload(&mut self, limits: Limits, now: Millis) {
        self.limits = limits;
        self.generation += 1;
        self.since = now;
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Since when it holds.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// Calls per second at most; `None`: no limit but the one per minute.
    pub fn calls_per_second(&self) -> Option<f64> {
        (self.test).then_some(self.destination.test_calls_per_second)
    }

    /// A gate that is open.
    pub fn gate(&self) -> Gate {
        let limits = &self.limits;
        Gate::new(self.destination, limits.backoff_initial, limits.backoff_max)
    }

    /// A pace that has not been set by any answer yet.
    pub fn pace(&self, now: Instant) -> Pace {
        let limit = self.limits.max_calls_per_minute;
        Pace::new(limit, self.calls_per_second(), now)
    }

    /// For retries, from the first interval on.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.limits.backoff_initial, self.limits.backoff_max)
    }

    pub fn batch_limits(&self) -> BatchLimits {
        let most = if self.test {
            self.destination.test_batch_events
        } else {
            usize::MAX
        };
        BatchLimits {
            events: self.limits.max_batch_events.min(most),
            bytes: self.limits.max_batch_bytes,
            linger: self.limits.linger,
            framing: self.destination.framing,
        }
    }
}
