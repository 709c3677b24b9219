//! One request: its events go in, and it is answered once they are on disk.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::answer::Answers;
use super::super::flood::Tally;
use super::super::intake::{Admission, Due, Intake, Session};
use super::body::{self, Parts, Trouble};
use super::call::{Beside, Call, Refused, Shape};
use super::client::{Client, forwarded, write_key};
use super::keys::{Sender, Unknown, WriteKeys};
use super::options::SharedHttpLimits;
use super::refusal::{Refusal, json};
use crate::clock::Millis;
use crate::event::Kind;
use crate::observe::Peer;
use crate::queue::{Closed, QueueError};

/// How long a request's events may wait to be let in before its client is told to come again: most
/// give up after ten seconds or fifteen. Where it is known that nothing is let in nobody waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all requests share.
pub(super) struct Http {
    pub intake: Arc<Intake>,
    pub keys: WriteKeys,
    pub limits: SharedHttpLimits,
    /// The room of all bodies.
    pub room: Arc<Semaphore>,
    /// That of bodies in which a key is still to be found: whoever has none leaves the others
    /// theirs.
    pub unknown_room: Arc<Semaphore>,
}

/// What a path says of the events that come by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub shape: Shape,
    /// The type of events that say none.
    pub kind: Option<Kind>,
    /// Browsers send here, so that the request's `User-Agent` is the customer's.
    pub is_browsers: bool,
}

impl Http {
    /// Takes a request's events.
    pub async fn take(
        &self,
        client: &Client,
        route: Route,
        uri: &Uri,
        headers: &HeaderMap,
        body: Body,
    ) -> Response<Body> {
        let mut parts = body.into_data_stream();
        match self.taken(client, route, uri, headers, &mut parts).await {
            Ok(response) => response,
            Err(refusal) => {
                if refusal.is_for_good() {
                    client.brought(&self.intake, Tally::default(), false);
                }
                body::discard(&mut parts, headers, client.stopped.clone()).await;
                refusal.into_response()
            }
        }
    }

    async fn taken(
        &self,
        client: &Client,
        route: Route,
        uri: &Uri,
        headers: &HeaderMap,
        parts: &mut Parts,
    ) -> Result<Response<Body>, Refusal> {
        client.slow_down().await;
        let is_gzip = is_gzip(headers)?;
        is_json(headers)?;
        let key = write_key(headers, uri);
        // A wrong key elsewhere than in the body needs no body to be told.
        if key.is_some() {
            self.sender(key.as_deref())?;
        }
        self.lets_in()?;
        let limits = self.limits.get();
        if announced(headers).is_some_and(|length| length > limits.max_body as u64) {
            return Err(no_body(Trouble::TooLong(limits.max_body)));
        }
        let mut stopped = client.stopped.clone();
        let room = match key.is_none() && self.keys.are_needed() {
            true => &self.unknown_room,
            false => &self.room,
        };
        let whole = tokio::select! {
            whole = body::read(parts, is_gzip, limits.max_body, room) => whole,
            () = stopped.wait() => return Err(draining()),
        };
        let whole = whole.map_err(no_body)?;
        let call = Call::read(&whole.bytes, route.shape, limits.max_body);
        let sender = match (&call, &key) {
            (Ok(call), None) => self.sender(call.write_key.as_deref())?,
            _ => self.sender(key.as_deref())?,
        };
        let call = call.map_err(|why| Refusal::new(refused(why), why.to_string()))?;
        let peer = Peer {
            key: match sender {
                Sender::Anybody => None,
                Sender::Named(name) => Some(name),
            },
            ..client.peer.clone()
        };
        let _busy = client.place.busy();
        let ip = limits.trust_forwarded.then(|| forwarded(headers)).flatten();
        let agent = headers.get(header::USER_AGENT);
        let agent = agent.filter(|_| limits.trust_forwarded && route.is_browsers);
        let mut session = Session::new(self.intake.clone(), Some(peer));
        session.begin();
        let beside = Beside {
            kind: route.kind,
            received_at: &shown(session.accepted_at()),
            ip: ip.as_deref(),
            user_agent: agent.and_then(|agent| agent.to_str().ok()),
        };
        let result = self
            .store(&mut session, &call, &beside, idempotency(headers))
            .await;
        if let Ok(response) = &result
            && response.status() != StatusCode::SERVICE_UNAVAILABLE
        {
            let is_taken = response.status().is_success();
            client.brought(&self.intake, session.tally(), is_taken);
        }
        result
    }

    async fn store(
        &self,
        session: &mut Session,
        call: &Call<'_>,
        beside: &Beside<'_>,
        idempotency: Option<&str>,
    ) -> Result<Response<Body>, Refusal> {
        // It means the request, and so the event of one that has one alone.
        let idempotency = idempotency.filter(|_| call.events.len() == 1);
        let patience = Instant::now() + PATIENCE;
        let mut due: Vec<(Answers, Due)> = Vec::new();
        let mut answers = Answers::default();
        let (mut line, mut any_taken) = (Vec::new(), call.events.is_empty());
        for (place, event) in (1..).zip(&call.events) {
            let mut is_made = false;
            let id = || match idempotency {
                Some(key) => key.to_owned(),
                None => {
                    is_made = true;
                    Uuid::new_v4().to_string()
                }
            };
            // One that is too long is not completed, for it is not taken.
            line.clear();
            let sent = event.len() + call.shared_bytes;
            if sent <= self.intake.max_event_bytes() {
                call.line(event, beside, id, &mut line);
            }
            match session.take_as_sent(&line, sent) {
                Admission::Stored { message_id } => {
                    any_taken = true;
                    answers.stored(&message_id);
                    if is_made {
                        session.made_id();
                    }
                }
                Admission::Ignored {
                    message_id,
                    reason,
                    rule,
                } => {
                    any_taken = true;
                    answers.ignored(&message_id, reason, rule.as_deref());
                }
                Admission::Rejected(why) => answers.rejected(place, &why),
            }
            if session.is_full() {
                let answers = std::mem::take(&mut answers);
                let more = self.intake.hand_in(session.seal(), patience).await;
                due.push((answers, more));
            }
        }
        let more = self.intake.hand_in(session.seal(), patience).await;
        due.push((answers, more));
        self.answer(due, any_taken).await
    }

    /// Waits for the receipts, and says what became of each event.
    async fn answer(
        &self,
        due: Vec<(Answers, Due)>,
        any_taken: bool,
    ) -> Result<Response<Body>, Refusal> {
        let mut results = Vec::new();
        let mut unavailable = None;
        for (answers, due) in due {
            let receipts = due.receipts().await;
            if let Err(error) = &receipts {
                unavailable = Some(self.wait_for(error));
            }
            // Storage has failed: an unanswered event is sent again, a wrong answer never is.
            answers
                .members(receipts, &mut results)
                .ok_or_else(|| Refusal::later(5, "storage has failed"))?;
        }
        // The comma behind the last.
        results.pop();
        let (status, ok) = match (&unavailable, any_taken) {
            (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, false),
            (None, true) => (StatusCode::OK, true),
            (None, false) => (StatusCode::BAD_REQUEST, false),
        };
        let error = match (ok, &unavailable) {
            (true, _) => "",
            (false, None) => r#","error":"no event of this request can be taken, see results""#,
            (false, Some(_)) => r#","error":"not all of it is stored: send it again""#,
        };
        let mut said = format!(r#"{{"ok":{ok},"success":{ok}{error},"results":["#).into_bytes();
        said.extend_from_slice(&results);
        said.extend_from_slice(b"]}\n");
        let mut response = json(status, said);
        if let Some(seconds) = unavailable {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        Ok(response)
    }

    /// Whose this key is.
    pub fn sender(&self, key: Option<&str>) -> Result<Sender, Refusal> {
        let refused = |words| Refusal::new(StatusCode::UNAUTHORIZED, words);
        self.keys.judge(key).map_err(|unknown| match unknown {
            Unknown::Missing => refused(
                "a write key is needed: as the header X-Write-Key, as the user of a Basic \
                 authorization, as ?writekey=, or as writeKey in the body",
            ),
            Unknown::Wrong => refused("the write key is none of this daemon's"),
        })
    }

    /// Seconds until a client is to come again.
    fn wait_for(&self, error: &QueueError) -> u32 {
        match error {
            QueueError::Unavailable(_) if self.intake.closed().is_some() => 30,
            // A moment's crowd, or a restart.
            QueueError::Unavailable(_) | QueueError::Stopped(_) | QueueError::TurnOver => 5,
        }
    }

    /// Whether events may come in.
    pub fn lets_in(&self) -> Result<(), Refusal> {
        match self.intake.closed() {
            None => Ok(()),
            Some(closed @ Closed::Stopped) => Err(Refusal::later(5, closed.message())),
            Some(closed) => Err(Refusal::later(30, closed.message())),
        }
    }
}

fn no_body(trouble: Trouble) -> Refusal {
    match trouble {
        Trouble::TooLong(limit) => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the body is over {limit} bytes, which is ingest.http_max_body: send fewer events at once"
            ),
        ),
        Trouble::Slow => Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come within 30 seconds",
        ),
        Trouble::Broken => Refusal::new(StatusCode::BAD_REQUEST, "the body broke off"),
        Trouble::NoGzip => Refusal::new(
            StatusCode::BAD_REQUEST,
            "the body is no gzip, which Content-Encoding says it is",
        ),
        Trouble::NoRoom => Refusal::later(1, "too many bodies are on their way at once"),
    }
}

const fn refused(why: Refused) -> StatusCode {
    match why {
        Refused::ManyEvents | Refused::Repeated(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Json(_)
        | Refused::NotObject
        | Refused::NoBatch
        | Refused::Beside
        | Refused::TwoBatches => StatusCode::BAD_REQUEST,
    }
}

/// The request's own id, by which it is known when it comes again.
fn idempotency(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get("idempotency-key")?.to_str().ok()?.trim();
    (!key.is_empty()).then_some(key)
}

/// Said to who comes while the daemon stops.
pub(super) fn draining() -> Refusal {
    Refusal::later(5, "the daemon is stopping")
}

/// As RFC 3339 in milliseconds.
fn shown(at: Millis) -> String {
    // A clock's milliseconds are within the years that a timestamp has.
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// The length that the headers announce.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Whether the body is gzip.
pub(super) fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(false);
    };
    match encoding.to_str().unwrap_or_default().trim() {
        text if ["gzip", "x-gzip"]
            .iter()
            .any(|name| text.eq_ignore_ascii_case(name)) =>
        {
            Ok(true)
        }
        text if text.eq_ignore_ascii_case("identity") || text.is_empty() => Ok(false),
        _ => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding is neither gzip nor identity",
        )),
    }
}

/// Whether the body may be JSON. Clients send theirs under other names than its own: beacons as
/// text/plain, what was packed (and curl's `-d`) as a form.
fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    const TAKEN: [&str; 5] = [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "text/json",
    ];
    let is_json = |kind: &str| kind.is_empty() || TAKEN.contains(&kind) || kind.ends_with("+json");
    comes_as(
        headers,
        is_json,
        "Content-Type is none that JSON comes as: application/json, or text/plain",
    )
}

/// Whether the body comes as what is taken, in lower case and without parameters, or nothing is said
/// of it.
pub(super) fn comes_as(
    headers: &HeaderMap,
    is_taken: impl Fn(&str) -> bool,
    refused: &str,
) -> Result<(), Refusal> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or("?");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match is_taken(&kind.to_ascii_lowercase()) {
        true => Ok(()),
        false => Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, refused)),
    }
}
