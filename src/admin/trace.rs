//! `GET /trace?id=MESSAGE_ID`: what is known of one event.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Door;
use crate::observe::{BOUND_BYTES, Step, short};
use crate::queue::Millis;

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/trace", get(trace))
}

#[derive(Deserialize)]
struct TraceQuery {
    id: String,
}

/// One event's life as far as it is known. No personal data in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The event.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// What happened to it in this process' memory, oldest first.
    pub steps: Vec<Step>,
    /// The memory reaches back to here, Unix milliseconds: the start of the process, or later
    /// when it had to forget.
    pub since: Millis,
    /// It had to forget: more happened since the start than its bound holds.
    pub forgot: bool,
    /// That bound.
    pub bound_bytes: usize,
}

async fn trace(State(door): State<Door>, Query(query): Query<TraceQuery>) -> Json<Trace> {
    let started_at = (door.report)().await.started_at;
    let id = short(door.queue.hasher().hash(&query.id));
    let history = door.observer.history();
    let forgot = history.since();
    Json(Trace {
        steps: history.trace(id),
        since: forgot.unwrap_or(started_at),
        forgot: forgot.is_some(),
        bound_bytes: BOUND_BYTES,
        message_id: query.id,
    })
}
