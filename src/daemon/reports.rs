//! What `status` shows, put together from the parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::admin::{self, Report};
use crate::clock::Clock;
use crate::config::Config;
use crate::deliver::{self, GateState};
use crate::queue::Queue;

/// A source of reports.
pub(super) fn reports(
    config: &Config,
    queue: &Queue,
    delivery: &Arc<deliver::Handle>,
    clock: &Clock,
    draining: &Arc<AtomicBool>,
) -> admin::Source {
    let (queue, delivery, clock) = (queue.clone(), delivery.clone(), clock.clone());
    let (draining, test_mode) = (draining.clone(), config.pinterest.test);
    Arc::new(move || {
        let (queue, delivery, clock) = (queue.clone(), delivery.clone(), clock.clone());
        let draining = draining.load(Ordering::Relaxed);
        Box::pin(async move {
            let status = delivery.status().await;
            let gate = &status.gate;
            let state = match (draining, gate.state) {
                (true, _) => "draining",
                (_, GateState::Open) => "delivering",
                (_, GateState::Shut) => "backing off",
                (_, GateState::Parked) => "parked",
                (_, GateState::Paused) => "paused",
            };
            let report = Report::new(&queue.census(), clock.now());
            let (delivered, delivered_test) = match test_mode {
                true => (0, report.delivered),
                false => (report.delivered, 0),
            };
            // Plain data serialises.
            let value = serde_json::to_value(&status).unwrap_or_default();
            let word = |key: &str| value["gate"][key].as_str().map(str::to_owned);
            Report {
                state: state.into(),
                test_mode,
                gate: admin::Gate {
                    state: gate.state.name().into(),
                    reason: word("reason"),
                    detail: gate.detail.clone(),
                    since: gate.since,
                    next_probe: gate.next_probe,
                    until: gate.until,
                },
                delivered,
                delivered_test,
                late: status.late,
                delivery: value,
                ..report
            }
        })
    })
}
