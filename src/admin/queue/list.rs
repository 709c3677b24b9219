//! `GET /queue/list?limit=N`: the events that wait or are being sent, oldest first, and what is known
//! of their tries. No personal data.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::super::command::Command;
use super::super::state::AdminState;
use crate::clock::Millis;
use crate::deliver::{Held, WaitsFor};
use crate::event;
use crate::observe::{Attempts, Step, Tries, short};
use crate::queue::{Origin, Unsettled};

/// Events that are told of, at most, and where nobody says how many.
const MOST: usize = 1000;
const USUAL: usize = 20;

/// The events that wait or are being sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueList {
    /// Oldest first.
    pub events: Vec<WaitingEvent>,
    /// How many there are in all, a moment later.
    pub total: u64,
    /// Tries are remembered back to here, Unix milliseconds.
    pub tries_since: Millis,
    /// Now, Unix milliseconds.
    pub now: Millis,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingEvent {
    /// Which.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// Chord's name: of a track call its `event`, of another its kind.
    pub event: String,
    /// When it was accepted, Unix milliseconds.
    pub accepted_at: Millis,
    /// It is queued from the dead letters: revived, or set apart.
    pub from_dead_letters: bool,
    /// Pinterest may have it already: the outcome of a request is not known.
    pub in_doubt: bool,
    /// When it first left in a request whose outcome is not known (yet), Unix milliseconds.
    pub sent_at: Option<Millis>,
    /// What it waits for, apart from the gate; `null`: not known, for another process delivers or
    /// none does.
    pub waits_for: Option<WaitsFor>,
    /// When its batch is tried again, Unix milliseconds; only behind a backoff.
    pub next_try_at: Option<Millis>,
    /// Tries that are over, as many as are known.
    pub tries: u64,
    /// There may have been more, which are not remembered.
    pub tries_at_least: bool,
    /// How the last that is remembered failed, as in a trace.
    pub last_failure: Option<Step>,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/queue/list", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    limit: Option<usize>,
}

async fn list(
    State(state): State<AdminState>,
    Query(which): Query<Which>,
) -> Result<Json<QueueList>, (StatusCode, String)> {
    let limit = which.limit.unwrap_or(USUAL).clamp(1, MOST);
    let oldest = state.queue.oldest(limit).await;
    let oldest = oldest.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let held = held(&state, &oldest).await;
    let ids: Vec<u64> = oldest.iter().map(|event| short(event.id_hash)).collect();
    let started_at = (state.report)().await.started_at;
    let (attempts, tries_since) = {
        let history = state.observer.history();
        let since = history.since().unwrap_or(started_at);
        (Attempts::new(&history), since)
    };
    // All that is remembered is looked through.
    let tries = tokio::task::spawn_blocking(move || attempts.of(&ids)).await;
    let tries = tries.map_err(|_| {
        let why = "reading what was attempted panicked, which is a bug".to_owned();
        (StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    let census = state.queue.census();
    let events = oldest.iter().zip(held).zip(tries);
    Ok(Json(QueueList {
        events: events
            .map(|((event, held), tries)| shown(event, held, tries, tries_since))
            .collect(),
        total: census.queued + census.sending,
        tries_since,
        now: state.clock.now(),
    }))
}

/// What each of them waits for, where that is known.
async fn held(state: &AdminState, events: &[Unsettled]) -> Vec<Option<Held>> {
    let (answer, held) = oneshot::channel();
    let ids = events.iter().map(|event| event.id).collect();
    // Where the loop is gone the answer's sender is dropped with the command.
    let _ = state.commands.send(Command::Held { ids, answer });
    match held.await.ok().flatten() {
        Some(held) => held.into_iter().map(Some).collect(),
        None => vec![None; events.len()],
    }
}

fn shown(event: &Unsettled, held: Option<Held>, tries: Tries, since: Millis) -> WaitingEvent {
    let arena = event::Arena::default();
    let line = event::parse(&arena, &event.body).ok();
    let text = |key: &str| Some(line.as_ref()?.at(key).as_str()?.to_owned());
    let in_doubt = event.sent.as_ref().is_some_and(|sent| sent.in_doubt);
    // What is stored of it is older than what this process remembers.
    let known = u64::from(event.failures).max(u64::from(in_doubt));
    WaitingEvent {
        message_id: text("messageId").unwrap_or_default(),
        event: text("event").or_else(|| text("type")).unwrap_or_default(),
        accepted_at: event.accepted_at,
        from_dead_letters: matches!(event.id.origin(), Origin::Dead(_)),
        in_doubt,
        sent_at: event.sent.as_ref().map(|sent| sent.at),
        waits_for: held.map(|held| held.waits_for),
        next_try_at: held.and_then(|held| held.next_try),
        tries: tries.count.max(known),
        tries_at_least: event.accepted_at < since,
        last_failure: tries.last_failure,
    }
}
