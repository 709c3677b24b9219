//! The operator's socket: a Unix socket that speaks HTTP/1.1 and JSON.
//!
//! One file per group of routes: `status`, `metrics` and `health`, `tail`, `trace`, `verify`,
//! `losses`, `control`, `clock`, `dead`, `forget`, `queue`, `quality`. All of them work on `state`; what only the
//! daemon's own loop can do goes to it as a `command`; `report` is what `status` shows; `caller` is whose
//! connection it is, `host` whom a request to the metrics port means. Errors are
//! plain text with a status code: 400 when a request is wrong, 503 when the queue has stopped, 422
//! when what was asked cannot be done.

mod caller;
mod clock;
mod command;
mod control;
mod dead;
mod forget;
mod health;
mod host;
mod losses;
mod metrics;
mod quality;
mod queue;
pub mod report;
mod state;
mod status;
mod tail;
mod trace;
mod verify;

use std::net::TcpListener as StdTcpListener;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

pub use command::{Change, Command, Paused, Reloaded, Resumed};
pub use control::{PauseFor, Resume};
pub use dead::{Brief, Briefs, Filter, Group, Groups, Letters, Line, Lines, Moved, Shown};
pub use forget::{Forget, Forgot};
pub use quality::{Advice, FieldCovered, NameQuality, QualityReport};
pub use queue::{Dropping, QueueList, QueueOne, Queued, QueuedEvent, Retrying, WaitingEvent};
pub use report::{
    Destination, Gate, Ledger, NoteCount, NotesCounted, PerSecond, Report, RuleCount, Severity,
    SinceStart, Took, Trouble, lost,
};
pub use state::{AdminState, Advised, Noting, Person, Persons, Settings, Source, UnlikeTag};
pub use tail::Seen;
pub use trace::{Stored, Trace};

use crate::net::{self, Crowd, Limits, Service};
use caller::Caller;

/// What the metrics port may hold, since every local user may connect. A scrape takes
/// milliseconds, and Prometheus makes a new connection.
const METRICS_PORT: Limits = Limits {
    name: "the metrics port",
    connections: 16,
    life: Some(Duration::from_secs(20)),
    busy_may_go: Some(Duration::from_secs(1)),
};

/// What the admin socket may hold: whoever may use it may also leak connections, and these are
/// descriptors that the queue, delivery and ingest need.
const ADMIN_SOCKET: Limits = Limits {
    name: "the admin socket",
    connections: 32,
    life: None,
    busy_may_go: Some(Duration::from_secs(5)),
};

/// Serves on `listener`, and on those that are sent, until the task is aborted. Must be called
/// within a runtime.
pub fn spawn(
    listener: UnixListener,
    state: AdminState,
) -> (JoinHandle<()>, UnboundedSender<UnixListener>) {
    let (acceptor, more) = net::acceptor(vec![listener], Crowd::new(ADMIN_SOCKET));
    let service = Service::new(acceptor, ADMIN_SOCKET);
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
        .merge(forget::routes())
        .merge(quality::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(caller::while_it_works))
        .with_state(state)
        .into_make_service_with_connect_info::<Caller>();
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(service, routes).await {
            tracing::error!("the admin socket has ended: {error}");
        }
    });
    (task, more)
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
pub fn spawn_metrics(
    listener: StdTcpListener,
    state: AdminState,
) -> std::io::Result<JoinHandle<()>> {
    let (acceptor, _) = net::acceptor(
        vec![TcpListener::from_std(listener)?],
        Crowd::new(METRICS_PORT),
    );
    let service = Service::new(acceptor, METRICS_PORT);
    let routes = Router::new()
        .merge(metrics::routes())
        .merge(health::routes())
        .layer(from_fn(host::by_address))
        .with_state(state);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(service, routes).await {
            tracing::error!("the metrics port has ended: {error}");
        }
    }))
}
