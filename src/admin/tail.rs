//! `GET /tail`: events as they pass, one JSON object a line, until the client leaves.
//!
//! `status`: stages, separated by commas. `event`: a name, Chord's or Pinterest's. `id`: a
//! messageId. `full`: with the original line and what is sent, which hold personal data. `since`: a
//! time, Unix milliseconds, from which on what the daemon remembers is told first. The listener
//! stands when the answer's head is sent: what passes from then on is told, or counted as `missed`.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::state::AdminState;
use crate::clock::Millis;
use crate::event;
use crate::observe::{Listener, Passed, Past, Remembered, Stage, Told, short};

/// One piece of the answer, at most about.
const PIECE_BYTES: usize = 64 << 10;
/// Events looked at before others have their turn on this thread.
const AT_ONCE: usize = 128;

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/tail", get(tail))
}

/// One line: an event at one stage, or how many passed unseen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Unix milliseconds.
    pub at: Millis,
    /// See [`Stage`].
    pub status: String,
    /// Empty for a line that is no event.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// Chord's name: of a track call its `event`, of another its kind.
    pub event: String,
    /// Pinterest's name, once the event was made ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// Why it is dead or ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was said of it, without values: a warning, a refusal, a trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What of it could not be read as it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Told>,
    /// With `full`: the line as it came, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<serde_json::Value>,
    /// With `full`: what is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
    /// It passed before this tail began, and is remembered by `id_hash`: of its messageId only
    /// what was asked for is known, and no name, line or note.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remembered: bool,
    /// Half of the keyed hash of a messageId: the lines of one event have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_hash: Option<String>,
    /// So many events passed unseen, for this tail was slow; nothing else is told then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// The first line where `since` was asked for: the memory reaches back to here, Unix
    /// milliseconds, and not further; nothing else is told then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered_since: Option<Millis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    status: Option<String>,
    event: Option<String>,
    id: Option<String>,
    since: Option<Millis>,
    #[serde(default)]
    full: bool,
}

/// What is asked for.
struct Filter {
    /// Empty: every one.
    stages: Vec<Stage>,
    event: Option<String>,
    id: Option<String>,
    full: bool,
}

impl Filter {
    /// # Errors
    /// Which stage there is not, or what cannot be told of the past.
    fn read(query: TailQuery) -> Result<Self, String> {
        if query.since.is_some() && query.event.is_some() {
            return Err(
                "since and event: no names are remembered of what passed before; leave one of \
                 them out, or name an event by its id"
                    .to_owned(),
            );
        }
        let names = query.status.unwrap_or_default();
        let names = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let stages: Result<Vec<_>, _> = names.map(stage_named).collect();
        Ok(Self {
            stages: stages?,
            event: query.event,
            id: query.id,
            full: query.full,
        })
    }

    /// The line of one that passed before, if it is wanted.
    fn remembered(&self, found: Remembered) -> Option<Seen> {
        let is_wanted =
            self.stages.is_empty() || self.stages.iter().any(|stage| stage.name() == found.status);
        is_wanted.then(|| Seen {
            at: found.at,
            status: found.status.to_owned(),
            // The past was asked for this one alone.
            message_id: self.id.clone().unwrap_or_default(),
            reason: found.reason.map(str::to_owned),
            message: found.message.map(|message| message.to_string()),
            remembered: true,
            id_hash: Some(format!("{:016x}", found.id)),
            ..Seen::default()
        })
    }

    /// The line, if it is wanted.
    fn line(&self, passed: &Passed) -> Option<Seen> {
        if !self.stages.is_empty() && !self.stages.contains(&passed.stage) {
            return None;
        }
        let seen = seen(passed, self.full);
        let name = |name: &String| *name == seen.event || Some(name) == seen.event_name.as_ref();
        let wanted = self.event.as_ref().is_none_or(name)
            && self.id.as_ref().is_none_or(|id| *id == seen.message_id);
        wanted.then_some(seen)
    }
}

fn stage_named(name: &str) -> Result<Stage, String> {
    let found = Stage::ALL.iter().find(|stage| stage.name() == name);
    found.copied().ok_or_else(|| {
        let all: Vec<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        format!("there is no status {name:?}; there are {}", all.join(", "))
    })
}

fn seen(passed: &Passed, full: bool) -> Seen {
    // Parsed here and not where it passed: the listener pays.
    let arena = event::Arena::default();
    let tree = event::parse(&arena, &passed.line).ok();
    let text = |key: &str| Some(tree.as_ref()?.at(key).as_str()?.to_owned());
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
    let named = passed.message_id.as_str();
    Seen {
        at: passed.at,
        status: passed.stage.name().to_owned(),
        message_id: match named {
            "" => text("messageId").unwrap_or_default(),
            named => named.to_owned(),
        },
        event: text("event").or_else(|| text("type")).unwrap_or_default(),
        event_name: passed.sent.as_ref().map(|sent| sent.name.to_string()),
        reason: passed.reason.map(str::to_owned),
        message: passed.message.as_ref().map(|message| message.to_string()),
        notes: (passed.notes.iter())
            .flat_map(|notes| notes.iter().map(Told::from))
            .collect(),
        line: full.then(|| json(&passed.line)).flatten(),
        payload: passed
            .sent
            .as_ref()
            .filter(|_| full)
            .and_then(|sent| json(&sent.payload)),
        ..Seen::default()
    }
}

/// What of the past is still to be told.
struct Before {
    since: Option<Millis>,
    past: Past,
}

impl Before {
    /// Up to a piece's bytes of it; `None`: all was told.
    async fn piece(&mut self, filter: &Filter) -> Option<Bytes> {
        let mut out = Vec::new();
        if let Some(since) = self.since.take() {
            let line = Seen {
                remembered_since: Some(since),
                ..Seen::default()
            };
            write(&mut out, &line);
        }
        for looked_at in 1.. {
            let Some(found) = self.past.next() else { break };
            if let Some(line) = filter.remembered(found) {
                write(&mut out, &line);
            }
            if out.len() >= PIECE_BYTES {
                break;
            }
            if looked_at % (32 * AT_ONCE) == 0 {
                tokio::task::yield_now().await;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

fn write(out: &mut Vec<u8>, line: &Seen) {
    // Unwrap safety: plain data into memory.
    serde_json::to_writer(&mut *out, line).expect("plain data");
    out.push(b'\n');
}

async fn tail(
    State(state): State<AdminState>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Query(query): Query<TailQuery>,
) -> Response {
    let since = query.since;
    let filter = match Filter::read(query) {
        Ok(filter) => filter,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    let listener = state.observer.passing().listen();
    // Behind the listener, so that nothing falls between the two.
    let before = match since {
        None => None,
        Some(since) => Some(before(&state, &filter, since).await),
    };
    // However little passes, somebody listens.
    let begin = (listener, before, filter, caller.place.busy());
    let lines = stream::unfold(
        begin,
        |(mut listener, mut before, filter, busy)| async move {
            let told = match &mut before {
                Some(before) => before.piece(&filter).await,
                None => None,
            };
            let piece = match told {
                Some(piece) => piece,
                None => {
                    before = None;
                    piece(&mut listener, &filter).await?
                }
            };
            Some((
                Ok::<_, std::convert::Infallible>(piece),
                (listener, before, filter, busy),
            ))
        },
    );
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

async fn before(state: &AdminState, filter: &Filter, since: Millis) -> Before {
    let started_at = (state.report)().await.started_at;
    let hash = |id: &String| short(state.queue.hasher().hash(id));
    let id = filter.id.as_ref().map(hash);
    // Held for a moment only: what is looked at is picked and sorted behind it.
    let (back_to, past) = {
        let history = state.observer.history();
        (history.since(), Past::new(&history, id))
    };
    Before {
        since: Some(back_to.unwrap_or(started_at)),
        past: past.since(since),
    }
}

/// The next lines; waits for one. `None`: nothing passes any more.
async fn piece(listener: &mut Listener, filter: &Filter) -> Option<Bytes> {
    let mut out = Vec::new();
    let mut next = listener.next().await?;
    for looked_at in 1.. {
        let line = match &next {
            Ok(passed) => filter.line(passed),
            Err(missed) => Some(Seen {
                missed: Some(*missed),
                ..Seen::default()
            }),
        };
        if let Some(line) = line {
            write(&mut out, &line);
        }
        if out.len() >= PIECE_BYTES {
            break;
        }
        if looked_at % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
        next = match listener.try_next() {
            Some(next) => next,
            None if out.is_empty() => listener.next().await?,
            None => break,
        };
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Observer, Sent};

    fn filter(status: &str, event: Option<&str>, full: bool) -> Filter {
        let query = TailQuery {
            status: Some(status.to_owned()),
            event: event.map(str::to_owned),
            id: None,
            since: None,
            full,
        };
        Filter::read(query).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    fn checkout(observer: &Observer, stage: Stage) -> Passed {
        const LINE: &[u8] = br#"{"messageId":"m1","type":"track","event":"Order Completed",
            "context":{"traits":{"email":"someone@mail.example"}}}"#;
        const PAYLOAD: &[u8] =
            br#"{"event_name":"checkout","user_data":{"em":["someone@mail.example"]}}"#;
        let held = |bytes: &'static [u8]| {
            let bytes = Bytes::from_static(bytes);
            observer.passing().hold(|| bytes.clone(), bytes.len())
        };
        Passed {
            at: 1,
            stage,
            message_id: String::new(),
            line: held(LINE),
            sent: Some(Sent {
                name: "checkout".into(),
                payload: held(PAYLOAD),
            }),
            reason: None,
            message: None,
            notes: None,
        }
    }

    #[test]
    fn personal_data_only_in_full() {
        let observer = Observer::default();
        let passed = checkout(&observer, Stage::Delivered);
        let told = |full| {
            let line = filter("", None, full).line(&passed).expect("wanted");
            serde_json::to_string(&line).expect("plain data")
        };
        let brief = told(false);
        assert_eq!(
            brief,
            r#"{"at":1,"status":"delivered","messageId":"m1","event":"Order Completed","event_name":"checkout"}"#
        );
        assert_eq!(told(true).matches("someone@mail.example").count(), 2);
    }

    #[test]
    fn notes_are_told_by_their_field_and_path() {
        let observer = Observer::default();
        let mut passed = checkout(&observer, Stage::Delivered);
        passed.notes = Some(crate::note::Notes::from([crate::note::Note::repaired()]));
        let told = filter("", None, false).line(&passed).expect("wanted");
        let words: Vec<_> = told.notes.iter().map(|n| (&*n.field, &*n.word)).collect();
        assert_eq!(words, [("line", "repaired")]);
    }

    #[test]
    fn either_name_and_any_of_the_stages() {
        let observer = Observer::default();
        let passed = checkout(&observer, Stage::Dead);
        let wanted = |status, event| filter(status, event, false).line(&passed).is_some();
        assert!(wanted("", None) && wanted("delivered, dead", None));
        assert!(wanted("dead", Some("Order Completed")) && wanted("dead", Some("checkout")));
        assert!(!wanted("delivered", None) && !wanted("dead", Some("Lead")));
        let wrong = TailQuery {
            status: Some("deliverd".into()),
            event: None,
            id: None,
            since: None,
            full: false,
        };
        let wrong = Filter::read(wrong).err().expect("no such stage");
        assert!(
            wrong.contains("\"deliverd\"") && wrong.contains("delivered, released"),
            "{wrong}"
        );
    }
}
