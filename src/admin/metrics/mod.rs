//! `GET /metrics`: what a [`Report`](super::report::Report) and the meters say, for Prometheus.
//!
//! Durable counts come from the report at each scrape, so that a restart does not set them
//! back; what only this process knows begins at 0 with it.

mod exposition;
mod warnings;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::state::AdminState;
use crate::observe::Span;

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let report = (state.report)().await;
    let day = state
        .observer
        .quality()
        .window(Span::Day, state.clock.now());
    match exposition::text(&report, &state.observer, &day) {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!("a bug: the metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
