//! `GET /healthz`: the process answers. `GET /readyz`: events come in; 503 and why if not.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::state::AdminState;

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    /// Why not; empty when it is.
    reasons: Vec<String>,
}

async fn ready(State(state): State<AdminState>) -> Response {
    let reasons = (state.report)().await.not_accepting;
    let ready = reasons.is_empty();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Ready { ready, reasons })).into_response()
}
