//! `POST /v1/events`: lines in, an answer for each out, both as they come; what the socket speaks,
//! by the same reader and writer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, Uri, header};
use bytes::BytesMut;
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::super::flood::Tally;
use super::super::ndjson::{Input, Output, exchange};
use super::super::stop::Stopped;
use super::body;
use super::client::{Client, write_key};
use super::keys::{Sender, WriteKeys};
use super::refusal::Refusal;
use super::request::{Http, comes_as, draining, is_gzip};
use crate::observe::Peer;

/// Answers on their way to the client; each is of one block.
const ON_THEIR_WAY: usize = 4;
/// Packed bytes that are unpacked at once: to a megabyte at most, whatever they are.
const PACKED_STEP: usize = 1 << 10;

type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>;

/// Takes lines as long as they come.
pub(super) async fn events(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    client.slow_down().await;
    match begin(&http, client.stopped.clone(), &uri, &headers) {
        Ok(begun) => answered(&http, client, begun, body),
        Err(refusal) => {
            if refusal.is_for_good() {
                client.brought(&http.intake, Tally::default(), false);
            }
            body::discard(&mut body.into_data_stream(), &headers, client.stopped).await;
            refusal.into_response()
        }
    }
}

/// What is known before the first line.
struct Begun {
    /// As it came.
    key: Option<String>,
    name: Option<Arc<str>>,
    is_gzip: bool,
    stopped: Stopped,
}

fn begin(http: &Http, stopped: Stopped, uri: &Uri, headers: &HeaderMap) -> Result<Begun, Refusal> {
    is_lines(headers)?;
    let is_gzip = is_gzip(headers)?;
    let key = write_key(headers, uri);
    let name = match http.sender(key.as_deref())? {
        Sender::Anybody => None,
        Sender::Named(name) => Some(name),
    };
    if stopped.is_given() {
        return Err(draining());
    }
    Ok(Begun {
        key,
        name,
        is_gzip,
        stopped,
    })
}

fn answered(http: &Http, client: Client, begun: Begun, body: Body) -> Response<Body> {
    let peer = Peer {
        key: begun.name,
        ..client.peer
    };
    let (answers, mut taken) = mpsc::channel::<Bytes>(ON_THEIR_WAY);
    let is_whole = Arc::new(AtomicBool::new(false));
    let lines = Lines {
        parts: body.into_data_stream().boxed(),
        unpack: (begun.is_gzip).then(|| MultiGzDecoder::new(Vec::new())),
        left: Bytes::new(),
        answers: answers.clone(),
        keys: http.keys.clone(),
        key: begun.key,
        is_whole: is_whole.clone(),
    };
    let (place, intake, stopped) = (client.place, http.intake.clone(), begun.stopped);
    tokio::spawn(async move {
        exchange(
            lines,
            Answering(answers),
            Some(peer),
            place,
            intake,
            stopped,
        )
        .await;
    });
    let body = stream::poll_fn(move |cx| {
        taken.poll_recv(cx).map(|text| match text {
            Some(text) => Some(Ok(text)),
            None if is_whole.load(Ordering::Relaxed) => None,
            // At a stop, or where the lines broke off: the answer breaks off as well, or whoever
            // looks at its end alone would think that all was taken.
            None => Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted))),
        })
    });
    let mut response = Response::new(Body::from_stream(body));
    let lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, lines);
    response
}

fn is_lines(headers: &HeaderMap) -> Result<(), Refusal> {
    const TAKEN: [&str; 4] = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "text/plain",
    ];
    comes_as(
        headers,
        |kind| TAKEN.contains(&kind),
        "Content-Type is not application/x-ndjson: one JSON object per line is taken here",
    )
}

/// The lines of a body.
struct Lines {
    parts: Parts,
    unpack: Option<MultiGzDecoder<Vec<u8>>>,
    /// Packed, and not unpacked yet.
    left: Bytes,
    /// Closed when nobody reads.
    answers: mpsc::Sender<Bytes>,
    keys: WriteKeys,
    /// What was sent for a key at the beginning.
    key: Option<String>,
    /// Said once they have come to their end.
    is_whole: Arc<AtomicBool>,
}

impl Input for Lines {
    async fn fill(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let filled = self.more(buffer).await;
        // A key that was taken away takes nothing more in.
        let is_known = self.keys.judge(self.key.as_deref()).is_ok();
        if !is_known {
            return filled.and(Err(io::ErrorKind::PermissionDenied.into()));
        }
        if let Ok(0) = filled {
            self.is_whole.store(true, Ordering::Relaxed);
        }
        filled
    }

    async fn gone(&mut self) {
        self.answers.closed().await;
    }
}

impl Lines {
    async fn more(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        use std::io::Write as _;
        if buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        loop {
            if let Some(unpack) = self.unpack.as_mut().filter(|_| !self.left.is_empty()) {
                let step = self.left.split_to(PACKED_STEP.min(self.left.len()));
                unpack.write_all(&step)?;
                unpack.flush()?;
                let text = std::mem::take(unpack.get_mut());
                buffer.extend_from_slice(&text);
                if !text.is_empty() {
                    return Ok(text.len());
                }
                continue;
            }
            match self.parts.next().await {
                Some(Ok(part)) if part.is_empty() => {}
                Some(Ok(part)) if self.unpack.is_some() => self.left = part,
                Some(Ok(part)) => {
                    buffer.extend_from_slice(&part);
                    return Ok(part.len());
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return self.end(buffer),
            }
        }
    }

    /// What is left when no more comes.
    fn end(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let Some(mut unpack) = self.unpack.take() else {
            return Ok(0);
        };
        unpack.try_finish()?;
        let text = std::mem::take(unpack.get_mut());
        buffer.extend_from_slice(&text);
        Ok(text.len())
    }
}

/// Answers into the response.
struct Answering(mpsc::Sender<Bytes>);

impl Output for Answering {
    async fn put(&mut self, text: Vec<u8>) -> io::Result<()> {
        let sent = self.0.send(text.into()).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
