//! How long to wait before the next attempt, and the batches that wait.

use std::collections::BTreeMap;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use rand::RngExt;
use tokio::time::Instant;

use super::batch::Batch;

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

/// Batches that wait for another attempt, by the time it is due.
#[derive(Default)]
pub(super) struct Waiting {
    batches: BTreeMap<(Instant, u64), Batch>,
}

impl Waiting {
    pub fn push(&mut self, due: Instant, batch: Batch) {
        self.batches.insert((due, batch.id), batch);
    }

    /// The batch that is due longest and for which `may` holds.
    pub fn due(&mut self, now: Instant, may: impl Fn(&Batch) -> bool) -> Option<Batch> {
        let mut due = self.batches.range(..=(now, u64::MAX));
        let key = due.find(|(_, batch)| may(batch)).map(|(key, _)| *key)?;
        self.batches.remove(&key)
    }

    /// The batch whose last attempt lies furthest back, due or not. Taking turns matters: one
    /// batch that always fails must not be the only witness of the destination's health.
    pub fn turn(&mut self, may: impl Fn(&Batch) -> bool) -> Option<Batch> {
        let candidates = self.batches.iter().filter(|(_, batch)| may(batch));
        let key = candidates
            .min_by_key(|(key, batch)| (batch.trial.tried_at, **key))
            .map(|(key, _)| *key)?;
        self.batches.remove(&key)
    }

    /// When the next batch is due after `now`.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let mut later = self.batches.range((now, u64::MAX)..);
        later.find(|((due, _), _)| *due > now).map(|((d, _), _)| *d)
    }

    /// The earliest due time of all.
    pub fn first_due(&self) -> Option<Instant> {
        self.batches.keys().next().map(|(due, _)| *due)
    }

    /// Everything, in order of due time.
    pub fn take(&mut self) -> Vec<(Instant, Batch)> {
        let all = std::mem::take(&mut self.batches);
        all.into_iter().map(|((due, _), b)| (due, b)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.batches.values()
    }

    pub fn events(&self) -> usize {
        self.batches.values().map(Batch::len).sum()
    }
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

    #[test]
    fn the_waiting_come_back_when_due_and_take_turns_as_witnesses() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        for id in 1..=3u32 {
            let mut batch = fixture::batch(id.into(), 1);
            batch.trial.tried_at = Some(start + SECOND * (10 - id));
            waiting.push(start + SECOND * id, batch);
        }
        assert!(waiting.due(start, |_| true).is_none());
        assert_eq!(waiting.next_due(start + SECOND), Some(start + 2 * SECOND));
        assert_eq!(waiting.turn(|_| true).unwrap().id, 3, "tried longest ago");
        let now = start + 9 * SECOND;
        assert_eq!(waiting.due(now, |b| b.id != 1).unwrap().id, 2);
        assert_eq!(waiting.due(now, |_| true).unwrap().id, 1);
        assert_eq!(waiting.events(), 0);
    }
}
