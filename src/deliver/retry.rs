//! How long to wait before the next attempt.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use rand::RngExt;

/// Doubling intervals up to a cap, without an end: what ends an event is its age. The wait
/// itself is drawn from 0 to the interval (full jitter), so that what failed together does
/// not come back together.
#[derive(Debug, Clone)]
pub(super) struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Intervals from `initial` to `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_interval: max.max(initial),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The interval of this attempt; the next one is twice as long.
    pub fn interval(&mut self) -> Duration {
        // `None` would mean that an end was set.
        let next = self.0.next_backoff().unwrap_or(self.0.max_interval);
        next.min(self.0.max_interval)
    }

    /// The wait before the next attempt, at most `cap`.
    pub fn wait(&mut self, cap: Duration, rng: &mut impl RngExt) -> Duration {
        jitter(self.interval().min(cap), rng)
    }

    /// Starts again at the first interval.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// Goes on as if `failures` attempts had failed already.
    pub fn skip(&mut self, failures: u32) {
        // 2^32 times any interval is beyond any cap.
        for _ in 0..failures.min(32) {
            self.interval();
        }
    }
}

/// 0 to `interval`, evenly.
pub(super) fn jitter(interval: Duration, rng: &mut impl RngExt) -> Duration {
    interval.mul_f64(rng.random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn intervals_double_to_the_cap_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let seconds: Vec<u64> = (0..5).map(|_| backoff.interval().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.interval(), SECOND);
        let mut later = Backoff::new(SECOND, 300 * SECOND);
        later.skip(3);
        assert_eq!(later.interval(), 8 * SECOND);
        later.skip(u32::MAX);
        assert_eq!(later.interval(), 300 * SECOND);
    }

    #[test]
    fn a_wait_lies_anywhere_from_nothing_to_the_interval() {
        let mut rng = fixture::rng(7);
        let waits: Vec<Duration> = (0..500)
            .map(|_| Backoff::new(8 * SECOND, 8 * SECOND).wait(300 * SECOND, &mut rng))
            .collect();
        assert!(waits.iter().all(|wait| *wait <= 8 * SECOND));
        assert!(waits.iter().any(|wait| *wait < SECOND));
        assert!(waits.iter().any(|wait| *wait > 7 * SECOND));
        let capped = Backoff::new(8 * SECOND, 8 * SECOND).wait(SECOND, &mut rng);
        assert!(capped <= SECOND);
    }
}
