//! Lines from the daemon, and from the next one when that has ended.

use std::future::pending;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cli::daemon::{Client, Lines, Next};
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::text::say;

/// Between two looks for the daemon, milliseconds: the same as between two readings of `top`.
const EVERY: u16 = 1000;
/// How long a daemon that is back may take to show that it answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Invariant: between the lines of two daemons, stderr says that there were two.
pub(super) struct Source<'a> {
    client: &'a Client,
    lines: Lines<'a>,
    /// Asked of every daemon but the first.
    again: String,
}

impl<'a> Source<'a> {
    /// Asks the daemon `first`, and each that comes after it `again`: queries of `GET /tail`.
    ///
    /// # Errors
    /// Those of [`Client::lines`].
    pub(super) fn new(client: &'a Client, again: String, first: String) -> Result<Self, Failure> {
        Ok(Self {
            client,
            lines: client.lines(&path(&first))?,
            again,
        })
    }

    /// The next line; waits for one, and for a daemon where there is none. `None`: nobody reads
    /// stdout any more.
    ///
    /// # Errors
    /// With the exit code of what the next daemon says where it does not understand what it is
    /// asked.
    pub(super) fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            match self.lines.next(pending::<()>()) {
                Ok(Next::Line(line)) => return Ok(Some(line)),
                Ok(Next::End | Next::Other(())) => {}
                Err(gone) if gone.exit == Exit::Unavailable => {}
                Err(failure) => return Err(failure),
            }
            say("pinrelay: the daemon has ended; tail waits for the next one\n");
            let Some(lines) = self.wait()? else {
                return Ok(None);
            };
            self.lines = lines;
            say("pinrelay: the daemon is back; events may have passed unseen meanwhile\n");
        }
    }

    fn wait(&self) -> Result<Option<Lines<'a>>, Failure> {
        let mut is_told = false;
        loop {
            if is_closed()? {
                return Ok(None);
            }
            let lines = (self.client.get("/healthz", PATIENCE))
                .and_then(|_| self.client.lines(&path(&self.again)));
            match lines {
                Ok(lines) => return Ok(Some(lines)),
                Err(failure) if failure.exit == Exit::Unavailable => {}
                // While it starts its socket may be there and not be its group's yet; it may also
                // never be.
                Err(failure) if failure.exit == Exit::Io => {
                    if !std::mem::replace(&mut is_told, true) {
                        say(&format!("pinrelay: {failure}; tail tries again\n"));
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn path(query: &str) -> String {
    format!("/tail?{query}")
}

/// Waits until the next look is due, or until nobody reads stdout any more; whether that is so.
fn is_closed() -> Result<bool, Failure> {
    let stdout = std::io::stdout();
    // Nothing is asked for: what is told all the same is that the other end is gone.
    let mut of = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    match poll(&mut of, PollTimeout::from(EVERY)) {
        // A signal that does not end it.
        Err(nix::errno::Errno::EINTR) => Ok(false),
        polled => Ok(polled.or_exit(Exit::Io)? > 0),
    }
}
