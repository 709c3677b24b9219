//! `pinrelay send`: NDJSON into the daemon's socket, until every line is answered.
//!
//! Three threads share a `window`: one reads the `input`, one writes to the socket, one reads
//! the answers (`session`). `answer` knows the protocol, `message_id` gives ids to lines
//! without, `follow` listens to what becomes of the events. `http` takes the same input and counts
//! the same answers over HTTP.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::config_arg::{ConfigArg, Sockets};
use super::daemon::{CONTROL, Client};
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::text::{out, say};
use crate::admin::Report;
use crate::files;
use crate::lifecycle;

mod answer;
mod follow;
mod http;
mod input;
mod message_id;
mod session;
#[cfg(test)]
mod tests;
mod window;

use follow::{Account, Followed};
use http::Posting;
use input::Input;
use session::SessionError;
pub(super) use window::Tally;
use window::Window;

/// The longest write key, bytes.
const LONGEST_KEY: u64 = 4 << 10;

/// Flags of `pinrelay send`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 every line is safe on the daemon's disk, or was before · 1 --follow, and not all were \
delivered · 65 lines were rejected · 69 no daemon is there, or lines are left without an answer · \
74 the input cannot be read · 78 the config that was named is wrong

Examples:
  pinrelay send events.ndjson
  pinrelay send --follow --timeout 30 < events.ndjson
  pinrelay send --http http://127.0.0.1:8080/v1/batch events.ndjson")]
pub struct Args {
    /// The events, one JSON object per line; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which config file; it says where the sockets are.
    #[command(flatten)]
    config: ConfigArg,
    /// The daemon's socket for events, instead of the config's.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Send over HTTP to this address instead: batches of 100, or one by one where the path takes
    /// one. Without a path: /v1/batch.
    #[arg(long, value_name = "URL", conflicts_with_all = ["socket", "follow"])]
    http: Option<String>,
    /// The file with the write key that --http needs, if the daemon has any.
    #[arg(long, value_name = "FILE", requires = "http")]
    write_key_file: Option<PathBuf>,
    /// Give a new messageId to every event without one. A second run gives other ids: what it
    /// sends again is then not recognised as sent.
    #[arg(long)]
    assign_message_ids: bool,
    /// Seconds to go on trying without an answer when the daemon is away or has no room.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Then wait until each queued event is delivered or dead, at most --timeout long, and say
    /// which: exit 0 if all were delivered, 1 if not. Takes the daemon's admin socket.
    #[arg(long)]
    follow: bool,
    /// The account of the answers as one JSON object on stdout, for programs.
    #[arg(long)]
    json: bool,
    /// The daemon's admin socket, for --follow, instead of the config's.
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

/// Sends, and prints an account of the answers.
pub fn run(args: Args) -> Outcome {
    if let Some(url) = &args.http {
        let (tally, end) = post(&args, url)?;
        return account(&args, &tally, end);
    }
    let sockets = args.sockets()?;
    if !args.follow {
        let (tally, end) = send(&args, &sockets.ingest, None)?;
        return account(&args, &tally, end);
    }
    let client = Client::connect(&sockets.admin)?;
    let lines = client.lines(follow::TAIL)?;
    // The one that listens is in use by its thread.
    let asking = Client::connect(&sockets.admin)?;
    let followed = Arc::new(Followed::default());
    thread::scope(|scope| {
        scope.spawn(|| followed.listen(&client, lines));
        let outcome = send_and_wait(&args, &asking, &sockets.ingest, &followed);
        followed.stop();
        outcome
    })
}

impl Args {
    /// Where to send, and where to listen. A config is looked at only for what no flag says.
    fn sockets(&self) -> Result<Sockets, Failure> {
        let admin = self.admin_socket.clone();
        if let (Some(ingest), true) = (&self.socket, admin.is_some() || !self.follow) {
            return Ok(Sockets {
                ingest: ingest.clone(),
                admin: admin.unwrap_or_default(),
            });
        }
        let found = self.config.sockets()?;
        Ok(Sockets {
            ingest: self.socket.clone().unwrap_or(found.ingest),
            admin: admin.unwrap_or(found.admin),
        })
    }
}

/// What became of the lines, and whether that is all.
fn account(args: &Args, tally: &Tally, end: Result<(), Failure>) -> Outcome {
    if args.json {
        tell(&in_json(tally, None))?;
    } else {
        say(&summary(tally));
    }
    end.map(|()| verdict(tally))
}

/// The answers counted, and whether all are there, over HTTP.
fn post(args: &Args, url: &str) -> Result<(Tally, Result<(), Failure>), Failure> {
    let key = args.write_key_file.as_deref().map(|path| {
        let text = files::read_text(path, LONGEST_KEY);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    });
    let key = key.transpose().or_exit(Exit::Io)?;
    let posting = Posting::new(url, key, Duration::from_secs(args.timeout))?;
    let (source, size) = open(args.file.as_deref()).or_exit(Exit::Io)?;
    let bar = progress(size);
    let ended = posting.run(source, args.assign_message_ids, &bar);
    bar.finish_and_clear();
    Ok(ended)
}

/// For programs.
fn tell(answer: &impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(out(true), "{answer}").or_exit(Exit::Io)
}

/// What keeps events from leaving just now, and what to do; empty, if nothing does or nobody says.
fn why_nothing_leaves(client: &Client) -> String {
    let report = client.get("/status", CONTROL).ok();
    let report = report.and_then(|json| serde_json::from_str::<Report>(&json).ok());
    let report = report
        .filter(|report| report.gate.state != "open")
        .unwrap_or_default();
    let troubles = report.troubles().into_iter().take(1);
    troubles
        .map(|trouble| match trouble.next {
            Some(next) => format!("nothing leaves now: {}\nnext: {next}\n", trouble.what),
            None => format!("nothing leaves now: {}\n", trouble.what),
        })
        .collect()
}

fn send_and_wait(args: &Args, client: &Client, ingest: &Path, followed: &Arc<Followed>) -> Outcome {
    let (tally, sent) = send(args, ingest, Some(followed.clone()))?;
    if !args.json {
        say(&summary(&tally));
    }
    if let Err(failure) = sent {
        if args.json {
            tell(&in_json(&tally, Some(&followed.account())))?;
        }
        return Err(failure);
    }
    // From here on an interruption ends the waiting, not the account of it.
    let mut signals = lifecycle::signals().or_exit(Exit::Io)?;
    let patience = Duration::from_secs(args.timeout);
    let left = followed.account().queued;
    if left > 0 {
        let most = args.timeout;
        say(&format!(
            "waiting for {left} to be delivered, at most {most} s; Ctrl-C ends the waiting\n"
        ));
    }
    if left > 0 {
        say(&why_nothing_leaves(client));
    }
    let end = followed.wait(patience, &mut || signals.try_recv().is_ok());
    let account = followed.account();
    if args.json {
        tell(&in_json(&tally, Some(&account)))?;
    } else {
        say(&account.summary());
    }
    end?;
    Ok(match (verdict(&tally), account.dead + account.queued) {
        (Exit::Ok, 1..) => Exit::NotHeld,
        (sent, _) => sent,
    })
}

/// The answers counted, and whether all are there.
fn send(
    args: &Args,
    ingest: &Path,
    followed: Option<Arc<Followed>>,
) -> Result<(Tally, Result<(), Failure>), Failure> {
    let (source, size) = open(args.file.as_deref()).or_exit(Exit::Io)?;
    let bar = progress(size);
    let sending = Sending {
        source,
        socket: ingest,
        assign_ids: args.assign_message_ids,
        patience: Duration::from_secs(args.timeout),
        followed,
    };
    let ended = sending.run(&bar);
    bar.finish_and_clear();
    Ok(ended)
}

fn verdict(tally: &Tally) -> Exit {
    match tally.rejected {
        0 => Exit::Ok,
        _ => Exit::Data,
    }
}

/// Sends these lines and waits for every answer, `patience` long without one. The counts are
/// given also when it ends early.
pub(super) fn lines(
    lines: String,
    socket: &Path,
    patience: Duration,
) -> (Tally, Result<(), Failure>) {
    let sending = Sending {
        source: io::Cursor::new(lines),
        socket,
        assign_ids: false,
        patience,
        followed: None,
    };
    sending.run(&ProgressBar::hidden())
}

/// The input and, of a file, its size.
fn open(file: Option<&Path>) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        return Ok((Box::new(io::stdin()), None));
    };
    let context = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let about = file.metadata().with_context(context)?;
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

/// Drawn on a terminal alone.
fn progress(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match size {
        Some(_) => "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left",
        None => "{spinner} {bytes}, {msg}",
    };
    let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// One call of `send`.
struct Sending<'a, R> {
    source: R,
    socket: &'a Path,
    assign_ids: bool,
    patience: Duration,
    followed: Option<Arc<Followed>>,
}

impl<R: Read + Send> Sending<'_, R> {
    /// Sends everything. The counts are given also when it ends early.
    fn run(self, bar: &ProgressBar) -> (Tally, Result<(), Failure>)
    where
        R: 'static,
    {
        let window = Arc::new(Window::following(self.followed.clone()));
        let filling = window.clone();
        let followed = self.followed;
        let mut input = Input::new(self.source, self.assign_ids);
        // Not joined: a reader that waits for a terminal must not keep a failed `send` alive.
        thread::spawn(move || {
            filling.end(loop {
                match input.next() {
                    Ok(Some(piece)) => {
                        if let Some(followed) = &followed {
                            followed.expect(&piece.chunk);
                        }
                        filling.push(piece);
                    }
                    Ok(None) => break None,
                    Err(e) => break Some(e),
                }
            });
        });
        let progress = |after: &window::After| {
            bar.set_position(after.read);
            bar.set_message(format!("{} answered", after.total));
        };
        let trouble = |said: &str| bar.suspend(|| say(&format!("pinrelay: {said}\n")));
        let end = session::deliver(&window, self.socket, self.patience, &progress, &trouble);
        let failure = match end {
            Err(error) => Err(unanswered(&window, error)),
            Ok(()) => match window.input_error() {
                Some(e) => Err(e).context("reading the input failed").or_exit(Exit::Io),
                None => Ok(()),
            },
        };
        (window.tally(), failure)
    }
}

/// The failure of a session, with what is left to do.
fn unanswered(window: &Window, error: SessionError) -> Failure {
    let error = anyhow::Error::new(error);
    let error = match window.unanswered() {
        (_, None) => error,
        (count, Some(first)) => error.context(format!(
            "{count} of the lines read have no answer, line {first} first: send again from there"
        )),
    };
    Failure {
        exit: Exit::Unavailable,
        error,
    }
}

/// For programs; `rejects` holds the first ten.
fn in_json(tally: &Tally, followed: Option<&Account>) -> Value {
    let rejects = tally.rejects.iter();
    let rejects = rejects.map(|(line, error)| json!({"line": line, "error": error}));
    let mut account = json!({
        "queued": tally.queued,
        "duplicate": tally.duplicate,
        "ignored": tally.ignored,
        "rejected": tally.rejected,
        "rejects": rejects.collect::<Vec<_>>(),
    });
    if let Some(of) = followed {
        account["followed"] = json!({
            "delivered": of.delivered,
            "dead": of.dead,
            "queued": of.queued,
        });
    }
    account
}

fn summary(tally: &Tally) -> String {
    let Tally {
        queued,
        duplicate,
        ignored,
        rejected,
        rejects,
    } = tally;
    let mut text = format!(
        "{} answered: {queued} queued, {duplicate} duplicate, {ignored} ignored, \
         {rejected} rejected\n",
        tally.total()
    );
    for (number, why) in rejects {
        text.push_str(&format!("  line {number}: {why}\n"));
    }
    let more = rejected - rejects.len() as u64;
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}
