//! How the process ends where it cannot end in order.
//!
//! Invariant: after a storage error, and after a signal, the process ends within a known time,
//! whatever hangs. Nothing is lost by it: what was acknowledged is on disk, and what was under way
//! is in doubt and sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::lifecycle::{self, LastResort, Stops, notify};

/// How long clients are told that the queue has stopped, before the process ends.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// How long the last lines of the log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// An exit that takes longer hangs.
const EXIT_GUARD: Duration = Duration::from_secs(5);
/// A stop that comes before events are taken: a queue that is being opened is left as it is.
const BEFORE_READY: Duration = Duration::from_secs(10);
/// How long a stop may take beside the drain: for the last answers, and to close the queue.
const BESIDE_THE_DRAIN: Duration = Duration::from_secs(35);
/// What a second signal leaves: answers and deliveries are waited for no more, the sync is.
const IN_A_HURRY: Duration = Duration::from_secs(15);

/// How long a stop may take. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct StopLimit(Arc<AtomicU64>);

impl StopLimit {
    /// Events are taken: from now on a stop drains for as long as `drain_deadline`.
    pub fn drains(&self, drain_deadline: Duration) {
        let limit = drain_deadline + BESIDE_THE_DRAIN;
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self, stops: Stops) -> Duration {
        let limit = match self.0.load(Ordering::Relaxed) {
            0 => BEFORE_READY,
            millis => Duration::from_millis(millis),
        };
        match stops {
            Stops::Once => limit,
            Stops::Again => limit.min(IN_A_HURRY),
        }
    }

    /// Ends the process where a stop takes longer.
    pub fn last_resort(&self) -> LastResort {
        let this = self.clone();
        LastResort {
            within: Arc::new(move |stops| this.get(stops)),
            end: || {
                tracing::error!(
                    "the stop has not ended in its time, something hangs: ending now. What was \
                     acknowledged is on disk; requests that were under way are in doubt"
                );
                exit_io()
            },
        }
    }
}

/// Storage has failed: nothing more is acknowledged, and the process ends for the supervisor
/// to start it anew. Clients that ask meanwhile are answered `unavailable`, for a moment. Nothing
/// is dropped on the way, for dropping a store can hang.
pub(super) fn storage_failed(_why: &str) {
    let end = std::thread::Builder::new().name("exit".into()).spawn(|| {
        std::thread::sleep(LAST_ANSWERS);
        exit_io();
    });
    if end.is_err() {
        std::process::exit(74);
    }
}

/// What was said is given to whoever listens, for a moment.
pub(super) fn say_last_words() {
    notify::flush(LAST_LINES);
    lifecycle::flush_log(LAST_LINES);
}

fn exit_io() -> ! {
    // If exiting itself hangs, this does not.
    let guard = std::thread::Builder::new()
        .name("exit guard".into())
        .spawn(|| {
            std::thread::sleep(EXIT_GUARD);
            std::process::abort();
        });
    if guard.is_err() {
        std::process::abort();
    }
    say_last_words();
    std::process::exit(74);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_given_what_it_may_need_and_no_more() {
        let limit = StopLimit::default();
        assert_eq!(limit.get(Stops::Once), BEFORE_READY);
        limit.drains(Duration::from_secs(20));
        assert!(limit.get(Stops::Once) > Duration::from_secs(20));
        assert_eq!(limit.get(Stops::Again), IN_A_HURRY);
        limit.drains(Duration::ZERO);
        assert!(limit.get(Stops::Again) >= BESIDE_THE_DRAIN.min(IN_A_HURRY));
    }
}
