//! Stdout, and who reads it.
//!
//! Invariant: a reader of stdout that has seen enough (`| head`) is no failure, whichever command
//! writes: an answer goes on into nothing, so that its exit code still says what it found, and a
//! stream ends the command ([`ends_quietly`]). A stdout that cannot be written is one. What is
//! written here is for programs, byte for byte; what people read goes through `text`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whoever read stdout has gone.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes what is still held back.
///
/// # Errors
/// Where stdout cannot be written.
pub(super) fn finish() -> io::Result<()> {
    Stdout::of_an_answer().flush()
}

/// The same of what another has printed there for us.
///
/// # Errors
/// As [`finish`].
pub(super) fn printed(written: io::Result<()>) -> io::Result<()> {
    Stdout::of_an_answer().judge(written, ())
}

/// Whether this error is that the reader of stdout has gone, which is the end of a stream and no
/// failure. Other pipes and sockets that break are failures.
pub(super) fn ends_quietly(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
    IS_CLOSED.load(Ordering::Relaxed) && causes.any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Stdout itself; its errors name it.
pub(super) struct Stdout {
    to: io::StdoutLock<'static>,
    goes_on: bool,
}

impl Stdout {
    /// For an answer: what is written for a reader that has gone counts as written.
    pub(super) fn of_an_answer() -> Self {
        Self {
            to: io::stdout().lock(),
            goes_on: true,
        }
    }

    /// For what has no end, or a far one: once its reader has gone, writing fails.
    pub(super) fn of_a_stream() -> Self {
        Self {
            to: io::stdout().lock(),
            goes_on: false,
        }
    }

    fn judge<T>(&self, written: io::Result<T>, as_if: T) -> io::Result<T> {
        let error = match written {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => error,
            done => return done,
        };
        if error.kind() != io::ErrorKind::BrokenPipe {
            let what = format!("stdout cannot be written: {error}; see where it leads");
            return Err(io::Error::new(error.kind(), what));
        }
        IS_CLOSED.store(true, Ordering::Relaxed);
        match self.goes_on {
            true => Ok(as_if),
            false => Err(error),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.judge(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.judge(flushed, ())
    }
}
