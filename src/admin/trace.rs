//! `GET /trace?id=MESSAGE_ID`: what is known of one event.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::state::AdminState;
use crate::clock::Millis;
use crate::observe::{BOUND_BYTES, Step, Told, short};
use crate::queue::{Found, Origin};

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/trace", get(trace))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// What the queue knows of it now.
    pub stored: Stored,
    /// What of it could not be read as it stands, as far as it was made ready by this process; of a
    /// dead letter, as the config has it now.
    pub notes: Vec<Told>,
    /// The memory reaches back to here, Unix milliseconds: the start of the process, or later
    /// when it had to forget.
    pub since: Millis,
    /// It had to forget: more happened since the start than its bound holds.
    pub forgot: bool,
    /// That bound.
    pub bound_bytes: usize,
}

/// What the queue knows of an event, over restarts. Times in Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Stored {
    /// It waits, or is being sent.
    Queued {
        /// When it was accepted.
        accepted_at: Millis,
        /// It is queued from the dead letters: revived, or set apart.
        from_dead_letters: bool,
        /// When it first left in a request whose outcome is not known (yet).
        sent_at: Option<Millis>,
        /// The event_name that it left under.
        sent_as: Option<String>,
        /// That outcome is unknown; otherwise the answer is awaited.
        in_doubt: bool,
    },
    /// It is a dead letter.
    Dead {
        /// Which.
        number: u64,
        /// Why.
        reason: String,
        /// When it was accepted.
        accepted_at: Millis,
        /// When it died.
        died_at: Millis,
    },
    /// It was a dead letter and was given up.
    Purged {
        /// Which.
        number: u64,
    },
    /// It was delivered, given up while it waited, or its bytes were lost to damage.
    Settled {
        /// It was accepted after this, where that is known.
        accepted_after: Option<Millis>,
        /// And by then.
        accepted_by: Option<Millis>,
    },
    /// It was never accepted, or that is longer ago than messageIds are remembered.
    #[default]
    Unknown,
}

impl From<Found> for Stored {
    fn from(found: Found) -> Self {
        match found {
            Found::Queued {
                id,
                accepted_at,
                sent,
            } => Self::Queued {
                accepted_at,
                from_dead_letters: matches!(id.origin(), Origin::Dead(_)),
                sent_at: sent.as_ref().map(|sent| sent.at),
                in_doubt: sent.as_ref().is_some_and(|sent| sent.in_doubt),
                sent_as: sent.and_then(|sent| Some(sent.name?.to_string())),
            },
            // Its words may quote values: they are shown with the letter itself.
            Found::Dead(letter) => Self::Dead {
                number: letter.key.number().0,
                reason: letter.key.reason().name().to_owned(),
                accepted_at: letter.accepted_at,
                died_at: letter.died_at,
            },
            Found::Purged { number } => Self::Purged { number: number.0 },
            Found::Settled {
                accepted_after,
                accepted_by,
            } => Self::Settled {
                accepted_after,
                accepted_by,
            },
            Found::Unknown => Self::Unknown,
        }
    }
}

async fn trace(State(state): State<AdminState>, Query(query): Query<TraceQuery>) -> Response {
    let found = match state.queue.find(&query.id).await {
        Ok(found) => found,
        Err(stopped) => {
            return (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response();
        }
    };
    let started_at = (state.report)().await.started_at;
    let id = short(state.queue.hasher().hash(&query.id));
    let mut notes = state.observer.noted().of(id);
    if let Found::Dead(letter) = &found {
        let now = (state.noting)(&letter.body, letter.accepted_at, letter.event_time);
        notes.retain(|note| note.field == "line");
        notes.extend(now.iter().map(Told::from));
    }
    let history = state.observer.history();
    let forgot = history.since();
    let trace = Trace {
        steps: history.trace(id),
        stored: found.into(),
        notes,
        since: forgot.unwrap_or(started_at),
        forgot: forgot.is_some(),
        bound_bytes: BOUND_BYTES,
        message_id: query.id,
    };
    Json(trace).into_response()
}
