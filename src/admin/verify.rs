//! `GET /verify`: reads the whole queue and gives a [`Verdict`](crate::queue::Verdict) as JSON.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Door;

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/verify", get(verify))
}

async fn verify(State(door): State<Door>) -> impl IntoResponse {
    match door.queue.verify().await {
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
