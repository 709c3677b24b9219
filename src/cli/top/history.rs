//! What `top` has seen: a reading a second, and when the daemon was away.

use std::collections::VecDeque;

use crate::admin::Report;
use crate::clock::Millis;

/// Readings kept: more than the widest screen shows.
const KEPT: usize = 512;

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Events accepted a second.
    pub accepted: f64,
    /// Events delivered a second.
    pub delivered: f64,
    /// Mean time of a request that ended in it, milliseconds.
    pub latency: f64,
    /// Events not settled.
    pub backlog: f64,
}

/// Readings, oldest first.
#[derive(Default)]
pub struct History {
    /// The last report; none before the first.
    pub report: Option<Report>,
    /// Since when the daemon does not answer (Unix milliseconds), and what is said of that.
    pub away: Option<(Millis, String)>,
    points: VecDeque<Point>,
}

impl History {
    /// The daemon answered.
    pub fn answered(&mut self, report: Report) {
        let point = match &self.report {
            // What another process counted is nothing to subtract from.
            Some(last) if last.started_at == report.started_at => between(last, &report),
            _ => Point {
                backlog: backlog(&report),
                ..Point::default()
            },
        };
        self.push(point);
        self.report = Some(report);
        self.away = None;
    }

    /// It did not.
    pub fn silent(&mut self, now: Millis, why: String) {
        self.push(Point::default());
        let since = self.away.take().map_or(now, |(since, _)| since);
        self.away = Some((since, why));
    }

    fn push(&mut self, point: Point) {
        self.points.push_back(point);
        if self.points.len() > KEPT {
            self.points.pop_front();
        }
    }

    /// The last `most` values of one kind, oldest first.
    pub fn last(&self, most: usize, of: impl Fn(&Point) -> f64) -> Vec<f64> {
        let from = self.points.len().saturating_sub(most);
        self.points.range(from..).map(of).collect()
    }
}

fn backlog(report: &Report) -> f64 {
    (report.queued + report.sending) as f64
}

fn between(last: &Report, report: &Report) -> Point {
    let seconds = ((report.now - last.now) as f64 / 1000.0).max(0.001);
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    let (took, before) = (&report.requests, &last.requests);
    let ended = took.count.saturating_sub(before.count);
    Point {
        accepted: rate(report.ledger.accepted, last.ledger.accepted),
        delivered: rate(report.ledger.delivered, last.ledger.delivered),
        latency: match ended {
            0 => 0.0,
            ended => (took.seconds - before.seconds).max(0.0) * 1000.0 / ended as f64,
        },
        backlog: backlog(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Ledger, Took};

    fn report(now: Millis, accepted: u64, count: u64, seconds: f64) -> Report {
        Report {
            now,
            queued: 5,
            ledger: Ledger {
                accepted,
                ..Ledger::default()
            },
            requests: Took { count, seconds },
            ..Report::default()
        }
    }

    #[test]
    fn readings_become_rates_and_a_restart_begins_anew() {
        let mut history = History::default();
        history.answered(report(0, 1000, 10, 1.0));
        history.answered(report(2000, 1500, 14, 2.0));
        history.silent(3000, "gone".into());
        history.silent(4000, "gone".into());
        assert_eq!(history.away, Some((3000, "gone".into())));
        let restarted = Report {
            started_at: 1,
            ..report(5000, 1500, 0, 0.0)
        };
        history.answered(restarted);
        assert_eq!(history.away, None);
        assert_eq!(history.last(9, |p| p.accepted), [0.0, 250.0, 0.0, 0.0, 0.0]);
        assert_eq!(history.last(9, |p| p.latency), [0.0, 250.0, 0.0, 0.0, 0.0]);
        assert_eq!(history.last(2, |p| p.backlog), [0.0, 5.0]);
    }
}
