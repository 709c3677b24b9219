//! `GET /status`: a [`Report`](super::Report) as JSON.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Door;

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/status", get(status))
}

async fn status(State(door): State<Door>) -> impl IntoResponse {
    let report = (door.report)().await;
    ([(CONTENT_TYPE, "application/json")], report.to_json())
}
