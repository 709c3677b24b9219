//! `pinrelay dead`: the events that could not be delivered. One file per verb; here what they
//! share.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use super::daemon::Client;
use super::exit::{Exit, Failure, OrExit, Outcome};
use crate::admin::{Groups, Moved};

mod export;
mod filter;
mod import;
mod list;
mod purge;
mod retry;
mod show;

use filter::FilterArgs;

/// How long the daemon may take for one bounded piece of work, or to count all letters.
const PATIENCE: Duration = Duration::from_secs(120);

/// Flags of `pinrelay dead`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// How many there are for each reason and message. Shows no personal data.
    List(list::Args),
    /// One of them: its bytes, why it is dead, and what would be sent now. Shows personal data.
    Show(show::Args),
    /// Put them back into the queue, as they are.
    Retry(retry::Args),
    /// Write them out, one JSON object per line. Writes personal data.
    Export(export::Args),
    /// Take an export back, edited or not.
    Import(import::Args),
    /// Give them up.
    Purge(purge::Args),
}

/// Runs one of the verbs.
pub fn run(args: Args) -> Outcome {
    match args.verb {
        Verb::List(args) => list::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Retry(args) => retry::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Purge(args) => purge::run(&args),
    }
}

/// What the daemon answers to `GET path`.
fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    serde_json::from_str(&client.get(path, PATIENCE)?).or_exit(Exit::Io)
}

/// The letters that the filter means, counted: nothing that dies later is among them.
fn groups(client: &Client, filter: &FilterArgs) -> Result<Groups, Failure> {
    get(
        client,
        &format!("/dead/groups?{}", filter.query(None, None)),
    )
}

/// Has the daemon move the letters of `groups`, page by page: `retry` or `purge`. How many went.
fn move_all(
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
fn progress(letters: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(letters);
    match ProgressStyle::with_template("{bar:30} {pos} of {len} dead letters, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `n` of a thing, in words.
fn count(n: u64) -> String {
    match n {
        1 => "1 dead letter".into(),
        n => format!("{n} dead letters"),
    }
}
