//! Dead letters. Times are Unix milliseconds; `event` is the stored line as it came.
//!
//! | route | answer |
//! |---|---|
//! | `GET /dead/groups?…` | [`Groups`]: how many for each reason and message. No personal data. |
//! | `GET /dead/each?…&after=N` | [`Briefs`]: a page of them, one by one. No personal data. |
//! | `GET /dead?…&after=N` | [`Letters`]: a page of them, with their events |
//! | `POST /dead/retry?…&after=N` | [`Moved`]: a page of them went back into the queue |
//! | `POST /dead/purge?…&after=N` | [`Moved`]: a page of them was given up |
//! | `POST /dead/import` | [`Lines`]: what became of each line; a line is a letter as `GET /dead` gives it, and `event` is all it must have |
//!
//! `…` is a [`Filter`]. A page is a bounded piece of work: whoever wants all asks again with
//! `after` as the answer's `next` says, until that is null. Letters that die meanwhile get higher
//! numbers; `to`, from the `last` of the groups, leaves them out.

mod filter;
mod import;
mod refused;

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::AdminState;
use crate::clock::Millis;
use crate::deliver::normalise;
use crate::event;
use crate::queue::{Letter, Page};
use crate::text;
pub use filter::Filter;
pub use import::{Line, Lines};
use refused::Refused;

/// Groups that are told apart; the letters of any more share one.
const MOST_GROUPS: usize = 1000;

/// Dead letters by reason and message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// How many letters match.
    pub letters: u64,
    /// The highest number among them; 0 where there is none.
    pub last: u64,
    /// The largest first.
    pub groups: Vec<Group>,
}

/// Dead letters of one reason and one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Why they are dead.
    pub reason: String,
    /// Pinterest's message without ids and values, or what was missing.
    pub message: String,
    /// How many.
    pub count: u64,
    /// When the first of them died.
    pub first_died_at: Millis,
    /// When the last of them died.
    pub last_died_at: Millis,
    /// The messageId of the first of them.
    pub example: String,
}

/// Some of the dead letters, without personal data.
#[derive(Debug, Serialize, Deserialize)]
pub struct Briefs {
    /// By number, ascending.
    pub letters: Vec<Brief>,
    /// Where to go on; null after the last page.
    pub next: Option<u64>,
}

/// A dead letter without its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Its number.
    pub number: u64,
    /// When it died.
    pub died_at: Millis,
    /// Why.
    pub reason: String,
    /// Chord's name: of a track call its `event`, of another its kind.
    pub event: String,
    /// Its event.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// Pinterest's message without ids and values, or what was missing.
    pub message: String,
}

/// Some of the dead letters.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letters {
    /// By number, ascending.
    pub letters: Vec<Shown>,
    /// Where to go on; null after the last page.
    pub next: Option<u64>,
}

/// A dead letter with its event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// Its number.
    pub number: u64,
    /// When it was accepted.
    pub accepted_at: Millis,
    /// When it died.
    pub died_at: Millis,
    /// Why.
    pub reason: String,
    /// Pinterest's message, or what was missing.
    pub message: String,
    /// Unix seconds; what goes out as event_time.
    pub event_time: i64,
    /// The line as it came.
    pub event: Box<RawValue>,
}

/// What a page of a retry or a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Letters that went.
    pub count: u64,
    /// Where to go on; null after the last page.
    pub next: Option<u64>,
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/dead/groups", get(groups))
        .route("/dead/each", get(each))
        .route("/dead", get(letters))
        .route("/dead/retry", post(retry))
        .route("/dead/purge", post(purge))
        .merge(import::routes())
}

async fn groups(
    State(state): State<AdminState>,
    Query(filter): Query<Filter>,
) -> Result<Json<Groups>, Refused> {
    let mut wanted = filter.wanted(&state.queue).await?;
    let mut found = Groups::default();
    let mut groups: BTreeMap<(&'static str, String), Group> = BTreeMap::new();
    let mut messages = Normalised::default();
    loop {
        let page = wanted.page(&state.queue).await?;
        for letter in page.letters {
            found.letters += 1;
            found.last = letter.key.number().0;
            let reason = letter.key.reason().name();
            let mut key = (reason, messages.of(&letter));
            if groups.len() >= MOST_GROUPS && !groups.contains_key(&key) {
                key.1 = "(other messages)".into();
            }
            let message = key.1.clone();
            let group = groups.entry(key).or_insert_with(|| Group {
                reason: reason.into(),
                message,
                count: 0,
                first_died_at: letter.died_at,
                last_died_at: letter.died_at,
                example: message_id(&letter),
            });
            group.count += 1;
            group.first_died_at = group.first_died_at.min(letter.died_at);
            group.last_died_at = group.last_died_at.max(letter.died_at);
        }
        if !wanted.go_on(page.next) {
            break;
        }
    }
    found.groups = groups.into_values().collect();
    found
        .groups
        .sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Json(found))
}

async fn each(
    State(state): State<AdminState>,
    Query(filter): Query<Filter>,
) -> Result<Json<Briefs>, Refused> {
    let wanted = filter.wanted(&state.queue).await?;
    let Page { letters, next } = wanted.page(&state.queue).await?;
    let mut messages = Normalised::default();
    let brief = |letter: &Letter| Brief {
        number: letter.key.number().0,
        died_at: letter.died_at,
        reason: letter.key.reason().name().into(),
        event: name(letter),
        message_id: message_id(letter),
        message: messages.of(letter),
    };
    Ok(Json(Briefs {
        letters: letters.iter().map(brief).collect(),
        next: next.map(|next| next.0),
    }))
}

async fn letters(
    State(state): State<AdminState>,
    Query(filter): Query<Filter>,
) -> Result<Json<Letters>, Refused> {
    let Page { letters, next } = filter
        .wanted(&state.queue)
        .await?
        .page(&state.queue)
        .await?;
    Ok(Json(Letters {
        letters: letters.iter().map(shown).collect(),
        next: next.map(|next| next.0),
    }))
}

async fn retry(
    State(state): State<AdminState>,
    Query(filter): Query<Filter>,
    body: Bytes,
) -> Result<Json<Moved>, Refused> {
    no_body(&body)?;
    let page = filter
        .wanted(&state.queue)
        .await?
        .page(&state.queue)
        .await?;
    let keys = page.letters.iter().map(|letter| letter.key).collect();
    let count = state.queue.retry(keys).await?;
    if count > 0 {
        tracing::info!("revived" = count, "dead letters went back into the queue");
    }
    let next = page.next;
    let next = next.map(|next| next.0);
    Ok(Json(Moved { count, next }))
}

async fn purge(
    State(state): State<AdminState>,
    Query(filter): Query<Filter>,
    body: Bytes,
) -> Result<Json<Moved>, Refused> {
    no_body(&body)?;
    let page = filter
        .wanted(&state.queue)
        .await?
        .page(&state.queue)
        .await?;
    let keys = page.letters.iter().map(|letter| letter.key).collect();
    let count = state.queue.purge(keys).await?;
    if count > 0 {
        tracing::warn!(purged = count, "dead letters purged, as the operator asked");
    }
    let next = page.next;
    let next = next.map(|next| next.0);
    Ok(Json(Moved { count, next }))
}

/// A filter that came in the body would narrow nothing down, and all letters would go.
fn no_body(body: &[u8]) -> Result<(), Refused> {
    // Clients that always send JSON send an empty object where they have nothing to say.
    match body.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(Refused(
            StatusCode::BAD_REQUEST,
            "a body is not read here: put the filter into the query, like ?reason=expired".into(),
        )),
    }
}

/// Messages as a group tells them: Pinterest's may quote the event, and differ in that alone.
#[derive(Default)]
struct Normalised(HashMap<String, String>);

impl Normalised {
    fn of(&mut self, letter: &Letter) -> String {
        // An older release kept it however long it was.
        let said = text::message(&letter.message);
        if letter.key.reason().is_own() {
            return said;
        }
        if let Some(message) = self.0.get(&said) {
            return message.clone();
        }
        let message = normalise(&said, &message_id(letter), &letter.body);
        if self.0.len() < MOST_GROUPS {
            self.0.insert(said, message.clone());
        }
        message
    }
}

fn shown(letter: &Letter) -> Shown {
    // What was accepted is JSON. Should a stored line not be, the letter is shown without it.
    let event = serde_json::from_slice::<Box<RawValue>>(&letter.body);
    Shown {
        number: letter.key.number().0,
        accepted_at: letter.accepted_at,
        died_at: letter.died_at,
        reason: letter.key.reason().name().into(),
        message: text::message(&letter.message),
        event_time: letter.event_time,
        event: event.unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}

fn message_id(letter: &Letter) -> String {
    member(letter, "messageId").unwrap_or_default()
}

/// Chord's name of its event.
fn name(letter: &Letter) -> String {
    let name = member(letter, "event").or_else(|| member(letter, "type"));
    name.unwrap_or_default()
}

fn member(letter: &Letter, key: &str) -> Option<String> {
    let arena = event::Arena::default();
    let line = event::parse(&arena, &letter.body).ok()?;
    Some(line.at(key).as_str()?.to_owned())
}
