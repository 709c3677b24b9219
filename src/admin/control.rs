//! What changes the running daemon: `POST /reload`, `POST /pause`, `POST /resume`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::command::Command;
use super::state::AdminState;

/// The body of `POST /pause`; an empty one is a pause without an end and without words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseFor {
    /// How long, milliseconds, from 1 to ten years; `null`: until it is resumed.
    pub milliseconds: Option<u64>,
    /// Shown wherever the pause is; one line of at most 200 characters.
    pub reason: Option<String>,
}

/// The body of `POST /resume`; an empty one, or `{}`, does not isolate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// Refused events become dead letters one by one, however many, until one is processed.
    pub isolate: bool,
}

/// Milliseconds: ten years. A longer one is meant to have no end.
const LONGEST_PAUSE: u64 = 10 * 365 * 86_400_000;
/// A pause's reason stands in one line of `systemctl status`.
const LONGEST_REASON: usize = 200;

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/reload", post(reload))
        .route("/pause", post(pause))
        .route("/resume", post(resume))
}

async fn reload(State(state): State<AdminState>) -> Response {
    let refused = |wrong| (StatusCode::UNPROCESSABLE_ENTITY, wrong).into_response();
    asked(&state, Command::Reload, refused).await
}

async fn pause(State(state): State<AdminState>, body: String) -> Response {
    let asked_for: PauseFor = match read(&body) {
        Ok(asked_for) => asked_for,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    let one_line = |reason: &String| {
        reason.chars().count() <= LONGEST_REASON && !reason.chars().any(char::is_control)
    };
    let in_range = |length: u64| (1..=LONGEST_PAUSE).contains(&length);
    if !asked_for.milliseconds.is_none_or(in_range)
        || !asked_for.reason.as_ref().is_none_or(one_line)
    {
        let wrong = format!(
            "a pause lasts from a millisecond to ten years, and its reason is one line of at most \
             {LONGEST_REASON} characters"
        );
        return (StatusCode::BAD_REQUEST, wrong).into_response();
    }
    let length = asked_for.milliseconds.map(Duration::from_millis);
    let command = |answer| Command::Pause {
        length,
        reason: asked_for.reason,
        answer,
    };
    asked(&state, command, failed).await
}

async fn resume(State(state): State<AdminState>, body: String) -> Response {
    let Resume { isolate } = match read(&body) {
        Ok(resume) => resume,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    asked(&state, |answer| Command::Resume { isolate, answer }, failed).await
}

fn failed(why: String) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
}

fn read<T: Default + serde::de::DeserializeOwned>(body: &str) -> Result<T, String> {
    match body.trim() {
        // Every member has a default, so that this is what `{}` says too.
        "" => Ok(T::default()),
        text => serde_json::from_str(text).map_err(|e| format!("the body: {e}")),
    }
}

/// Has the daemon's loop do it.
async fn asked<T: Serialize>(
    state: &AdminState,
    command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
    refused: impl FnOnce(String) -> Response,
) -> Response {
    let (answer, done) = oneshot::channel();
    // Where the loop is gone the answer's sender is dropped with the command.
    let _ = state.commands.send(command(answer));
    match done.await {
        Ok(Ok(said)) => Json(said).into_response(),
        Ok(Err(why)) => refused(why),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_body_and_an_empty_object_say_the_same() {
        for body in ["", " \n", "{}", "{ }\n"] {
            assert_eq!(read(body), Ok(PauseFor::default()), "{body:?}");
            assert_eq!(read(body), Ok(Resume { isolate: false }), "{body:?}");
        }
        assert_eq!(read("{\"isolate\":true}"), Ok(Resume { isolate: true }));
        assert!(read::<Resume>("{\"isolated\":true}").is_err());
    }
}
