//! The batches that wait for another attempt.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::batch::Batch;

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
    pub fn least_recent(&mut self, may: impl Fn(&Batch) -> bool) -> Option<Batch> {
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

    /// Lets each batch pass through `f`, in order of due time, which may take it out or put
    /// another in its place.
    pub fn sift(&mut self, mut f: impl FnMut(Batch) -> Option<Batch>) {
        for ((due, _), batch) in std::mem::take(&mut self.batches) {
            if let Some(batch) = f(batch) {
                self.push(due, batch);
            }
        }
    }

    /// Those that `are_meant` are due now, if they are not already; how many events are in them.
    pub fn hurry(&mut self, now: Instant, are_meant: impl Fn(&Batch) -> bool) -> usize {
        let mut events = 0;
        for ((due, _), batch) in std::mem::take(&mut self.batches) {
            let is_meant = are_meant(&batch);
            events += if is_meant { batch.len() } else { 0 };
            self.push(if is_meant { due.min(now) } else { due }, batch);
        }
        events
    }

    /// The destination is well again: what did not fail by its own fault is due now.
    pub fn recover(&mut self, now: Instant) {
        for ((due, _), mut batch) in std::mem::take(&mut self.batches) {
            if batch.is_stubborn() {
                self.push(due, batch);
            } else {
                batch.trial.backoff.reset();
                self.push(due.min(now), batch);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.batches.values()
    }

    /// Each with the time when it is due.
    pub fn with_due(&self) -> impl Iterator<Item = (Instant, &Batch)> {
        self.batches.iter().map(|((due, _), batch)| (*due, batch))
    }

    pub fn events(&self) -> usize {
        self.batches.values().map(Batch::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
        assert_eq!(
            waiting.least_recent(|_| true).unwrap().id,
            3,
            "tried longest ago"
        );
        let now = start + 9 * SECOND;
        assert_eq!(waiting.due(now, |b| b.id != 1).unwrap().id, 2);
        assert_eq!(waiting.due(now, |_| true).unwrap().id, 1);
        assert_eq!(waiting.events(), 0);
    }

    #[test]
    fn what_is_hurried_is_due_now_and_the_others_when_they_were() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        for id in 1..=2u32 {
            waiting.push(start + SECOND * id, fixture::batch(id.into(), 3));
        }
        assert_eq!(waiting.hurry(start, |batch| batch.id == 2), 3);
        assert_eq!(waiting.due(start, |_| true).unwrap().id, 2);
        assert!(waiting.due(start, |_| true).is_none());
        assert_eq!(waiting.first_due(), Some(start + SECOND));
    }
}
