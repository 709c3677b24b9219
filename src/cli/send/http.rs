//! The same lines over HTTP, in requests of many events each, over several connections.
//!
//! A request is sent again until it is answered with what became of its events, or until nothing
//! was answered for as long as patience goes: the daemon knows an event that comes twice.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use indicatif::ProgressBar;
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::answer::{self, Answer};
use super::input::Input;
use super::window::Tally;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::event::readable;

/// Connections at once.
const CONNECTIONS: usize = 8;
/// Events in a request to a path that takes several.
const EVENTS: usize = 100;
/// Their bytes, well below what the daemon takes.
const BYTES: usize = 1 << 20;
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

/// Lines that leave together.
#[derive(Default)]
struct Load {
    /// Their numbers in the input.
    numbers: Vec<u64>,
    body: Vec<u8>,
    /// Of the input, that were read for it.
    read: u64,
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

    /// Sends everything. The counts are given also when it ends early.
    pub fn run<R: Read + Send + 'static>(
        self,
        source: R,
        assign_ids: bool,
        bar: &ProgressBar,
    ) -> (Tally, Result<(), Failure>) {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let end = match runtime.context("no runtime").or_exit(Exit::Io) {
            Ok(runtime) => {
                let end = runtime.block_on(self.all(source, assign_ids, &tally, bar));
                // Whoever reads a terminal is not waited for.
                runtime.shutdown_background();
                end
            }
            Err(failure) => Err(failure),
        };
        let tally = std::mem::take(&mut *tally.blocking_lock());
        (tally, end)
    }

    async fn all<R: Read + Send + 'static>(
        self,
        source: R,
        assign_ids: bool,
        tally: &Arc<Mutex<Tally>>,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(CONNECTIONS)
            .timeout(self.patience.max(Duration::from_secs(1)))
            .build();
        let client = client.context("no HTTP client").or_exit(Exit::Io)?;
        let (fill, loads) = mpsc::channel::<Load>(2 * CONNECTIONS);
        let (most, refused) = (if self.is_batch { EVENTS } else { 1 }, tally.clone());
        let is_batch = self.is_batch;
        let reading = tokio::task::spawn_blocking(move || {
            let mut input = Input::new(source, assign_ids);
            let mut load = Load::default();
            while let Some(piece) = input.next()? {
                load.read += piece.read;
                let mut bad = Vec::new();
                bad.extend(
                    piece
                        .too_long
                        .iter()
                        .map(|number| (*number, "line is too long")),
                );
                for (i, line) in piece.chunk.lines.iter().enumerate() {
                    let text = piece.chunk.bytes[piece.chunk.start(i)..line.end].trim_ascii();
                    // One that is none would take the others of its request with it.
                    match serde_json::from_slice::<IgnoredAny>(&readable(text)) {
                        Ok(_) => load.push(line.number, text, is_batch),
                        Err(_) => bad.push((line.number, "not valid JSON")),
                    }
                    if load.numbers.len() >= most || load.body.len() >= BYTES {
                        let _ = fill.blocking_send(std::mem::take(&mut load).closed(is_batch));
                    }
                }
                let mut refused = refused.blocking_lock();
                bad.into_iter()
                    .for_each(|(number, why)| refused.reject(number, why.into()));
            }
            if !load.numbers.is_empty() {
                let _ = fill.blocking_send(load.closed(is_batch));
            }
            Ok::<_, std::io::Error>(())
        });
        let loads = Arc::new(Mutex::new(loads));
        let posting = Arc::new(self);
        let mut workers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (posting, client) = (posting.clone(), client.clone());
            let (loads, tally, bar) = (loads.clone(), tally.clone(), bar.clone());
            workers.spawn(async move {
                loop {
                    let Some(load) = loads.lock().await.recv().await else {
                        return Ok(());
                    };
                    posting.deliver(&client, &load, &tally).await?;
                    bar.inc(load.read);
                    bar.set_message(format!("{} answered", tally.lock().await.total()));
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            // The others are let go: what they sent has no answer here.
            ended.context("a connection's task").or_exit(Exit::Io)??;
        }
        let read = reading
            .await
            .context("the reader's task")
            .or_exit(Exit::Io)?;
        read.context("reading the input failed").or_exit(Exit::Io)
    }

    /// Posts it until its events have answers.
    async fn deliver(
        &self,
        client: &Client,
        load: &Load,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        let mut intervals = ExponentialBackoff {
            initial_interval: Duration::from_millis(50),
            max_interval: Duration::from_secs(2),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let begun = Instant::now();
        loop {
            let (why, asked) = match self.post(client, load).await {
                Ok(response) => {
                    let (status, asked) = (response.status(), retry_after(&response));
                    let body = response.bytes().await.unwrap_or_default();
                    match self.judge(status, &body, load) {
                        Judged::Answered(answers) => {
                            let mut tally = tally.lock().await;
                            for (number, answer) in load.numbers.iter().zip(answers) {
                                tally.count(*number, answer);
                            }
                            return Ok(());
                        }
                        Judged::Later(why) => (why, asked),
                        Judged::Never(why) => {
                            return Err(self.unanswered(load, &why)).or_exit(Exit::Unavailable);
                        }
                    }
                }
                Err(error) => (error.to_string(), None),
            };
            if begun.elapsed() > self.patience {
                return Err(self.unanswered(load, &why)).or_exit(Exit::Unavailable);
            }
            let pause = intervals.next_backoff().unwrap_or_default();
            tokio::time::sleep(pause.max(asked.unwrap_or_default())).await;
        }
    }

    async fn post(&self, client: &Client, load: &Load) -> reqwest::Result<Response> {
        let mut request = client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(load.body.clone());
        if let Some(key) = &self.key {
            request = request.header("X-Write-Key", key);
        }
        request.send().await
    }

    fn judge(&self, status: StatusCode, body: &[u8], load: &Load) -> Judged {
        let wire: Option<Wire<'_>> = serde_json::from_slice(body).ok();
        let (results, error) = match wire {
            Some(wire) => (wire.results, wire.error),
            None => (None, String::new()),
        };
        match (status.as_u16(), results) {
            (200 | 400, Some(results)) if results.len() == load.numbers.len() => {
                let answers = results
                    .iter()
                    .map(|result| answer::parse(result.get().as_bytes()));
                match answers.collect::<Option<Vec<_>>>() {
                    Some(answers) => Judged::Answered(answers),
                    None => Judged::Never("the answer is none of pinrelay's".into()),
                }
            }
            (400, None) if load.numbers.len() == 1 => {
                Judged::Answered(vec![Answer::Rejected(error)])
            }
            (408 | 429 | 500.., _) => Judged::Later(format!("HTTP {status}: {error}")),
            _ => Judged::Never(format!("HTTP {status}: {error}")),
        }
    }

    fn unanswered(&self, load: &Load, why: &str) -> anyhow::Error {
        let first = load.numbers.first().copied().unwrap_or_default();
        anyhow!(
            "{}: {why}; {} lines from line {first} on have no answer, and perhaps others: send \
             again, what was taken is known",
            self.url,
            load.numbers.len()
        )
    }
}

enum Judged {
    /// One for each event.
    Answered(Vec<Answer>),
    /// It is to come again.
    Later(String),
    Never(String),
}

impl Load {
    fn push(&mut self, number: u64, text: &[u8], is_batch: bool) {
        if is_batch {
            let before: &[u8] = if self.numbers.is_empty() {
                b"{\"batch\":["
            } else {
                b","
            };
            self.body.extend_from_slice(before);
        }
        self.body.extend_from_slice(text);
        self.numbers.push(number);
    }

    fn closed(mut self, is_batch: bool) -> Self {
        if is_batch {
            self.body.extend_from_slice(b"]}");
        }
        self
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}
