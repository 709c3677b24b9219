//! The operator's door: a Unix socket that speaks HTTP/1.1 and JSON.
//!
//! One file per group of routes: `status`, `metrics` and `health`, `tail`, `trace`, `verify`,
//! `control`, `clock`, `dead`, `queue`. Errors are plain text with a status code: 400 when a request is wrong, 503
//! when the queue has stopped, 422 when what was asked cannot be done.

mod clock;
mod control;
mod dead;
mod health;
mod losses;
mod metrics;
mod port;
mod queue;
pub mod report;
mod status;
mod tail;
mod trace;
mod verify;

use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use control::{Change, PauseFor, Paused, Reloaded, Resume, Resumed};
pub use dead::{Filter, Group, Groups, Letters, Line, Lines, Moved, Shown};
pub use queue::{Queued, QueuedEvent};
pub use report::{Gate, Ledger, PerSecond, Report, SinceStart, Took, lost};
pub use tail::Seen;
pub use trace::{Stored, Trace};

use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
use crate::queue::Queue;

/// Makes a report of this moment.
pub type Source =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Report> + Send>> + Send + Sync + 'static>;

/// What is behind the door: everything a route may ask or change.
#[derive(Clone)]
pub struct Door {
    /// The queue.
    pub queue: Queue,
    /// What the parts told.
    pub observer: Observer,
    /// Reports.
    pub report: Source,
    /// The time.
    pub clock: Clock,
    /// Whether it is believed.
    pub trust: WallTrust,
    /// What only the daemon's own loop can do.
    pub commands: mpsc::UnboundedSender<Command>,
}

/// Asked of the daemon's loop.
pub enum Command {
    /// Read config and token again; the answer is what changed, or what is wrong.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Let nothing leave; the answer is the pause, or that a restart would end it.
    Pause {
        /// How long; `None`: until it is resumed.
        length: Option<Duration>,
        /// The operator's words.
        reason: Option<String>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Paused, String>>,
    },
    /// End a pause and open the gate; the answer is what was ended, or why it was not.
    Resume {
        /// Refused events become dead letters one by one.
        isolate: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Resumed, String>>,
    },
}

/// Serves on `listener` until the task is aborted. Must be called within a runtime.
///
/// # Errors
/// The system's, if the listener cannot be watched.
pub fn spawn(listener: StdUnixListener, door: Door) -> std::io::Result<JoinHandle<()>> {
    let listener = UnixListener::from_std(listener)?;
    let routes = Router::new()
        .merge(status::routes())
        .merge(metrics::routes())
        .merge(health::routes())
        .merge(tail::routes())
        .merge(trace::routes())
        .merge(queue::routes())
        .merge(verify::routes())
        .merge(losses::routes())
        .merge(control::routes())
        .merge(clock::routes())
        .merge(dead::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(door);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!("the admin socket has ended: {error}");
        }
    }))
}

async fn no_route(uri: Uri) -> (StatusCode, String) {
    let path = uri.path();
    let said = format!("there is no {path} here; try /status, or see docs/protocol.md for all\n");
    (StatusCode::NOT_FOUND, said)
}

async fn no_method(method: Method, uri: Uri) -> (StatusCode, String) {
    let path = uri.path();
    let said =
        format!("there is no {method} {path}: what changes something is a POST, the rest a GET\n");
    (StatusCode::METHOD_NOT_ALLOWED, said)
}

/// Serves what may be known without being let in, `/metrics`, `/healthz` and `/readyz`, and
/// nothing else, until the task is aborted. Must be called within a runtime.
///
/// # Errors
/// The system's, if the listener cannot be watched.
pub fn spawn_metrics(listener: StdTcpListener, door: Door) -> std::io::Result<JoinHandle<()>> {
    let listener = port::Port::new(TcpListener::from_std(listener)?);
    let routes = Router::new()
        .merge(metrics::routes())
        .merge(health::routes())
        .with_state(door);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!("the metrics port has ended: {error}");
        }
    }))
}
