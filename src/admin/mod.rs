//! The operator's door: a Unix socket that speaks HTTP/1.1 and JSON.
//!
//! `GET /status` gives a [`Report`] as JSON; with `?format=text` the same for people.
//! `GET /verify` reads the whole queue and gives a [`Verdict`](crate::queue::Verdict) as JSON.

mod report;

use std::os::unix::net::UnixListener as StdUnixListener;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

pub use report::{Gate, Report};

use crate::queue::Queue;

/// Makes a report of this moment.
pub type Source =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Report> + Send>> + Send + Sync + 'static>;

#[derive(Deserialize)]
struct StatusQuery {
    format: Option<String>,
}

/// Serves on `listener` until the task is aborted. Must be called within a runtime.
///
/// # Errors
/// The system's, if the listener cannot be watched.
pub fn spawn(
    listener: StdUnixListener,
    source: Source,
    queue: Queue,
) -> std::io::Result<JoinHandle<()>> {
    let listener = UnixListener::from_std(listener)?;
    let routes = Router::new()
        .route("/status", get(status))
        .with_state(source)
        .merge(
            Router::new()
                .route("/verify", get(verify))
                .with_state(queue),
        );
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!("the admin socket has ended: {error}");
        }
    }))
}

async fn status(
    State(source): State<Source>,
    Query(query): Query<StatusQuery>,
) -> impl IntoResponse {
    let report = source().await;
    match query.format.as_deref() {
        Some("text") => (
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            report.to_string(),
        ),
        _ => ([(CONTENT_TYPE, "application/json")], report.to_json()),
    }
}

async fn verify(State(queue): State<Queue>) -> impl IntoResponse {
    match queue.verify().await {
        Ok(verdict) => (
            StatusCode::OK,
            [(CONTENT_TYPE, "application/json")],
            verdict.to_json(),
        ),
        Err(stopped) => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            stopped.to_string(),
        ),
    }
}
