//! Connections to the daemon, one after the other, until every line has its answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

use super::super::denied::next_step_of_denied;
use super::window::{After, Window};
use crate::net::connect_now;

/// Room for answers; at most one of them is cut in two.
const ANSWERS: usize = 256 << 10;

/// Why not every line has its answer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection, or none that held, for as long as was allowed.
    #[error(
        "no daemon answers on {socket}: {why}, tried for {seconds} s; start it (`systemctl start pinrelay`), or name its socket with --socket"
    )]
    Unreachable {
        /// The socket.
        socket: String,
        /// The last error.
        why: String,
        /// How long it was tried.
        seconds: u64,
    },
    /// Whoever asks may not connect.
    #[error("{socket}: {why}; {next}")]
    Denied {
        /// The socket.
        socket: String,
        /// What the system says.
        why: io::Error,
        /// Who may, and how to be one of them.
        next: String,
    },
    /// The connection holds, and nothing comes over it.
    #[error(
        "the daemon on {socket} gave no answer to what it was sent for {seconds} s: it is stopped, it hangs, or its queue is at its quota (queue.max_bytes); `pinrelay status` says which, and --timeout waits longer"
    )]
    Silent {
        /// The socket.
        socket: String,
        /// How long an answer was waited for.
        seconds: u64,
    },
    /// The daemon answers, and cannot store.
    #[error(
        "the daemon on {socket} answered `unavailable` for {seconds} s: its disk is full, or its database is away; `pinrelay status` says which and what to do"
    )]
    NoRoom {
        /// The socket.
        socket: String,
        /// How long it was tried.
        seconds: u64,
    },
    /// Something else listens there.
    #[error("on {socket} {what}")]
    NotTheDaemon {
        /// The socket.
        socket: String,
        /// What it did.
        what: String,
    },
}

/// Sends what is in the window until all of it is answered and the input is at its end.
/// Connects anew when a connection breaks, and gives up after `patience` without a single
/// final answer while there is something to send: nothing in here waits longer. `progress` hears
/// of every buffer of answers and `trouble` of the first failure in a row.
///
/// # Errors
/// [`SessionError`]; the window then still holds what is unanswered.
pub fn deliver(
    window: &Window,
    socket: &Path,
    patience: Duration,
    progress: &dyn Fn(&After),
    trouble: &dyn Fn(&str),
) -> Result<(), SessionError> {
    let mut intervals = ExponentialBackoff {
        initial_interval: Duration::from_millis(50),
        max_interval: Duration::from_secs(2),
        multiplier: 2.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut calm = true;
    while let Some(waited) = window.wait_for_work() {
        if waited {
            intervals.reset();
        }
        let Some(broken) = attempt(window, socket, patience, progress)? else {
            return Ok(());
        };
        if broken.answered {
            intervals.reset();
            calm = true;
        }
        let (why, left) = (broken.why, left(window, patience));
        if left.is_zero() {
            return Err(SessionError::Unreachable {
                socket: socket.display().to_string(),
                why,
                seconds: patience.as_secs(),
            });
        }
        if std::mem::take(&mut calm) {
            trouble(&format!(
                "{}: {why}; trying again for {} s",
                socket.display(),
                left.as_secs_f64().ceil()
            ));
        }
        thread::sleep(intervals.next_backoff().unwrap_or(left).min(left));
    }
    Ok(())
}

/// A connection that could not be made, or broke.
struct Broken {
    /// Something was answered over it.
    answered: bool,
    why: String,
}

/// One connection; `None`: all is answered.
fn attempt(
    window: &Window,
    socket: &Path,
    patience: Duration,
    progress: &dyn Fn(&After),
) -> Result<Option<Broken>, SessionError> {
    let (name, seconds) = (|| socket.display().to_string(), patience.as_secs());
    let none = |why| Broken {
        answered: false,
        why,
    };
    let stream = match connect(socket) {
        Ok(stream) => stream,
        // Waiting does not mend a mode.
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            return Err(SessionError::Denied {
                socket: name(),
                why,
                next: next_step_of_denied(socket),
            });
        }
        // Its backlog is full.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            let why = "connections are not taken, and many wait to be";
            return Ok(Some(none(why.to_owned())));
        }
        Err(e) => return Ok(Some(none(e.to_string()))),
    };
    let socket = name();
    match converse(window, &stream, patience, progress) {
        End::Finished => Ok(None),
        End::Broken { answered, error } => Ok(Some(Broken {
            answered,
            why: error.to_string(),
        })),
        End::Silent if window.is_short() => Err(SessionError::NoRoom { socket, seconds }),
        End::Silent => Err(SessionError::Silent { socket, seconds }),
        End::Odd(what) => Err(SessionError::NotTheDaemon { socket, what }),
    }
}

/// How long it may go on without an answer.
fn left(window: &Window, patience: Duration) -> Duration {
    patience.saturating_sub(window.quiet().unwrap_or_default())
}

/// Connects at once or not at all: a daemon that is stopped takes no connection out of its
/// backlog, and std would wait for that without end.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::from(connect_now(path)?);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

enum End {
    Finished,
    Broken {
        answered: bool,
        error: io::Error,
    },
    /// Patience is over.
    Silent,
    Odd(String),
}

/// One connection: a thread writes, this one reads.
fn converse(
    window: &Window,
    stream: &UnixStream,
    patience: Duration,
    progress: &dyn Fn(&After),
) -> End {
    window.connected();
    thread::scope(|scope| {
        scope.spawn(|| write(window, stream));
        let end = read(window, stream, patience, progress);
        // Both wake the writer, wherever it waits.
        window.broken();
        let _ = stream.shutdown(Shutdown::Both);
        end
    })
}

fn write(window: &Window, mut stream: &UnixStream) {
    while let Some((chunk, from)) = window.next_to_write() {
        if stream.write_all(&chunk.bytes[from..]).is_err() {
            // The daemon reads no further, but the answers that are due still come.
            return;
        }
    }
    // Wakes the reader if the input ended after the last answer.
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(
    window: &Window,
    mut stream: &UnixStream,
    patience: Duration,
    progress: &dyn Fn(&After),
) -> End {
    let mut buffer = vec![0; ANSWERS];
    let mut held = 0;
    let start = window.tally().total();
    let mut answered = false;
    loop {
        if window.finished() {
            return End::Finished;
        }
        let left = left(window, patience);
        if left.is_zero() {
            return End::Silent;
        }
        if let Err(error) = stream.set_read_timeout(Some(left)) {
            return End::Broken { answered, error };
        }
        let n = match stream.read(&mut buffer[held..]) {
            Ok(0) if window.finished() => return End::Finished,
            Ok(0) => {
                let error = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the daemon closed the connection",
                );
                return End::Broken { answered, error };
            }
            Ok(n) => n,
            // Nothing was unanswered as long as that, or the time is over.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return End::Broken { answered, error },
        };
        held += n;
        let (settled, after) = match window.settle(&buffer[..held]) {
            Ok(settled) => settled,
            Err(what) => return End::Odd(what),
        };
        buffer.copy_within(settled..held, 0);
        held -= settled;
        if held == buffer.len() {
            return End::Odd("an answer has no end".into());
        }
        answered |= after.total > start;
        progress(&after);
        if after.finished {
            return End::Finished;
        }
    }
}
