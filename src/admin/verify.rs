//! `GET /verify`: reads the whole queue and gives a [`Verdict`](crate::queue::Verdict) as JSON.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::state::AdminState;

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/verify", get(verify))
}

async fn verify(State(state): State<AdminState>) -> impl IntoResponse {
    match state.queue.verify().await {
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
