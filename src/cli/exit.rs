//! Exit codes, and errors that carry one.

use std::fmt;

/// How a command ends. The numbers are those of `sysexits.h`, apart from 1 and 2,
/// and those that a shell gives to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked.
    Ok = 0,
    /// A check or a demo did not hold.
    NotHeld = 1,
    /// `status --check`: somebody has to do something.
    Critical = 2,
    /// The command line is wrong.
    Usage = 64,
    /// The input is wrong.
    Data = 65,
    /// The daemon is not there, or another one is.
    Unavailable = 69,
    /// A file that would be made is there already.
    Exists = 73,
    /// Reading, writing or storing failed.
    Io = 74,
    /// The configuration is wrong, or a token is missing.
    Config = 78,
    /// SIGINT (Ctrl-C) ended it before it was done.
    Interrupted = 130,
    /// SIGTERM did.
    Terminated = 143,
}

/// An error on its way to the operator, with the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// The process ends with it.
    pub exit: Exit,
    /// What is printed: the object and the next step.
    pub error: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// What every command gives back.
pub type Outcome = Result<Exit, Failure>;

/// Puts an exit code to an error.
pub trait OrExit<T> {
    /// The error, if it is one, ends the process with `exit`.
    ///
    /// # Errors
    /// The same as before, with its code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            exit,
            error: error.into(),
        })
    }
}
