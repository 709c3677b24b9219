//! Delivery: claims events, has them transformed, sends them in batches, and settles each by
//! what Pinterest answers.
//!
//! ```text
//!  claim ─▶ prepare ─▶ ready ──cut──▶ mark ─▶ send ─▶ classify ─▶ settle
//!             ▲          ▲  waiting ──▲                   │
//!             │          │  isolation ▲ halves ◀─ refused ┤
//!             └─ reload ─┴──────── released, in doubt ◀───┘
//! ```
//!
//! What may be relied on:
//! 1. A request leaves only after its mark is durable, and leaves once per mark.
//! 2. An event is sent again only when Pinterest took none of it (its mark is released) or
//!    when that is not known (it is in doubt, and goes out under the same name; while the
//!    process lives byte for byte).
//! 3. Trouble of the destination (token, rate, outage, a config that is refused) is the
//!    gate's and costs no event; trouble inside an event costs no other one.
//! 4. What ends an event is a verdict about it alone, or its age.
//!
//! `courier` (with `answer` and `upkeep`) is the state and decides; `run` is the only part
//! that waits. Leaves, each pure: `batch`, `ready`, `classify`, `words`, `gate`, `retry`,
//! `pace`, `isolate`, `refusal`, `strip`, `age`. `client` carries the bytes, `witness` tells the
//! [`Observer`] what happens; `online` sends one test event for `check`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

mod age;
mod answer;
mod batch;
mod classify;
mod client;
mod courier;
mod gate;
mod isolate;
mod item;
mod online;
mod pace;
mod pause;
mod prepare;
#[doc(hidden)]
pub mod properties;
mod ready;
mod refusal;
mod retry;
mod run;
mod send;
mod status;
mod strip;
mod upkeep;
mod witness;
mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use client::ClientError;
pub use gate::Reason;
pub use item::{Dead, Prepare, Prepared, StrippedKeys};
pub use online::{Online, try_online};
pub use pause::Pause;
pub use status::{DrainEnd, DrainReport, GateState, GateStatus, LastError, Requests, Status};
pub use words::normalise;

use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
use crate::queue::Queue;
use crate::secret::SharedToken;
use courier::Courier;
use run::{Command, Run};
use send::Transport;

/// Where to deliver, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// `pinterest.base_url`: https, or http on loopback.
    pub base_url: String,
    /// `pinterest.ad_account_id`: up to 18 digits.
    pub ad_account_id: String,
    /// `pinterest.test`: validated and answered, not recorded; at most 20 events a request and
    /// 10 requests a second.
    pub test: bool,
    /// `delivery.request_timeout`.
    pub request_timeout: Duration,
    /// It starts paused.
    pub paused: Option<Pause>,
    /// What a reload may change.
    pub limits: Limits,
}

/// The part of the options that a reload may change. All counts and times are positive unless
/// said otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `delivery.max_batch_events`, at most 1000.
    pub max_batch_events: usize,
    /// `delivery.max_batch_bytes`, of a request's body.
    pub max_batch_bytes: usize,
    /// `delivery.linger`: how long an event waits for company.
    pub linger: Duration,
    /// `delivery.max_in_flight`: requests at once.
    pub max_in_flight: usize,
    /// `delivery.max_age`: older events expire.
    pub max_age: Duration,
    /// `delivery.max_calls_per_minute`; 0: no limit.
    pub max_calls_per_minute: u32,
    /// `delivery.backoff_initial`.
    pub backoff_initial: Duration,
    /// `delivery.backoff_max`.
    pub backoff_max: Duration,
    /// `custom_properties.on_refused`.
    pub on_refused: OnRefused,
    /// `delivery.late_after`: what happened longer ago is late when it leaves.
    pub late_after: Duration,
    /// `delivery.on_late`.
    pub on_late: OnLate,
}

/// What becomes of an event that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLate {
    /// It goes, and is counted.
    Deliver,
    /// It is a dead letter (`late`), and goes if it is queued again.
    DeadLetter,
}

/// What becomes of an event whose custom property Pinterest refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefused {
    /// It goes without the property.
    Strip,
    /// It is a dead letter (`custom_refused`).
    DeadLetter,
}

/// What the process lends to the delivery side.
#[derive(Clone)]
pub struct Surroundings {
    /// The process' clock.
    pub clock: Clock,
    /// Whether the wall clock may end events.
    pub trust: WallTrust,
    /// Told of requests and of events' ends.
    pub observer: Observer,
}

/// The running delivery side. Dropping it abandons what is in flight, as a crash would; end it
/// with [`Handle::drain`].
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    last: Arc<Mutex<Status>>,
    queue: Queue,
}

/// Starts delivering from `queue`. `seed` feeds the jitter. Must be called within a runtime.
///
/// # Errors
/// [`ClientError`] if the options allow no client; nothing was started then.
pub fn spawn(
    options: &Options,
    queue: Queue,
    prepare: Prepare,
    token: SharedToken,
    around: Surroundings,
    seed: u64,
) -> Result<Handle, ClientError> {
    let transport = client::Http::new(options, token)?;
    Ok(start(options, queue, prepare, transport, around, seed))
}

fn start(
    options: &Options,
    queue: Queue,
    prepare: Prepare,
    transport: impl Transport,
    around: Surroundings,
    seed: u64,
) -> Handle {
    let rng = StdRng::seed_from_u64(seed);
    let limits = options.limits.clone();
    let mut courier = Courier::new(limits, options.test, rng, around, Instant::now());
    courier.paused = options.paused.clone();
    let (commands, command_rx) = mpsc::unbounded_channel();
    let last = Arc::new(Mutex::default());
    let (status, queue_there) = (Arc::clone(&last), queue.clone());
    tokio::spawn(async move {
        match queue_there.turn().await {
            Ok(turn) => {
                let there = (queue_there, turn);
                let run = Run::new(courier, there, transport, prepare, command_rx, status);
                run.run().await;
            }
            Err(error) => {
                tracing::error!("delivery stops: {error}");
                let mut last = status.lock().unwrap_or_else(PoisonError::into_inner);
                last.stopped = Some(error.to_string());
            }
        }
    });
    Handle {
        commands,
        last,
        queue,
    }
}

impl Handle {
    /// Goes on under another config: what has not left and is not in doubt is transformed
    /// anew, and a parked gate is tried at once.
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
    /// become dead letters one by one, however many they are, until one is processed.
    pub fn resume(&self, isolate: bool) {
        let _ = self.commands.send(Command::Resume { isolate });
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
