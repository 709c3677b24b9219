//! What the admin socket asks of the daemon's loop.

use std::time::Duration;

use super::Daemon;
use super::pause::{STORES, log_pause};
use crate::admin::{Command, Paused, Resumed};
use crate::deliver::GateState;
use crate::queue::QueueError;

/// Said of a disk that does not answer in time.
const SILENT: &str = "the disk of the queue does not answer (`dmesg`)";

impl Daemon {
    pub(super) async fn on_command(&mut self, command: Command) {
        // Whoever asked may have gone meanwhile; it is done all the same.
        match command {
            Command::Reload(answer) => {
                let _ = answer.send(self.reload().await);
            }
            Command::Pause {
                length,
                reason,
                answer,
            } => {
                let _ = answer.send(self.pause(length, reason).await);
            }
            Command::Resume { isolate, answer } => {
                let _ = answer.send(self.resume(isolate).await);
            }
            Command::Held { ids, answer } => {
                let _ = answer.send(self.delivery.held(ids).await);
            }
            Command::TryAtOnce { id, answer } => {
                let _ = answer.send(self.delivery.try_at_once(id).await);
            }
        }
    }

    /// Delivery stops first; that the pause is kept comes second.
    async fn pause(
        &mut self,
        length: Option<Duration>,
        reason: Option<String>,
    ) -> Result<Paused, String> {
        let gate = self.delivery.status().await.gate;
        let held = (gate.since).filter(|_| gate.state == GateState::Paused);
        let pause = self.pauses.begin(held, length, reason);
        self.delivery.pause(pause.clone());
        // The queue's folder may be slow to answer; by now nothing leaves.
        let in_flight = self.delivery.status().await.in_flight;
        log_pause(&pause, "delivery is paused");
        if let Err(why) = self.pauses.store(&pause, length).await {
            tracing::error!("{why}");
            return Err(why);
        }
        Ok(Paused {
            since: pause.since,
            until: pause.until,
            reason: pause.reason,
            in_flight,
        })
    }

    /// That the pause is over is durable before anything leaves.
    async fn resume(&mut self, isolate: bool) -> Result<Resumed, String> {
        let was = self.delivery.status().await.gate.state;
        if isolate {
            let kept = tokio::time::timeout(STORES, self.queue.keep_dead()).await;
            let kept = kept.unwrap_or_else(|_| Err(QueueError::Unavailable(SILENT.to_owned())));
            kept.map_err(|error| format!("{error}; delivery stays as it is"))?;
        }
        self.pauses.end().await?;
        self.delivery.resume(isolate);
        tracing::info!(was = was.name(), isolate, "resumed by the operator");
        Ok(Resumed {
            was: was.name().to_owned(),
            isolate,
        })
    }
}
