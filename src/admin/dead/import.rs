//! `POST /dead/import`: exported letters, edited or not, come back.

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::refused::Refused;
use crate::admin::state::AdminState;
use crate::clock::Millis;
use crate::event::{self, BYTE_ORDER_MARK};
use crate::queue::Import;

/// Bytes of one request, and so of one line.
const MOST_BYTES: usize = 16 << 20;

/// What became of each line of an import, in order; blank lines are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// One for each line.
    pub lines: Vec<Line>,
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `revived`, `queued`, `duplicate` or `rejected`.
    pub status: String,
    /// Why it was rejected; never a value of the event.
    pub error: Option<String>,
}

/// A line, as far as it is read.
#[derive(Deserialize)]
struct Exported<'a> {
    accepted_at: Option<Millis>,
    #[serde(borrow)]
    event: &'a RawValue,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/dead/import", post(import))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

async fn import(State(state): State<AdminState>, body: Bytes) -> Result<Json<Lines>, Refused> {
    let now = state.clock.now();
    let mut lines = Vec::new();
    let mut events = Vec::new();
    for line in body
        .split(|b| *b == b'\n')
        .filter(|line| !event::is_blank(line))
    {
        let read = read(&state, line, now);
        lines.push(Line {
            // Of a good one, until the queue has spoken.
            status: "rejected".into(),
            error: read.as_ref().err().cloned(),
        });
        events.extend(read);
    }
    let mut answers = state.queue.import(events).await?.into_iter();
    let mut retried = 0;
    for line in lines.iter_mut().filter(|line| line.error.is_none()) {
        if let Some(imported) = answers.next() {
            line.status = imported.name().into();
            retried += u64::from(imported == crate::queue::Imported::Retried);
        }
    }
    tracing::info!(
        lines = lines.len(),
        "revived" = retried,
        "dead letters imported"
    );
    Ok(Json(Lines { lines }))
}

/// The event of a line, checked as the socket checks it.
fn read(state: &AdminState, line: &[u8], now: Millis) -> Result<Import, String> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let exported: Exported<'_> = serde_json::from_slice(line).map_err(|error| {
        // serde's own words may quote a value.
        let at = error.column();
        match error.classify() {
            Category::Syntax | Category::Eof => format!(
                "not valid JSON at column {at}: text that is no UTF-8 or half a surrogate pair is \
                 repaired on the ingest socket alone"
            ),
            Category::Data | Category::Io => {
                format!("no exported letter, an object with `event` in it: see column {at}")
            }
        }
    })?;
    let body = exported.event.get().as_bytes();
    let call = event::check(body).map_err(|invalid| format!("event: {invalid}"))?;
    if let Some(kind) = call.kind.ignored() {
        return Err(format!("event: {kind} calls are not forwarded"));
    }
    let accepted_at = exported.accepted_at.unwrap_or(now).clamp(0, now.max(0));
    let event_time = call.event_time(accepted_at / 1000);
    let body = Bytes::copy_from_slice(body);
    let hasher = state.queue.hasher();
    Ok(Import::new(
        &hasher,
        &call.message_id,
        accepted_at,
        event_time,
        body,
    ))
}
