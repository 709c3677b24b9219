//! The drain.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::Daemon;
use crate::deliver::{DrainEnd, DrainReport};
use crate::lifecycle::{Signal, notify};

/// How long clients may take to read the answers that are due at a stop.
const ANSWERS: Duration = Duration::from_secs(5);

impl Daemon {
    /// The drain, as the operator sees it: no new work, answers out, deliveries until the
    /// deadline, everything synced, and the report as the last line.
    pub(super) async fn stop(self, mut signals: UnboundedReceiver<Signal>) {
        // Whoever asks for something now is told so at once.
        drop(self.asked);
        let begun = self.clock.monotonic();
        let deadline = Instant::now() + self.read.delivery.drain_deadline;
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping: answering what was read, then delivering what is queued");
        notify::stopping("draining");
        let delivery = self.delivery.clone();
        let drain = async {
            self.ingest
                .stop(ANSWERS.min(self.read.delivery.drain_deadline))
                .await;
            self.delivery.drain(deadline).await
        };
        tokio::pin!(drain);
        let report = loop {
            tokio::select! {
                report = &mut drain => break report,
                Some(signal) = signals.recv() => {
                    if signal == Signal::Stop {
                        tracing::info!("a second signal: not waiting for deliveries");
                        delivery.abandon();
                    }
                }
            }
        };
        self.admin.abort();
        if let Err(error) = self.queue.close().await {
            tracing::error!("closing the queue: {error}");
        }
        for path in &self.bound {
            // A socket file left behind is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
        let took = self.clock.monotonic() - begun;
        tell_drain(
            &report,
            took,
            &self.config.queue_folder().display().to_string(),
        );
    }
}

fn tell_drain(report: &DrainReport, took: i64, folder: &str) {
    let why = match report.end {
        DrainEnd::Empty => "everything was delivered or is a dead letter",
        DrainEnd::Deadline => "the drain deadline was reached",
        DrainEnd::GateClosed => "Pinterest cannot be delivered to now",
        DrainEnd::Abandoned => "a second signal ended the waiting",
        DrainEnd::QueueStopped => "the queue had stopped",
    };
    let line = format!(
        "drained in {:.1} s ({why}): {} delivered, {} dead, {} still queued and safe in {folder}, \
         {} of them in doubt",
        took as f64 / 1000.0,
        report.delivered,
        report.dead,
        report.queued,
        report.in_doubt,
    );
    notify::status(&line);
    tracing::info!("{line}");
}
