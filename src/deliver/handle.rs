//! How the rest of the daemon starts the delivery side, speaks to it and ends it.

use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::courier::Courier;
use super::destination::{Destination, Transport};
use super::held::{Held, TriedAtOnce};
use super::item::Prepare;
use super::messages::Command;
use super::options::{Environment, Limits, Options, Pause};
use super::run::Run;
use super::status::{DrainEnd, DrainReport, Status};
use crate::queue::{EntryId, Queue};

/// The running delivery side. Dropping it abandons what is in flight, as a crash would; end it
/// with [`Handle::drain`].
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    last: Arc<Mutex<Status>>,
    queue: Queue,
}

/// Starts delivering from `queue` to a destination, over `transport`. `seed` feeds the jitter.
/// Must be called within a runtime.
pub(super) fn start(
    options: &Options,
    queue: Queue,
    prepare: Prepare,
    destination: &'static Destination,
    transport: impl Transport,
    environment: Environment,
    seed: u64,
) -> Handle {
    let rng = StdRng::seed_from_u64(seed);
    let courier = Courier::new(destination, options, rng, environment, Instant::now());
    let (commands, command_rx) = mpsc::unbounded_channel();
    let last = Arc::new(Mutex::default());
    let status = Arc::clone(&last);
    let run = Run::new(
        courier,
        queue.clone(),
        transport,
        prepare,
        command_rx,
        status,
    );
    tokio::spawn(run.run());
    Handle {
        commands,
        last,
        queue,
    }
}

impl Handle {
    /// Goes on under another config: what has not left and is not in doubt is transformed
    /// anew, and a gate that is not open is tried at once, over a connection of its own making.
    pub fn reload(&self, prepare: Prepare, limits: Limits) {
        // A loop that has ended has said so; there is nothing to reload then.
        let _ = self.commands.send(Command::Reload(prepare, limits));
    }

    /// The shared token was swapped: a gate that is parked is tried at once.
    pub fn token_changed(&self) {
        let _ = self.commands.send(Command::TokenChanged);
    }

    /// Nothing leaves from here on; what is in flight is still taken, and what is too old
    /// still expires.
    pub fn pause(&self, pause: Pause) {
        let _ = self.commands.send(Command::Pause(pause));
    }

    /// The pause has ended by itself. A gate that is not open stays so.
    pub fn pause_over(&self) {
        let _ = self.commands.send(Command::PauseOver);
    }

    /// Ends a pause and opens the gate by the operator's word. With `isolate` refused events
    /// become dead letters one by one, however many they are, until one is processed; the caller has
    /// told the queue to keep them ([`Queue::keep_dead`]).
    pub fn resume(&self, isolate: bool) {
        let _ = self.commands.send(Command::Resume { isolate });
    }

    /// What each of these events waits for, in their order; `None` while another process
    /// has the turn to deliver, and once the loop has ended.
    pub async fn held(&self, ids: Vec<EntryId>) -> Option<Vec<Held>> {
        let (tx, rx) = oneshot::channel();
        self.commands.send(Command::Held(ids, tx)).ok()?;
        rx.await.ok().flatten()
    }

    /// Tries at once what backs off: the batch of this event, or with `None` all of them. Does
    /// nothing before a gate that is not open. `None` once the loop has ended.
    pub async fn try_at_once(&self, id: Option<EntryId>) -> Option<TriedAtOnce> {
        let (tx, rx) = oneshot::channel();
        self.commands.send(Command::TryAtOnce(id, tx)).ok()?;
        rx.await.ok()
    }

    /// A snapshot; the last one once the loop has ended.
    pub async fn status(&self) -> Status {
        let (tx, rx) = oneshot::channel();
        if self.commands.send(Command::Status(tx)).is_ok()
            && let Ok(status) = rx.await
        {
            return status;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Resolves when the loop has ended: after a drain, or because it cannot go on
    /// ([`Status::stopped`] says why).
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Delivers what is queued until `deadline`; ends at once when the gate is not open. What
    /// is in flight at the end is abandoned, and its marks stay. What was settled is durable
    /// when this returns, and the loop has ended.
    pub async fn drain(&self, deadline: Instant) -> DrainReport {
        let (tx, rx) = oneshot::channel();
        let asked = self.commands.send(Command::Drain(deadline, tx)).is_ok();
        if asked && let Ok(report) = rx.await {
            return report;
        }
        let census = self.queue.census();
        DrainReport {
            end: DrainEnd::QueueStopped,
            delivered: 0,
            dead: 0,
            queued: census.queued + census.sending,
            in_doubt: census.in_doubt + census.sending,
            awaited: 0,
            abandoned: 0,
            gate: self.status().await.gate,
        }
    }

    /// Ends a drain, or the delivery as such, without waiting for anything but what is being
    /// settled.
    pub fn abandon(&self) {
        let _ = self.commands.send(Command::Abandon);
    }
}
