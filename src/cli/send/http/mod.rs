//! The same lines over HTTP, in requests of many events each, over several connections.
//!
//! A request is sent again until it is answered with what became of its events, or until it had no
//! answer for as long as patience goes: the daemon knows an event that comes twice.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::account::Teller;
use super::answer::{self, Answer};
use super::input::{Input, ReadError};
use crate::cli::exit::{Exit, Failure, OrExit};

mod books;
mod filler;
mod load;

pub(super) use books::Books;
use filler::Filler;
use load::Load;

/// Connections at once.
const CONNECTIONS: usize = 8;
/// Before a request is sent a second time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Where events go if the URL does not end with one of these.
const BATCH: &str = "/v1/batch";
const TAKING: [&str; 14] = [
    "batch", "b", "track", "t", "page", "p", "screen", "s", "identify", "i", "group", "g", "alias",
    "a",
];

/// Where to, and how.
pub(super) struct Posting {
    url: Url,
    key: Option<String>,
    /// The path takes an object with an array `batch`.
    is_batch: bool,
    patience: Duration,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    error: String,
}

impl Posting {
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str, key: Option<String>, patience: Duration) -> Result<Self, Failure> {
        let wrong = || format!("--http {url}: an address like http://127.0.0.1:8080 is expected");
        let mut url: Url = url.parse().with_context(wrong).or_exit(Exit::Usage)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(anyhow!(wrong())).or_exit(Exit::Usage);
        }
        // A prefix is not a path that takes events.
        let path = url.path().trim_end_matches('/').to_owned();
        let last = path.rsplit('/').next().unwrap_or_default();
        if !TAKING.contains(&last) {
            url.set_path(&format!(
                "{}{BATCH}",
                path.strip_suffix("/v1").unwrap_or(&path)
            ));
        }
        let is_batch = url.path().ends_with("/batch") || url.path().ends_with("/b");
        Ok(Self {
            url,
            key,
            is_batch,
            patience,
        })
    }

    /// Sends everything. What is counted is in the books also when it ends early; `moved` hears how
    /// many answers there are.
    pub fn run<R: Read + Send + 'static>(
        self,
        sources: Vec<R>,
        assign_ids: bool,
        books: &Arc<Books>,
        teller: &Teller,
        moved: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("no runtime").or_exit(Exit::Io)?;
        let input = Input::new(sources, assign_ids);
        let end = runtime.block_on(self.all(input, books, moved));
        // Whoever reads a terminal is not waited for.
        runtime.shutdown_background();
        match end? {
            Some(Ended::Unread(error)) => Err(teller.unread(error)),
            Some(Ended::Unanswered(error)) => Err(teller.unanswered(&books.unanswered(), error)),
            None => Ok(()),
        }
    }

    /// What ended it early, if anything did.
    async fn all<R: Read + Send + 'static>(
        self,
        input: Input<R>,
        books: &Arc<Books>,
        moved: &dyn Fn(u64),
    ) -> Result<Option<Ended>, Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(CONNECTIONS)
            .build();
        let client = client.context("no HTTP client").or_exit(Exit::Io)?;
        let (fill, loads) = mpsc::channel::<Load>(2 * CONNECTIONS);
        let (is_batch, filling) = (self.is_batch, books.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let filler = Filler {
                is_batch,
                books: filling,
                fill,
            };
            filler.fill(input)
        });
        let loads = Arc::new(tokio::sync::Mutex::new(loads));
        let posting = Arc::new(self);
        let mut workers = JoinSet::new();
        let (tell, mut told) = mpsc::channel(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let (posting, client, tell) = (posting.clone(), client.clone(), tell.clone());
            let (loads, books) = (loads.clone(), books.clone());
            workers.spawn(async move {
                loop {
                    let Some(load) = loads.lock().await.recv().await else {
                        return Ok(());
                    };
                    posting.deliver(&client, &load, &books).await?;
                    let _ = tell.send(books.total()).await;
                }
            });
        }
        drop(tell);
        loop {
            tokio::select! {
                Some(total) = told.recv() => moved(total),
                ended = workers.join_next() => match ended {
                    // The others are let go: what they sent has no answer here.
                    Some(ended) => if let Err(why) = ended.context("a connection's task").or_exit(Exit::Io)? {
                        return Ok(Some(Ended::Unanswered(why)));
                    },
                    None => break,
                },
            }
        }
        let read = reading
            .await
            .context("the reader's task")
            .or_exit(Exit::Io)?;
        Ok(read.err().map(Ended::Unread))
    }

    /// Posts it until its events have answers, and no longer than patience goes.
    async fn deliver(&self, client: &Client, load: &Load, books: &Books) -> Result<(), PostError> {
        let mut intervals = ExponentialBackoff {
            initial_interval: FIRST_PAUSE,
            max_interval: Duration::from_secs(2),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let end = Instant::now() + self.patience;
        let left = || end.saturating_duration_since(Instant::now());
        loop {
            books.sent(load);
            let (why, asked) = match self.post(client, load, left()).await {
                Ok((status, asked, body)) => match self.judge(status, &body, load) {
                    Judged::Answered(answers) => {
                        books.answered(load, answers);
                        return Ok(());
                    }
                    Judged::Later(why) => (why, asked),
                    Judged::Never(why) => return Err(self.refused(why)),
                },
                Err(error) => (in_words(&error), None),
            };
            let left = left();
            if left < FIRST_PAUSE {
                let tried = self.patience.as_secs();
                return Err(self.refused(format!("{why}; tried for {tried} s")));
            }
            let pause = intervals.next_backoff().unwrap_or_default();
            // Whoever is asked to come later than patience goes still tries towards its end.
            let pause = pause.max(asked.unwrap_or_default()).min(left / 2);
            tokio::time::sleep(pause).await;
        }
    }

    /// The whole answer within `patience`: its status, when to come again, its body.
    async fn post(
        &self,
        client: &Client,
        load: &Load,
        patience: Duration,
    ) -> reqwest::Result<(StatusCode, Option<Duration>, Vec<u8>)> {
        let mut request = client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .timeout(patience)
            .body(load.body.clone());
        if let Some(key) = &self.key {
            request = request.header("X-Write-Key", key);
        }
        let response = request.send().await?;
        let (status, asked) = (response.status(), retry_after(&response));
        Ok((status, asked, response.bytes().await?.to_vec()))
    }

    fn judge(&self, status: StatusCode, body: &[u8], load: &Load) -> Judged {
        let wire: Option<Wire<'_>> = serde_json::from_slice(body).ok();
        let (results, error) = match wire {
            Some(wire) => (wire.results, wire.error),
            None => (None, String::new()),
        };
        match (status.as_u16(), results) {
            (200 | 400, Some(results)) if results.len() == load.lines.len() => {
                let answers = results
                    .iter()
                    .map(|result| answer::parse(result.get().as_bytes()));
                match answers.collect::<Option<Vec<_>>>() {
                    Some(answers) => Judged::Answered(answers),
                    None => Judged::Never("the answer is none of pinrelay's".into()),
                }
            }
            (400, None) if load.lines.len() == 1 => Judged::Answered(vec![Answer::Rejected(error)]),
            (401, _) => Judged::Never(
                "HTTP 401: nothing was taken, for the daemon takes events with a write key alone; \
                 --write-key-file names a file that holds one of [[ingest.write_keys]]"
                    .into(),
            ),
            (408 | 429 | 500.., _) => Judged::Later(format!("HTTP {status}: {error}")),
            _ => Judged::Never(format!("HTTP {status}: {error}")),
        }
    }

    fn refused(&self, why: String) -> PostError {
        let url = self.url.to_string();
        PostError { url, why }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {why}")]
struct PostError {
    url: String,
    why: String,
}

/// What ended it early.
enum Ended {
    Unread(ReadError),
    Unanswered(PostError),
}

/// All causes: the outermost of them says no more than that a request failed.
fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer: the daemon is stopped, or it hangs; `pinrelay status` says more".into();
    }
    let mut causes = vec![];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    match causes.last() {
        Some(last) => format!("no connection that holds: {last}"),
        None => error.to_string(),
    }
}

enum Judged {
    /// One for each event.
    Answered(Vec<Answer>),
    /// It is to come again.
    Later(String),
    Never(String),
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}
