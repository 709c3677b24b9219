//! `POST /queue/retry`: tries at once what backs off. `POST /queue/drop`: gives one event up.
//!
//! Invariant: what was not done is told with where the event is instead, as a trace has it.

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::super::caller::Caller;
use super::super::command::Command;
use super::super::state::AdminState;
use super::super::trace::Stored;
use crate::deliver::{Reason, TriedAtOnce, WaitsFor};
use crate::observe::{End, short};
use crate::queue::{Dropped, EntryId, Found, QueueError};

/// The body of either: which event; for a retry it may be all.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOne {
    /// Its messageId.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// All that back off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What came of a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Retrying {
    /// They leave as soon as a request may.
    Now {
        /// The event and those of its batch, or all that backed off.
        events: usize,
    },
    /// The gate lets nothing leave.
    Closed {
        /// Why.
        reason: Reason,
    },
    /// It does not back off.
    NotBackingOff {
        /// What it waits for instead.
        waits_for: WaitsFor,
    },
    /// Another process delivers.
    StandingBy,
    /// It does not wait.
    NotQueued {
        /// Where it is.
        stored: Stored,
    },
}

/// What came of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Dropping {
    /// It is given up.
    Purged,
    /// It is being sent, and is given up after the answer, unless that says that it was delivered.
    AfterAnswer,
    /// It does not wait, and nothing was changed.
    NotQueued {
        /// Where it is.
        stored: Stored,
    },
}

type Refused = (StatusCode, String);

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/queue/retry", post(retry))
        .route("/queue/drop", post(drop_one))
}

async fn retry(State(state): State<AdminState>, body: String) -> Result<Json<Retrying>, Refused> {
    let id = match read(&body)? {
        QueueOne {
            message_id: None,
            all: true,
        } => None,
        QueueOne {
            message_id: Some(message_id),
            all: false,
        } if !message_id.is_empty() => match state.queue.find(&message_id).await {
            Ok(Found::Queued { id, .. }) => Some(id),
            Ok(elsewhere) => {
                let stored = elsewhere.into();
                return Ok(Json(Retrying::NotQueued { stored }));
            }
            Err(error) => return Err(failed(&error)),
        },
        _ => return Err(wrong("message_id, which is not empty, or all")),
    };
    tried(&state, id).await.map(Json)
}

async fn tried(state: &AdminState, id: Option<EntryId>) -> Result<Retrying, Refused> {
    let (answer, tried) = oneshot::channel();
    // Where the loop is gone the answer's sender is dropped with the command.
    let _ = state.commands.send(Command::TryAtOnce { id, answer });
    Ok(match tried.await.ok().flatten() {
        Some(TriedAtOnce::Now(events)) => {
            tracing::info!(events, "tried at once, as the operator asked");
            Retrying::Now { events }
        }
        Some(TriedAtOnce::Closed(reason)) => Retrying::Closed { reason },
        Some(TriedAtOnce::NotBackingOff(held)) => Retrying::NotBackingOff {
            waits_for: held.waits_for,
        },
        Some(TriedAtOnce::StandingBy) => Retrying::StandingBy,
        None => {
            let why = "nothing is delivered any more: the daemon is stopping, or delivery has \
                       ended, which `pinrelay status` explains";
            return Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned()));
        }
    })
}

async fn drop_one(
    State(state): State<AdminState>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: String,
) -> Result<Json<Dropping>, Refused> {
    let message_id = match read(&body)? {
        QueueOne {
            message_id: Some(message_id),
            all: false,
        } if !message_id.is_empty() => message_id,
        _ => return Err(wrong("message_id, which is not empty")),
    };
    let dropped = state.queue.drop_queued(&message_id).await;
    let dropping = match dropped.map_err(|error| failed(&error))? {
        Dropped::NotQueued(elsewhere) => {
            let stored = elsewhere.into();
            return Ok(Json(Dropping::NotQueued { stored }));
        }
        Dropped::AfterAnswer => Dropping::AfterAnswer,
        Dropped::Purged => {
            state.observer.history().ended(End {
                at: state.clock.now(),
                id: short(state.queue.hasher().hash(&message_id)),
                state: "purged",
                reason: None,
            });
            Dropping::Purged
        }
    };
    let who = |id: Option<i64>| id.map_or("unknown".to_owned(), |id| id.to_string());
    tracing::warn!(
        uid = who(caller.uid.map(i64::from)),
        pid = who(caller.pid.map(i64::from)),
        "asked to drop an event that waits: it is purged, or is after its answer"
    );
    Ok(Json(dropping))
}

fn read(body: &str) -> Result<QueueOne, Refused> {
    serde_json::from_str(body).map_err(|error| {
        // What serde says may hold a value.
        let place = format!("line {}, column {}", error.line(), error.column());
        let why = format!("the body, {place}: not an object that says which event");
        (StatusCode::BAD_REQUEST, why)
    })
}

fn wrong(names: &str) -> Refused {
    (StatusCode::BAD_REQUEST, format!("which event: say {names}"))
}

fn failed(error: &QueueError) -> Refused {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_wrong_is_told_without_its_values() {
        assert!(read(r#"{"message_id":"ada"}"#).is_ok() && read(r#"{"all":true}"#).is_ok());
        for body in ["", r#"{"ada":1}"#, r#"{"message_id":"ada","all":"ada"}"#] {
            let (status, why) = read(body).err().expect(body);
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(!why.contains("ada"), "{why}");
        }
    }
}
