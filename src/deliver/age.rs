//! When an event is too old to be sent.

use std::time::Duration;

use crate::queue::{Entry, Millis};

/// Ahead of `max_age`, so that an event does not grow too old on its way.
const MARGIN: Duration = Duration::from_secs(300);

/// The moment before which an event counts as expired; `None` while the wall clock is not
/// believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon(Option<Millis>);

impl Horizon {
    /// At wall time `now`, for events of at most `max_age`.
    pub fn new(now: Millis, max_age: Duration, believed: bool) -> Self {
        let margin = MARGIN.min(max_age / 2);
        let keep = i64::try_from((max_age - margin).as_millis()).unwrap_or(i64::MAX);
        Self(believed.then(|| now.saturating_sub(keep)))
    }

    /// Whether the older of the event's own time and its acceptance lies beyond.
    pub fn passed(&self, entry: &Entry) -> bool {
        let oldest = entry.event_time.saturating_mul(1000).min(entry.accepted_at);
        self.0.is_some_and(|horizon| oldest <= horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const NOW: Millis = 1_700_000_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn expired(event_time_age: i64, accepted_age: i64, believed: bool) -> bool {
        let mut entry = fixture::entry(1);
        entry.event_time = NOW / 1000 - event_time_age;
        entry.accepted_at = NOW - accepted_age * 1000;
        Horizon::new(NOW, 7 * DAY, believed).passed(&entry)
    }

    #[test]
    fn five_minutes_before_max_age_the_older_of_both_times_counts() {
        let edge = 7 * 86_400 - 300;
        assert!(!expired(edge - 1, 0, true) && !expired(0, edge - 1, true));
        assert!(expired(edge, 0, true) && expired(0, edge, true));
        assert!(!expired(-1000, -1000, true), "never below 0");
    }

    #[test]
    fn nothing_expires_while_the_wall_is_not_believed() {
        assert!(!expired(100 * 86_400, 100 * 86_400, false));
    }
}
