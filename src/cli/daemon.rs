//! Asking the running daemon over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::denied::next_step_of_denied;
use super::exit::{Exit, Failure, OrExit};

/// How long a daemon may take to show that it answers at all. One that is stopped, or hangs, takes
/// connections all the same, until its backlog is full.
const ALIVE: Duration = Duration::from_millis(1500);
/// How long what an operator asks for may take after that: a command ends within five seconds.
pub(super) const CONTROL: Duration = Duration::from_millis(3300);

/// How long what is read from the queue may take.
pub(super) const READING: Duration = Duration::from_secs(30);

/// The daemon behind an admin socket.
pub(super) struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl Client {
    /// Connects, and has the daemon show that it answers.
    ///
    /// # Errors
    /// With exit 69 when no daemon is there, or one that does not answer.
    pub(super) fn connect(socket: &Path) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_exit(Exit::Io)?;
        let begun = std::time::Instant::now();
        // Once by hand, to tell apart what the HTTP client would not.
        let connect = tokio::net::UnixStream::connect(socket);
        match runtime.block_on(async { tokio::time::timeout(ALIVE, connect).await }) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(missing(socket, &error));
            }
            // The backlog is full.
            Ok(Err(_)) | Err(_) => return Err(mute(socket)),
        }
        // Without a provider the HTTP client refuses to be built, TLS or not. A second call
        // changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .tls_certs_only([])
            .build()
            .or_exit(Exit::Io)?;
        let this = Self {
            socket: socket.to_owned(),
            runtime,
            http,
        };
        let left = ALIVE.saturating_sub(begun.elapsed());
        this.get("/healthz", left.max(Duration::from_millis(100)))?;
        Ok(this)
    }

    /// What the daemon answers to `GET path`, within `patience`.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub(super) fn get(&self, path: &str, patience: Duration) -> Result<String, Failure> {
        self.text(self.http.get(url(path)).timeout(patience))
    }

    /// What the daemon answers to `POST path`, within `patience`.
    ///
    /// # Errors
    /// Exit 78 with the daemon's message where it says that what was asked cannot be done (422),
    /// 65 where it does not understand it, 74 where storing failed (500), 69 where it gives no
    /// answer or is ending.
    pub(super) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
        patience: Duration,
    ) -> Result<String, Failure> {
        self.text(self.http.post(url(path)).body(body).timeout(patience))
    }

    /// An answer to `GET path` that comes line by line and has no end of its own. What it tells
    /// of has begun when this returns.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub(super) fn lines(&self, path: &str) -> Result<Lines<'_>, Failure> {
        let answer = self.http.get(url(path)).send();
        // Not the request's own time-out, which would end the lines as well.
        let answer = async { tokio::time::timeout(CONTROL, answer).await };
        let answer = self.runtime.block_on(answer);
        let answer = answer.map_err(|_| mute(&self.socket))?;
        let answer = answer.map_err(|e| self.silent(e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Lines {
                client: self,
                answer,
                buffer: Vec::new(),
            });
        }
        let text = self.runtime.block_on(answer.text());
        Err(refused(status, &text.map_err(|e| self.silent(e))?))
    }

    fn text(&self, request: reqwest::RequestBuilder) -> Result<String, Failure> {
        let answer = async {
            let answer = request.send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.text().await?))
        };
        let (status, text) = self.runtime.block_on(answer).map_err(|e| self.silent(e))?;
        if status.is_success() {
            return Ok(text);
        }
        Err(refused(status, &text))
    }

    fn silent(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return mute(&self.socket);
        }
        let shown = self.socket.display();
        let failure = Err::<(), _>(error)
            .with_context(|| format!("admin socket {shown}: no answer from the daemon"))
            .or_exit(Exit::Unavailable);
        match failure {
            Err(failure) => failure,
            Ok(()) => unreachable!("made from an error above"),
        }
    }
}

/// An answer that comes line by line.
pub(super) struct Lines<'a> {
    client: &'a Client,
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

/// What comes next.
pub(super) enum Next<T> {
    /// A line, without its line feed.
    Line(String),
    /// The daemon has ended the answer.
    End,
    /// Something else came first.
    Other(T),
}

impl Lines<'_> {
    /// The next line, unless `other` comes first.
    ///
    /// # Errors
    /// With exit 69 when the daemon is gone.
    pub(super) fn next<T>(&mut self, other: impl Future<Output = T>) -> Result<Next<T>, Failure> {
        let client = self.client;
        let next = async {
            tokio::pin!(other);
            loop {
                if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    let text = String::from_utf8_lossy(&line[..end]);
                    return Ok(Next::Line(text.into_owned()));
                }
                tokio::select! {
                    chunk = self.answer.chunk() => match chunk? {
                        Some(chunk) => self.buffer.extend_from_slice(&chunk),
                        None => return Ok(Next::End),
                    },
                    other = &mut other => return Ok(Next::Other(other)),
                }
            }
        };
        client.runtime.block_on(next).map_err(|e| client.silent(e))
    }
}

fn url(path: &str) -> String {
    format!("http://pinrelay{path}")
}

fn refused(status: reqwest::StatusCode, text: &str) -> Failure {
    Failure {
        exit: match status.as_u16() {
            422 => Exit::Config,
            400 | 404 => Exit::Data,
            500 => Exit::Io,
            _ => Exit::Unavailable,
        },
        error: anyhow!("{}", text.trim_end()),
    }
}

fn mute(socket: &Path) -> Failure {
    Failure {
        exit: Exit::Unavailable,
        error: anyhow!(
            "admin socket {}: the daemon does not answer: it is stopped, or it hangs on something; \
             `systemctl status pinrelay` and its log say more, `systemctl restart pinrelay` loses \
             nothing",
            socket.display()
        ),
    }
}

fn missing(socket: &Path, error: &io::Error) -> Failure {
    let shown = socket.display();
    let (exit, next) = match error.kind() {
        io::ErrorKind::PermissionDenied => (Exit::Io, next_step_of_denied(socket)),
        _ => (
            Exit::Unavailable,
            "is the daemon running (`systemctl status pinrelay`), and is this its admin socket?"
                .to_owned(),
        ),
    };
    Failure {
        exit,
        error: anyhow!("admin socket {shown}: {error}; {next}"),
    }
}
