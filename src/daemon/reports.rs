//! What `status` shows, put together from the parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::{self, PerSecond, Report, SinceStart, Took};
use crate::clock::Millis;
use crate::clock::{Clock, WallTrust};
use crate::config::Config;
use crate::deliver::{self, GateState};
use crate::lifecycle;
use crate::observe::{Count, Observer, Rates, Reading};
use crate::policy::{Kept, SharedPolicy};
use crate::queue::Queue;

use super::sockets::Sockets;

/// Where a report's parts come from.
struct Parts {
    queue: Queue,
    delivery: Arc<deliver::Handle>,
    clock: Clock,
    trust: WallTrust,
    draining: Arc<AtomicBool>,
    observer: Observer,
    sockets: Arc<Sockets>,
    policy: SharedPolicy,
    test_mode: bool,
    destination: admin::Destination,
    backlog_age: Duration,
    started_at: Millis,
    /// Events accepted before this process.
    accepted_before: u64,
    rates: Mutex<Rates>,
}

/// A source of reports, of a process that began then.
pub(super) fn reports(
    config: &Config,
    queue: &Queue,
    delivery: &Arc<deliver::Handle>,
    (clock, trust, began): (&Clock, &WallTrust, Millis),
    draining: &Arc<AtomicBool>,
    observer: &Observer,
    (sockets, policy): (&Arc<Sockets>, &SharedPolicy),
) -> admin::Source {
    let parts = Arc::new(Parts {
        queue: queue.clone(),
        delivery: delivery.clone(),
        clock: clock.clone(),
        trust: trust.clone(),
        draining: draining.clone(),
        observer: observer.clone(),
        sockets: sockets.clone(),
        policy: policy.clone(),
        test_mode: config.pinterest.test,
        destination: config.destination(),
        backlog_age: config.notify.backlog_age,
        started_at: began,
        accepted_before: queue.census().accepted,
        rates: Mutex::default(),
    });
    Arc::new(move || {
        let parts = parts.clone();
        Box::pin(async move { parts.report().await })
    })
}

impl Parts {
    async fn report(&self) -> Report {
        let delivery = self.delivery.status().await;
        let (census, disk) = (self.queue.census(), self.queue.disk());
        let draining = self.draining.load(Ordering::Relaxed);
        let gate = &delivery.gate;
        let state = match (draining, gate.state) {
            (true, _) => "draining",
            (_, GateState::Open) => "delivering",
            (_, GateState::Shut) => "backing off",
            (_, GateState::Parked) => "parked",
            (_, GateState::Paused) => "paused",
        };
        let (count, seconds) = self.observer.meters().requests();
        let mut not_accepting = Vec::new();
        if draining {
            not_accepting.push("the daemon is stopping".to_owned());
        }
        not_accepting.extend(self.sockets.missing());
        not_accepting.extend(disk.closed.map(|closed| closed.message().to_owned()));
        let report = Report::new(&census, self.clock.now());
        let (delivered, delivered_test) = match self.test_mode {
            true => (0, report.delivered),
            false => (report.delivered, 0),
        };
        let oldest = Duration::from_secs(
            report
                .oldest_age_seconds
                .and_then(|s| u64::try_from(s).ok())
                .unwrap_or(0),
        );
        Report {
            destination: self.destination.clone(),
            backlog_is_late: self.trust.tells_ages() && oldest > self.backlog_age,
            state: state.into(),
            test_mode: self.test_mode,
            delivered,
            delivered_test,
            late: delivery.late,
            gate: admin::Gate {
                state: gate.state.name().into(),
                reason: gate.reason.map(|reason| reason.name().into()),
                detail: gate.detail.clone(),
                since: gate.since,
                next_probe: gate.next_probe,
                until: gate.until,
            },
            not_accepting,
            losses: self.queue.losses(),
            started_at: self.started_at,
            since_start: SinceStart {
                accepted: census.accepted.saturating_sub(self.accepted_before),
                delivered: delivery.delivered,
                dead: delivery.dead,
                message_ids_made: self.observer.meters().ids_made(),
            },
            rates: self.rates(Reading {
                accepted: census.accepted,
                delivered: census.delivered,
            }),
            requests: Took { count, seconds },
            disk,
            clock: self.trust.standing(),
            notes: self.notes(),
            rules: self.policy.kept().into_iter().map(rule).collect(),
            log_lines_dropped: lifecycle::log_dropped(),
            delivery,
            ..report
        }
    }

    fn notes(&self) -> admin::NotesCounted {
        let (noted, now) = (self.observer.noted(), self.clock.monotonic());
        let counted = |counts: Vec<Count>| {
            let counts = counts
                .into_iter()
                .map(|((field, word), count)| admin::NoteCount {
                    field: field.to_owned(),
                    word: word.name().to_owned(),
                    count,
                });
            counts.collect()
        };
        let (delivered_lately_noted, delivered_lately) = noted.share(now);
        admin::NotesCounted {
            last_hour: counted(noted.last_hour(now)),
            since_start: counted(noted.totals()),
            lately: counted(noted.lately(now)),
            delivered_lately,
            delivered_lately_noted,
        }
    }

    /// Each report is a reading: the daemon makes one every few seconds for itself.
    fn rates(&self, reading: Reading) -> PerSecond {
        let now = Instant::now();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.read(now, reading);
        let (accepted, delivered) = rates.until(now, reading);
        PerSecond {
            accepted,
            delivered,
        }
    }
}

fn rule(kept: Kept) -> admin::RuleCount {
    admin::RuleCount {
        rule: kept.rule.to_string(),
        reason: kept.reason.map(|reason| reason.name().to_owned()),
        kept_back: kept.kept_back,
        matched: kept.matched,
        last_matched: kept.last_matched,
        judged: kept.judged,
        since: kept.since,
        in_effect: kept.in_effect,
    }
}
