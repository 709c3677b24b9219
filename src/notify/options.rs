//! What the config says of notifications.

use std::path::PathBuf;
use std::time::Duration;

/// What a reload may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `notify.webhook_url_file`; without one nobody is told.
    pub webhook_url_file: Option<PathBuf>,
    /// `notify.min_interval`.
    pub min_interval: Duration,
    /// `notify.backlog_age`.
    pub backlog_age: Duration,
    /// Which daemon this is, for whoever gets the message: ad account and host.
    pub name: String,
}
