//! The stand-in over HTTP: Pinterest's two event paths and the control API.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, RawQuery, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;

use super::account::{Account, RequestLog, Seen, Totals};
use super::answer::Answer;
use super::sockets::{Fate, Grip, Sockets};
use super::state::{Request, State};
use super::switches::Switches;
use crate::clock::Clock;

/// No body is held beyond this, whatever the switches say.
const MOST_BODY_BYTES: usize = 256 << 20;

/// How a stand-in starts.
pub struct Options {
    /// How it behaves at first; the control API changes it.
    pub switches: Switches,
    /// Appended to with every processed event and read again at the start.
    pub journal: Option<PathBuf>,
    /// For benches: bodies are counted, not read; events are not told apart.
    pub count_only: bool,
    /// Judges the age of events and gives the `Date` header.
    pub clock: Clock,
}

/// A running stand-in. Clones share it.
#[derive(Clone)]
pub struct Mock(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Clock,
}

impl Mock {
    /// # Errors
    /// The journal cannot be opened or read.
    pub fn new(options: Options) -> io::Result<Self> {
        let account = Account::open(options.journal.as_deref())?;
        Ok(Self(Arc::new(Inner {
            state: Mutex::new(State::new(options.switches, account, options.count_only)),
            clock: options.clock,
        })))
    }

    /// The switches in force.
    pub fn switches(&self) -> Switches {
        self.state().switches().clone()
    }

    /// Sets all switches; the count of `fault_first` starts anew.
    pub fn set_switches(&self, switches: Switches) {
        self.state().set_switches(switches);
    }

    /// The sums so far.
    pub fn totals(&self) -> Totals {
        self.state().account.totals.clone()
    }

    /// Every event_id under every event_name, in the order of first arrival.
    pub fn events(&self) -> Vec<Seen> {
        self.state().account.seen().to_vec()
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<RequestLog> {
        self.state().account.requests().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `Date` header of this moment.
    fn date(&self) -> Option<HeaderValue> {
        let offset = self.state().switches().date_offset_seconds;
        let second = (self.0.clock.now() / 1000).saturating_add(offset);
        let date = jiff::Timestamp::from_second(second).ok()?;
        HeaderValue::from_str(&date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
    }
}

/// Serves until the task is dropped.
///
/// # Errors
/// None in practice: failed connections and accepts are lived with.
pub async fn serve(listener: TcpListener, mock: Mock) -> io::Result<()> {
    let router = Router::new()
        .route("/v5/ad_accounts/{id}/events", post(events))
        .route("/ad_accounts/{id}/events", post(events))
        .route("/_control/mode", get(mode).put(set_mode).patch(change_mode))
        .route("/_control/account", get(account).delete(reset))
        .route("/_control/events", get(seen))
        .route("/_control/requests", get(requests))
        .route("/_control/fields", get(fields))
        .fallback(stray)
        .with_state(mock)
        .into_make_service_with_connect_info::<Grip>();
    axum::serve(Sockets(listener), router).await
}

async fn events(
    Shared(mock): Shared<Mock>,
    ConnectInfo(grip): ConnectInfo<Grip>,
    Path(ad_account): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let test = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(key, value)| key == "test" && value == "true");
    let Ok(body) = to_bytes(body, MOST_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let (answer, latency) = match mock.answer(&ad_account, test, &headers, &body) {
        Ok(answered) => answered,
        Err(e) => {
            let said = format!("the journal cannot be written: {e}\n");
            return (StatusCode::INTERNAL_SERVER_ERROR, said).into_response();
        }
    };
    drop(body);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if answer.silent {
        return std::future::pending().await;
    }
    grip.set(answer.fate);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let out = response.headers_mut();
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(date) = mock.date() {
        out.insert(header::DATE, date);
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            out.append(name, value);
        }
    }
    if answer.fate != Fate::Written {
        // What follows on this connection would share its fate.
        out.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Mock {
    /// Answers and accounts in one step, so that the account never lags behind an answer.
    fn answer(
        &self,
        ad_account: &str,
        test: bool,
        headers: &HeaderMap,
        body: &[u8],
    ) -> io::Result<(Answer, Duration)> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        let (now, monotonic) = (self.0.clock.now(), self.0.clock.monotonic());
        let mut state = self.state();
        let limit = state.switches().max_body_bytes.unwrap_or(usize::MAX);
        let request = Request {
            ad_account,
            token: text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")),
            content_type: text(header::CONTENT_TYPE),
            test,
            body: (body.len() <= limit).then_some(body),
        };
        let answer = state.answer(&request, now, monotonic)?;
        state.account.log(RequestLog {
            at: now,
            ad_account: ad_account.to_owned(),
            status: answer.label(),
            events: answer.events,
            processed: answer.processed,
            failed: answer.failed,
            bytes: body.len(),
            test,
        });
        let latency = Duration::from_millis(state.switches().latency_ms);
        Ok((answer, latency))
    }
}

async fn stray(Shared(mock): Shared<Mock>) -> Response {
    mock.state().account.totals.stray_requests += 1;
    let body = r#"{"code":404,"message":"Not found."}"#;
    (StatusCode::NOT_FOUND, body).into_response()
}

async fn mode(Shared(mock): Shared<Mock>) -> Response {
    json(&mock.switches())
}

async fn set_mode(Shared(mock): Shared<Mock>, body: Bytes) -> Response {
    overlay(&mock, &Switches::default(), &body)
}

/// Changes the switches that the body names and leaves the others.
async fn change_mode(Shared(mock): Shared<Mock>, body: Bytes) -> Response {
    overlay(&mock, &mock.switches(), &body)
}

fn overlay(mock: &Mock, under: &Switches, body: &[u8]) -> Response {
    let merged = serde_json::to_value(under).and_then(|mut all| {
        let changes: serde_json::Map<String, Value> = serde_json::from_slice(body)?;
        for (key, value) in changes {
            all[key] = value;
        }
        serde_json::from_value::<Switches>(all)
    });
    match merged {
        Ok(switches) => {
            mock.set_switches(switches);
            json(&mock.switches())
        }
        Err(e) => (StatusCode::BAD_REQUEST, format!("{e}\n")).into_response(),
    }
}

async fn account(Shared(mock): Shared<Mock>) -> Response {
    json(&mock.totals())
}

async fn reset(Shared(mock): Shared<Mock>) -> Response {
    match mock.state().account.reset() {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}

async fn seen(Shared(mock): Shared<Mock>) -> Response {
    lines(&mock.events())
}

async fn requests(Shared(mock): Shared<Mock>) -> Response {
    lines(&mock.requests())
}

async fn fields(Shared(mock): Shared<Mock>) -> Response {
    json(mock.state().account.fields())
}

fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn lines<T: Serialize>(values: &[T]) -> Response {
    let mut body = Vec::new();
    for value in values {
        if let Err(e) = serde_json::to_writer(&mut body, value) {
            return (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response();
        }
        body.push(b'\n');
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
