//! The drain.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Daemon, DaemonError};
use crate::deliver::{DrainEnd, DrainReport, GateState, Reason};
use crate::lifecycle::{Signal, notify};

/// How long clients may take to read the answers that are due at a stop.
const ANSWERS: Duration = Duration::from_secs(5);
/// How often the progress of the drain is checked, and how much more time the service manager is
/// asked for when there is some: a drain that takes longer than the unit allows is not cut off
/// while it delivers.
const LOOK: Duration = Duration::from_secs(1);
const MORE: Duration = Duration::from_secs(30);

impl Daemon {
    /// The drain, as the operator sees it: no new work, answers out, deliveries until the
    /// deadline, everything synced, and the report as the last line.
    ///
    /// # Errors
    /// Where the queue could not be closed: what is queued is not said to be safe then.
    pub(super) async fn stop(
        self,
        mut signals: UnboundedReceiver<Signal>,
    ) -> Result<(), DaemonError> {
        // A command that comes now is refused at once.
        drop(self.asked);
        let begun = self.clock.monotonic();
        let deadline = Instant::now() + self.read.delivery.drain_deadline;
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping: answering what was read, then delivering what is queued");
        notify::stopping("draining");
        let (hurry, hurried) = watch::channel(false);
        let delivery = self.delivery.clone();
        let patience = ANSWERS.min(self.read.delivery.drain_deadline);
        let ingest = self.ingest;
        let drain = async move {
            let in_a_hurry = || {
                let mut hurried = hurried.clone();
                // Its sender lives as long as this.
                async move { drop(hurried.wait_for(|hurried| *hurried).await) }
            };
            tokio::select! {
                () = ingest.stop(patience) => {}
                // A client that does not read holds up nobody who is in a hurry.
                () = in_a_hurry() => {}
            }
            let drain = delivery.drain(deadline);
            tokio::pin!(drain);
            tokio::select! {
                // In this order: it is asked to drain before it is told to give that up, and so
                // knows what was under way.
                biased;
                report = &mut drain => report,
                () = in_a_hurry() => {
                    delivery.abandon();
                    drain.await
                }
            }
        };
        tokio::pin!(drain);
        let mut look = tokio::time::interval(LOOK);
        let mut settled = None;
        let report = loop {
            tokio::select! {
                report = &mut drain => break report,
                Some(signal) = signals.recv() => {
                    if signal == Signal::Stop {
                        tracing::info!("a second signal: not waiting for deliveries");
                        let _ = hurry.send(true);
                    }
                }
                _ = look.tick() => {
                    let census = self.queue.census();
                    let now = Some(census.delivered + census.dead_total());
                    if settled.is_some() && settled != now {
                        let left = census.queued + census.sending;
                        notify::extend(&format!("draining, {left} queued"), MORE);
                    }
                    settled = now;
                }
            }
        };
        notify::extend("closing the queue", MORE);
        self.admin_tasks
            .iter()
            .for_each(tokio::task::JoinHandle::abort);
        let closed = self.queue.close().await;
        self.quality.stop().await;
        self.sockets.remove();
        let took = Duration::from_millis((self.clock.monotonic() - begun).unsigned_abs());
        let place = self.queue.place();
        if let Err(error) = closed {
            return Err(DaemonError::Io(format!(
                "the queue in {place} could not be closed, and what was queued cannot be promised: {error}"
            )));
        }
        let line = render(&report, took, &place);
        notify::status(&line);
        tracing::info!("{line}");
        Ok(())
    }
}

/// The report in one line: what was done, why it ended, what is left and where, what was
/// waited for.
fn render(report: &DrainReport, took: Duration, place: &str) -> String {
    let why = match report.end {
        DrainEnd::Empty => "everything was delivered or is a dead letter",
        DrainEnd::Deadline => "the drain deadline was reached",
        DrainEnd::GateClosed if report.gate.state == GateState::Paused => "delivery is paused",
        DrainEnd::GateClosed => "Pinterest cannot be delivered to now",
        DrainEnd::HandedOver => "another daemon goes on with what is left",
        DrainEnd::Abandoned => "a second signal ended the waiting",
        DrainEnd::QueueStopped => "the queue had stopped",
    };
    let mut line = format!(
        "drained in {:.1} s ({why}): {} delivered, {} dead, {} still queued and safe in {place}, \
         {} of them in doubt; {} requests were under way at the stop, {} were not waited for",
        took.as_secs_f64(),
        report.delivered,
        report.dead,
        report.queued,
        report.in_doubt,
        report.awaited,
        report.abandoned,
    );
    if report.gate.state != GateState::Open {
        let _ = write!(line, "; the gate is {}", report.gate.state.name());
        if let Some(reason) = report.gate.reason.filter(|r| *r != Reason::Paused) {
            let _ = write!(line, " ({})", reason.name());
        }
        if let Some(detail) = &report.gate.detail {
            let _ = write!(line, ": {detail}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::GateStatus;

    #[test]
    fn the_report_says_what_was_waited_for_and_why_it_ended() {
        let report = DrainReport {
            end: DrainEnd::GateClosed,
            delivered: 3,
            dead: 1,
            queued: 40,
            in_doubt: 20,
            awaited: 2,
            abandoned: 1,
            gate: GateStatus {
                state: GateState::Parked,
                reason: Some(Reason::Auth),
                detail: Some("HTTP 401: no".into()),
                ..GateStatus::default()
            },
        };
        assert_eq!(
            render(&report, Duration::from_millis(2140), "/q"),
            "drained in 2.1 s (Pinterest cannot be delivered to now): 3 delivered, 1 dead, 40 \
             still queued and safe in /q, 20 of them in doubt; 2 requests were under way at the \
             stop, 1 were not waited for; the gate is parked (auth): HTTP 401: no"
        );
    }
}
