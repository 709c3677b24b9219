//! `POST /forget`: gives up all that is of one person, queued or dead.
//!
//! Invariant: whom it is about stands in the request and nowhere else. The log has who asked, and
//! how many events it was; no error text repeats a value.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::state::{AdminState, Person, Persons};
use crate::queue::{IdHasher, QueueError, Whose};

/// The body of `POST /forget`: one of the three names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forget {
    /// An email address, or its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A `userId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// A `messageId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Count only.
    pub dry_run: bool,
}

/// What was given up, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgot {
    /// Events that waited.
    pub queued: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events whose answer is awaited: they are given up behind it, unless they were delivered.
    pub in_flight: u64,
    /// Nothing was changed.
    pub dry_run: bool,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/forget", post(forget))
}

async fn forget(
    State(state): State<AdminState>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: String,
) -> Result<Json<Forgot>, (StatusCode, String)> {
    let asked: Forget = serde_json::from_str(&body).map_err(|error| {
        // What serde says may hold a value.
        let place = format!("line {}, column {}", error.line(), error.column());
        wrong(&format!(
            "the body, {place}: not an object of the names below"
        ))
    })?;
    let is_dry_run = asked.dry_run;
    let whose = whose(asked, &state.queue.hasher(), &state.persons)?;
    let forgotten = state.queue.forget(whose, is_dry_run).await;
    let forgotten = forgotten.map_err(|error| {
        let status = match error {
            QueueError::Unavailable(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{error}; some may be gone: ask again"))
    })?;
    let who = |id: Option<i64>| id.map_or("unknown".to_owned(), |id| id.to_string());
    tracing::warn!(
        uid = who(caller.uid.map(i64::from)),
        pid = who(caller.pid.map(i64::from)),
        queued = forgotten.queued,
        dead = forgotten.dead,
        in_flight = forgotten.in_flight,
        dry_run = is_dry_run,
        reason = "forgotten",
        "asked to forget a person: what is queued and dead is purged, what is in flight after its \
         answer"
    );
    Ok(Json(Forgot {
        queued: forgotten.queued,
        dead: forgotten.dead,
        in_flight: forgotten.in_flight,
        dry_run: is_dry_run,
    }))
}

fn wrong(what: &str) -> (StatusCode, String) {
    let names = "say one of email, user_id and message_id, which is not empty, and dry_run if you \
                 like";
    (StatusCode::BAD_REQUEST, format!("{what}: {names}"))
}

fn whose(
    asked: Forget,
    hasher: &IdHasher,
    persons: &Persons,
) -> Result<Whose, (StatusCode, String)> {
    let whose = match (asked.email, asked.user_id, asked.message_id) {
        (Some(email), None, None) => persons(Person::Email(email)),
        (None, Some(user_id), None) => persons(Person::UserId(user_id)),
        (None, None, Some(message_id)) => {
            let wanted = hasher.hash(&message_id);
            let is_named = !message_id.is_empty();
            is_named.then(|| -> Whose { Arc::new(move |id_hash, _| id_hash == wanted) })
        }
        _ => return Err(wrong("whom")),
    };
    whose.ok_or_else(|| wrong("whom"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_asked_for_and_no_error_repeats_it() {
        let hasher = IdHasher::new([7; 16]);
        let persons: Persons = Arc::new(|_| Some(Arc::new(|_, _| true)));
        let ask = |text: &str| -> Result<Whose, (StatusCode, String)> {
            let asked: Forget = serde_json::from_str(text).map_err(|_| wrong("the body"))?;
            whose(asked, &hasher, &persons)
        };
        for right in [
            r#"{"email":"ada@example.com"}"#,
            r#"{"user_id":"ada","dry_run":true}"#,
            r#"{"message_id":"ada"}"#,
        ] {
            assert!(ask(right).is_ok(), "{right}");
        }
        for wrong in [
            "{}",
            r#"{"message_id":""}"#,
            r#"{"email":"ada@example.com","user_id":"ada"}"#,
            r#"{"email":"ada@example.com","dry_run":"ada"}"#,
            r#"{"ada":1}"#,
        ] {
            let (status, said) = ask(wrong).err().expect(wrong);
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(!said.contains("ada"), "{said}");
        }
        let of_id = ask(r#"{"message_id":"ada"}"#).ok().unwrap();
        assert!(of_id(hasher.hash("ada"), b"{}") && !of_id(hasher.hash("eve"), b"ada"));
    }
}
