//! Asking about one event, and what is said where it does not wait.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::admin::{QueueOne, Stored};
use crate::cli::daemon::Client;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::text::printable;
use crate::cli::trace::render_stored;

/// How long the daemon may take to find an event in a long backlog, and to give it up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the daemon answers to `POST path` about `one`.
///
/// # Errors
/// Those of [`Client::post`].
pub(super) fn ask(client: &Client, path: &str, one: &QueueOne) -> Result<String, Failure> {
    let body = serde_json::to_string(one).or_exit(Exit::Io)?;
    client.post(path, body, PATIENCE)
}

/// Where the event is instead, in a line.
pub(super) fn elsewhere(message_id: &str, stored: &Stored) -> String {
    let stored = render_stored(stored, &TimeZone::system());
    format!("{} does not wait: {stored}\n", printable(message_id))
}
