//! When an event is too old to be sent, and when it is late.

use std::time::Duration;

use crate::clock::Millis;
use crate::clock::{Unproven, WallTrust};
use crate::queue::{Entry, Origin};

use super::options::OnLate;

/// Ahead of `max_age`, so that an event does not grow too old on its way.
const MARGIN: Duration = Duration::from_secs(300);

/// The moment before which an event counts as expired; `None` while the wall clock is not
/// believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    edge: Option<Millis>,
    /// Whose acceptance proves no age.
    unproven: Option<Unproven>,
}

impl Horizon {
    /// At wall time `now`, none where it is not believed, for events of at most `max_age`.
    pub fn new(now: Option<Millis>, max_age: Duration, unproven: Option<Unproven>) -> Self {
        let margin = MARGIN.min(max_age / 2);
        let keep = i64::try_from((max_age - margin).as_millis()).unwrap_or(i64::MAX);
        Self {
            edge: now.map(|now| now.saturating_sub(keep)),
            unproven,
        }
    }

    /// Whether the older of the event's own time and its acceptance lies beyond.
    pub fn passed(&self, entry: &Entry) -> bool {
        let accepted_at = match (self.unproven, entry.id.origin()) {
            (None, _) => entry.accepted_at,
            (Some(unproven), Origin::Line(seq)) => unproven.of_line(seq.0, entry.accepted_at),
            (Some(unproven), Origin::Dead(no)) => unproven.of_letter(no.0, entry.accepted_at),
        };
        self.is_beyond(entry.event_time, accepted_at)
    }

    fn is_beyond(&self, event_time: i64, accepted_at: Millis) -> bool {
        let oldest = event_time.saturating_mul(1000).min(accepted_at);
        self.edge.is_some_and(|edge| oldest <= edge)
    }
}

/// The moment before which an event that happened is late; `None` while something speaks against
/// the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lateness {
    edge: Option<Millis>,
    /// Something speaks for the clock, too.
    is_deadly: bool,
}

impl Lateness {
    /// For what leaves now by this clock. One that nothing has confirmed yet is good enough to
    /// count by; nothing dies by it, for the first of what a new queue sends are rather late
    /// than dead letters of a clock that is hours ahead.
    pub fn new(now: Millis, late_after: Duration, trust: &WallTrust) -> Self {
        let edge = trust.tells_ages();
        Self {
            edge: edge.then(|| late_edge(now, late_after)),
            is_deadly: trust.believed(),
        }
    }

    /// Whether the event happened so long ago. When it was accepted does not count: the
    /// destination measures from when it happened.
    pub fn is_late(&self, entry: &Entry) -> bool {
        self.edge
            .is_some_and(|edge| happened_by(entry.event_time, edge))
    }

    /// Whether it may die of that: only what comes from the line. What the operator queued again
    /// from the dead letters is to go as late as it is; what was deferred because it failed
    /// alone is numbered alike, is rare, and had left in time once.
    pub fn may_die(&self, entry: &Entry) -> bool {
        self.is_deadly && matches!(entry.id.origin(), Origin::Line(_)) && self.is_late(entry)
    }
}

fn late_edge(now: Millis, late_after: Duration) -> Millis {
    now.saturating_sub(i64::try_from(late_after.as_millis()).unwrap_or(i64::MAX))
}

fn happened_by(event_time: i64, edge: Millis) -> bool {
    event_time.saturating_mul(1000) <= edge
}

/// What its age does to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Nothing.
    InTime,
    /// It is late (`delivery.late_after`).
    Late {
        /// And becomes a dead letter for it (`delivery.on_late`).
        dies: bool,
    },
    /// It is too old to be sent (`delivery.max_age`), and becomes a dead letter.
    Expired,
}

/// What the age of an event would do to it if it left at one moment, by a clock that is believed.
#[derive(Clone, Copy, Debug)]
pub struct AgeRules {
    horizon: Horizon,
    late_edge: Millis,
    on_late: OnLate,
}

impl AgeRules {
    /// At wall time `now`, under `delivery.max_age`, `delivery.late_after` and `delivery.on_late`.
    pub fn new(now: Millis, max_age: Duration, late_after: Duration, on_late: OnLate) -> Self {
        Self {
            horizon: Horizon::new(Some(now), max_age, None),
            late_edge: late_edge(now, late_after),
            on_late,
        }
    }

    /// Of an event that happened at `event_time` (Unix seconds) and was accepted at `accepted_at`
    /// (Unix milliseconds). A dead letter that is queued again (`is_letter`) does not die of being
    /// late.
    pub fn judge(&self, event_time: i64, accepted_at: Millis, is_letter: bool) -> Age {
        if self.horizon.is_beyond(event_time, accepted_at) {
            Age::Expired
        } else if happened_by(event_time, self.late_edge) {
            let dies = !is_letter && self.on_late == OnLate::DeadLetter;
            Age::Late { dies }
        } else {
            Age::InTime
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::clock::Clock;
    use crate::queue::LetterNumber;

    const NOW: Millis = 1_700_000_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn expired(event_time_age: i64, accepted_age: i64, believed: bool) -> bool {
        let mut entry = fixture::entry(1);
        entry.event_time = NOW / 1000 - event_time_age;
        entry.accepted_at = NOW - accepted_age * 1000;
        Horizon::new(believed.then_some(NOW), 7 * DAY, None).passed(&entry)
    }

    #[test]
    fn five_minutes_before_max_age_the_older_of_both_times_counts() {
        let edge = 7 * 86_400 - 300;
        assert!(!expired(edge - 1, 0, true) && !expired(0, edge - 1, true));
        assert!(expired(edge, 0, true) && expired(0, edge, true));
        assert!(!expired(-1000, -1000, true), "never below 0");
    }

    #[test]
    fn late_is_what_happened_long_ago_whenever_it_was_accepted() {
        let clock = Clock::manual(NOW);
        let trust = WallTrust::of_new(clock.clone());
        let late = |age: i64| {
            let mut entry = fixture::entry(1);
            (entry.event_time, entry.accepted_at) = (NOW / 1000 - age, NOW);
            let lateness = Lateness::new(NOW, Duration::from_secs(3600), &trust);
            let again = crate::queue::Entry {
                id: crate::queue::EntryId::dead(LetterNumber(7)),
                ..fixture::entry(1)
            };
            assert!(!lateness.may_die(&again), "it was put back");
            (lateness.is_late(&entry), lateness.may_die(&entry))
        };
        let unconfirmed = [late(3599), late(3600)];
        assert_eq!(unconfirmed, [(false, false), (true, false)]);
        trust.observe_date(NOW);
        assert_eq!([late(3599), late(3600)], [(false, false), (true, true)]);
        clock.set_wall(NOW + 86_400_000);
        assert_eq!(late(7200), (false, false), "the clock is not believed");
    }

    /// A new queue's clock was a month behind; all that came in meanwhile expired when it was
    /// mended.
    #[test]
    fn an_acceptance_by_a_clock_that_nothing_vouched_for_proves_no_age() {
        let mut entry = fixture::entry(1);
        entry.event_time = NOW / 1000 - 60;
        entry.accepted_at = NOW - 30 * 86_400_000;
        let unproven = |line| {
            Some(Unproven {
                line,
                letter: 0,
                since: NOW,
            })
        };
        let passed = |unproven| Horizon::new(Some(NOW), 7 * DAY, unproven).passed(&entry);
        assert!(passed(None) && passed(unproven(0)));
        assert!(!passed(unproven(1)));
    }

    /// What is told beforehand is what becomes of it.
    #[test]
    fn the_rules_told_beforehand_are_those_of_delivery() {
        let clock = Clock::manual(NOW);
        let trust = WallTrust::of_new(clock);
        trust.observe_date(NOW);
        let late_after = Duration::from_secs(3600);
        let lateness = Lateness::new(NOW, late_after, &trust);
        let horizon = Horizon::new(Some(NOW), 7 * DAY, None);
        for age in [0, 3599, 3600, 7 * 86_400 - 301, 7 * 86_400 - 300, 1 << 40] {
            for accepted_age in [0, 7 * 86_400] {
                let mut entry = fixture::entry(1);
                entry.event_time = NOW / 1000 - age;
                entry.accepted_at = NOW - accepted_age * 1000;
                for on_late in [OnLate::Deliver, OnLate::DeadLetter] {
                    let rules = AgeRules::new(NOW, 7 * DAY, late_after, on_late);
                    let judged = rules.judge(entry.event_time, entry.accepted_at, false);
                    let due = match (horizon.passed(&entry), lateness.is_late(&entry)) {
                        (true, _) => Age::Expired,
                        (false, true) => Age::Late {
                            dies: on_late == OnLate::DeadLetter && lateness.may_die(&entry),
                        },
                        (false, false) => Age::InTime,
                    };
                    assert_eq!(judged, due, "{age} {accepted_age} {on_late:?}");
                    let again = rules.judge(entry.event_time, entry.accepted_at, true);
                    assert_ne!(again, Age::Late { dies: true });
                }
            }
        }
    }

    #[test]
    fn nothing_expires_while_the_wall_is_not_believed() {
        assert!(!expired(100 * 86_400, 100 * 86_400, false));
    }
}
