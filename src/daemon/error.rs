//! Why the daemon could not start, or had to end.

use crate::config::{ConfigError, TokenError, WriteKeyError};
use crate::ingest::TlsError;
use crate::net::BindError;
use crate::queue::OpenError;

/// Why the daemon could not start, or had to end. Each names its object and the next step.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The config is wrong (exit code 78).
    #[error("{0}")]
    Config(String),
    /// Another process has the folder or the socket (exit code 69).
    #[error("{0}")]
    InUse(String),
    /// It was told to stop before it was ready (exit code 0).
    #[error("stopped before it was ready: {0}")]
    Stopped(String),
    /// The system refused (exit code 74).
    #[error("{0}")]
    Io(String),
}

impl From<ConfigError> for DaemonError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<TokenError> for DaemonError {
    fn from(error: TokenError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<WriteKeyError> for DaemonError {
    fn from(error: WriteKeyError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<TlsError> for DaemonError {
    fn from(error: TlsError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<OpenError> for DaemonError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::GivenUp(why) => Self::Stopped(why),
            OpenError::InUse(why) => Self::InUse(why),
            OpenError::Newer(why) | OpenError::Foreign(why) => Self::Config(why),
            OpenError::Damaged(why) | OpenError::Io(why) => Self::Io(why),
        }
    }
}

impl From<BindError> for DaemonError {
    fn from(error: BindError) -> Self {
        let text = error.to_string();
        match error {
            BindError::InUse(_) => Self::InUse(text),
            BindError::NotASocket(_) | BindError::TooLong(_) | BindError::Dangling { .. } => {
                Self::Config(text)
            }
            BindError::Io { .. } => Self::Io(text),
        }
    }
}
