//! Asking the daemon for dead letters in bounded pieces of work: no request takes longer than
//! [`PATIENCE`], however many letters there are.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use super::super::letter_filter::FilterArgs;
use crate::admin::{Groups, Moved};
use crate::cli::daemon::Client;
use crate::cli::exit::{Exit, Failure, OrExit};

/// How long the daemon may take for one bounded piece of work, or to count all letters.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What the daemon answers to `GET path`.
pub(super) fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    serde_json::from_str(&client.get(path, PATIENCE)?).or_exit(Exit::Io)
}

/// The letters that the filter means, counted: nothing that dies later is among them.
pub(super) fn groups(client: &Client, filter: &FilterArgs) -> Result<Groups, Failure> {
    get(
        client,
        &format!("/dead/groups?{}", filter.query(None, None)),
    )
}

/// Has the daemon move the letters of `groups`, page by page: `retry` or `purge`. How many went.
pub(super) fn move_all(
    client: &Client,
    what: &str,
    filter: &FilterArgs,
    groups: &Groups,
) -> Result<u64, Failure> {
    let bar = progress(groups.letters);
    let (mut moved, mut after) = (0, Some(1));
    while let Some(from) = after {
        let query = filter.query(Some(from), Some(groups.last));
        let answer = client.post(&format!("/dead/{what}?{query}"), "", PATIENCE)?;
        let page: Moved = serde_json::from_str(&answer).or_exit(Exit::Io)?;
        moved += page.count;
        bar.set_position(moved);
        after = page.next;
    }
    bar.finish_and_clear();
    Ok(moved)
}

/// Drawn on a terminal alone.
pub(super) fn progress(letters: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(letters);
    match ProgressStyle::with_template("{bar:30} {pos} of {len} dead letters, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
