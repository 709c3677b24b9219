//! Failures since the last sound answer, while they do not shut the gate: one batch that fails
//! says nothing about the destination yet, and is shown and told all the same.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures without a sound answer between are told.
const TOLD_AFTER: u32 = 3;
/// So long without a sound answer after the first failure is told, too.
pub(super) const TOLD_AT: Duration = Duration::from_secs(15);

/// Invariant: there was no sound answer since `since`.
#[derive(Debug)]
pub(super) struct Failing {
    /// The first failure, or the leaving of the request that is not answered.
    pub since: Instant,
    /// What failed last.
    pub message: String,
    /// The batch that failed first, and may be to blame for all of it.
    batch: Option<u64>,
    failures: u32,
    told: bool,
}

impl Failing {
    /// Nothing has failed yet.
    pub fn new(since: Instant) -> Self {
        Self {
            since,
            message: String::new(),
            batch: None,
            failures: 0,
            told: false,
        }
    }

    /// A batch failed; says whether another one did before.
    pub fn fails(&mut self, batch: u64, message: &str) -> bool {
        self.failures += 1;
        message.clone_into(&mut self.message);
        let first = *self.batch.get_or_insert(batch);
        first != batch
    }

    /// Whether it is to be told now: after the third failure or 15 s, or `at_once`. Once.
    pub fn tell(&mut self, now: Instant, at_once: bool) -> bool {
        let is_due = at_once || self.failures >= TOLD_AFTER || now >= self.since + TOLD_AT;
        let tell = is_due && !self.told;
        self.told |= is_due;
        tell
    }

    /// Whether it was told: it counts as an outage from then on.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// When it is to be told, unless something else happens before.
    pub fn wake(&self) -> Option<Instant> {
        (!self.told).then_some(self.since + TOLD_AT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_failure_is_told_or_the_first_that_lasts() {
        let now = Instant::now();
        let mut failing = Failing::new(now);
        let told: Vec<bool> = (0..5)
            .map(|_| {
                assert!(!failing.fails(1, "no"));
                failing.tell(now, false)
            })
            .collect();
        assert_eq!(told, [false, false, true, false, false], "once");
        let mut failing = Failing::new(now);
        failing.fails(1, "no");
        assert!(!failing.tell(now + TOLD_AT / 2, false));
        assert_eq!(failing.wake(), Some(now + TOLD_AT));
        assert!(failing.tell(now + TOLD_AT, false) && failing.is_told());
        assert_eq!(failing.wake(), None);
        assert!(failing.fails(2, "no"), "another batch");
    }
}
