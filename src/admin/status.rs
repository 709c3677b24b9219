//! `GET /status`: a [`Report`](super::Report) as JSON; with `?format=text` the same for people.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Deserialize;

use super::Door;

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/status", get(status))
}

#[derive(Deserialize)]
struct StatusQuery {
    format: Option<String>,
}

async fn status(State(door): State<Door>, Query(query): Query<StatusQuery>) -> impl IntoResponse {
    let report = (door.report)().await;
    match query.format.as_deref() {
        Some("text") => (
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            report.to_string(),
        ),
        _ => ([(CONTENT_TYPE, "application/json")], report.to_json()),
    }
}
