//! `GET /status`: a [`Report`](super::Report) as JSON.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::state::AdminState;

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/status", get(status))
}

async fn status(State(state): State<AdminState>) -> impl IntoResponse {
    let report = (state.report)().await;
    ([(CONTENT_TYPE, "application/json")], report.to_json())
}
