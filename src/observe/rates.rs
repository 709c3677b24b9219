//! Events a second over the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the rates are taken over.
const SPAN: Duration = Duration::from_secs(60);
/// Between two readings that are kept, at least.
const APART: Duration = Duration::from_secs(1);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Events accepted, ever.
    pub accepted: u64,
    /// Events delivered, ever.
    pub delivered: u64,
}

/// Readings of the last minute, and one before it.
#[derive(Debug, Default)]
pub struct Rates(VecDeque<(Instant, Reading)>);

impl Rates {
    /// Remembers a reading, unless the last one was taken just before.
    pub fn read(&mut self, now: Instant, reading: Reading) {
        if self.0.back().is_some_and(|(last, _)| now - *last < APART) {
            return;
        }
        self.0.push_back((now, reading));
        while self.0.get(1).is_some_and(|(at, _)| now - *at >= SPAN) {
            self.0.pop_front();
        }
    }

    /// Events a second, accepted and delivered, from the oldest reading to this one.
    pub fn until(&self, now: Instant, reading: Reading) -> (f64, f64) {
        let Some((at, first)) = self.0.front() else {
            return (0.0, 0.0);
        };
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let rate = |last: u64, first: u64| last.saturating_sub(first) as f64 / seconds;
        (
            rate(reading.accepted, first.accepted),
            rate(reading.delivered, first.delivered),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_counts_and_what_was_before_does_not() {
        let mut rates = Rates::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let reading = |accepted, delivered| Reading {
            accepted,
            delivered,
        };
        assert_eq!(rates.until(at(0), reading(9, 9)), (0.0, 0.0));
        rates.read(at(0), reading(0, 0));
        assert_eq!(rates.until(at(10), reading(100, 50)), (10.0, 5.0));
        // A flood, then nothing.
        for s in (5..=120).step_by(5) {
            rates.read(at(s), reading(6000, 3000));
        }
        assert_eq!(rates.until(at(121), reading(6000, 3061)), (0.0, 1.0));
    }
}
