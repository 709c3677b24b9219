//! `GET /queue?after=NUMBER&limit=N`: events that wait, oldest first, as they came. Holds personal
//! data. `next` is the number after which to go on, null after the last page.
//!
//! `list` tells of them without personal data, `one` tries or drops one of them.

mod list;
mod one;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::AdminState;
use crate::clock::Millis;
use crate::queue::Seq;
use crate::queue::Waiting;
pub use list::{QueueList, WaitingEvent};
pub use one::{Dropping, QueueOne, Retrying};

/// Events of one page, at most.
const MOST: usize = 1000;

/// Some of the line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queued {
    /// By number, ascending. Some of them may be delivered meanwhile.
    pub events: Vec<QueuedEvent>,
    /// The number after which to go on.
    pub next: Option<u64>,
}

/// An event that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueuedEvent {
    /// Its sequence number.
    pub number: u64,
    /// When it was accepted.
    pub accepted_at: Millis,
    /// Unix seconds; what goes out as event_time.
    pub event_time: i64,
    /// The line as it came.
    pub event: Box<RawValue>,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/queue", get(queue))
        .merge(list::routes())
        .merge(one::routes())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn queue(
    State(state): State<AdminState>,
    Query(which): Query<Which>,
) -> Result<Json<Queued>, (StatusCode, String)> {
    let limit = which.limit.unwrap_or(MOST).clamp(1, MOST);
    let page = state.queue.waiting(Seq(which.after), limit).await;
    let page = page.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(Json(Queued {
        next: page.next.map(|next| next.0),
        events: page.events.into_iter().filter_map(shown).collect(),
    }))
}

fn shown(waiting: Waiting) -> Option<QueuedEvent> {
    // The socket took no line that is not JSON.
    let text = String::from_utf8(waiting.body.to_vec()).ok()?;
    Some(QueuedEvent {
        number: waiting.number.0,
        accepted_at: waiting.accepted_at,
        event_time: waiting.event_time,
        event: RawValue::from_string(text).ok()?,
    })
}
