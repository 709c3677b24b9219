//! `GET /quality`: how well what is delivered can be matched, and what would mend it.
//!
//! `data` is the answer; `advice` makes sentences of counts, purely.

mod advice;
mod data;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

pub use data::{Advice, FieldCovered, NameQuality, QualityReport};

use super::state::AdminState;
use crate::observe::Span;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// `1h`, `24h` or `start`; 24h without.
    window: Option<String>,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/quality", get(quality))
}

async fn quality(State(state): State<AdminState>, Query(asked): Query<Asked>) -> Response {
    let span = match asked.window.as_deref() {
        Some("1h") => Span::Hour,
        None | Some("24h") => Span::Day,
        Some("start") => Span::Start,
        Some(_) => {
            let wrong = "window is one of 1h, 24h and start\n";
            return (StatusCode::BAD_REQUEST, wrong).into_response();
        }
    };
    let now = state.clock.now();
    let quality = state.observer.quality();
    let mut report = QualityReport::new(span, &quality.window(span, now), now);
    let settings = (state.advised)();
    let status = (state.report)().await;
    report.warnings = status.delivery.warnings.clone();
    report.notes = status.notes.last_hour.clone();
    let looks = quality.looks(state.clock.monotonic());
    report.looked_at = looks
        .iter()
        .map(|(name, looked)| (name.to_string(), looked.events))
        .collect();
    report.advice = advice::advice(&report, &looks, &settings, &status);
    Json(report).into_response()
}
