//! `pinrelay send`: NDJSON into the daemon's socket, until every line is answered.
//!
//! Three threads share a `window`: one reads the `input`, one writes to the socket, one reads
//! the answers (`session`). `answer` knows the protocol, `message_id` gives ids to lines
//! without, `follow` listens to what becomes of the events. `http` takes the same input and counts
//! the same answers over HTTP. `tally` counts, `account` tells it, at the end or at a signal
//! (`interrupt`); `bar` draws how far it is, `rejects` keeps the lines that were rejected.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::config_arg::{ConfigArg, Sockets};
use super::daemon::{CONTROL, Client};
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::source::{Source, Text};
use super::text::say;
use crate::admin::Report;
use crate::files;

mod account;
mod answer;
mod bar;
mod follow;
mod http;
mod input;
mod interrupt;
mod message_id;
mod rejects;
mod session;
mod tally;
#[cfg(test)]
mod tests;
mod window;

use account::Teller;
use bar::Bar;
use follow::Followed;
use http::{Books, Posting};
use input::Input;
use interrupt::LastWord;
use rejects::Rejects;
pub(super) use tally::Tally;
use window::Window;

/// The longest --timeout: a year.
const MOST_SECONDS: u64 = 366 * 86_400;
/// The longest write key, bytes.
const LONGEST_KEY: u64 = 4 << 10;

/// Flags of `pinrelay send`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 every line is safe on the daemon's disk, or was before · 1 --follow, and not all were \
delivered · 65 lines were rejected · 69 no daemon is there, or lines are left without an answer · \
73 the file of --rejects is there · 74 the input cannot be read, or the file of --rejects not \
written · 78 the config that was named is wrong · 130 Ctrl-C ended it, after the \
account so far · 143 SIGTERM did

gzip is unpacked, whatever the file's name. What has no answer may be sent again at any time: what \
was taken is known by its messageId.

Examples:
  pinrelay send events.ndjson
  pinrelay send --rejects rejected.ndjson monday.ndjson tuesday.ndjson.gz
  pinrelay send --follow --timeout 30 < events.ndjson
  pinrelay send --http http://127.0.0.1:8080/v1/batch events.ndjson")]
pub struct Args {
    /// The events, one JSON object per line, gzip or not; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
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
    /// Write the lines that are rejected to this file, as they came: a new one, for you alone.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Seconds to go on without a single answer when the daemon is away, hangs or has no room.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=MOST_SECONDS))]
    timeout: u64,
    /// Then wait until each queued event is delivered or dead, at most --timeout long, and say
    /// which: exit 0 if all were delivered, 1 if not. Takes the daemon's admin socket.
    #[arg(long)]
    follow: bool,
    /// The account of the answers on stdout, as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// The daemon's admin socket, for --follow, instead of the config's.
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

/// Sends, and prints an account of the answers.
pub fn run(args: Args) -> Outcome {
    let input = args.input()?;
    if let Some(url) = &args.http {
        return post(&args, url, input);
    }
    let sockets = args.sockets()?;
    if !args.follow {
        return send(&args, input, &sockets.ingest);
    }
    let client = Client::connect(&sockets.admin)?;
    let lines = client.lines(follow::TAIL)?;
    // The one that listens is in use by its thread.
    let asking = Client::connect(&sockets.admin)?;
    let followed = Arc::new(Followed::default());
    thread::scope(|scope| {
        scope.spawn(|| followed.listen(&client, lines));
        let outcome = send_and_wait(&args, input, &asking, &sockets.ingest, &followed);
        followed.stop();
        outcome
    })
}

/// What is to be sent, and how its account is given.
struct Opened {
    texts: Vec<Text>,
    bar: Bar,
    teller: Teller,
}

impl Args {
    /// Opens everything before anything is sent.
    fn input(&self) -> Result<Opened, Failure> {
        let stdin = Path::new("-");
        if self.files.iter().filter(|path| *path == stdin).count() > 1 {
            return Err(anyhow!(
                "stdin (`-`) is named twice, and can be read once: leave one of them out"
            ))
            .or_exit(Exit::Usage);
        }
        let context = "nothing was sent";
        let sources = Source::open_all(&self.files);
        let sources = sources.context(context).or_exit(Exit::Io)?;
        let rejects = self.rejects.as_deref().map(Rejects::create).transpose()?;
        let names = sources.iter().map(|source| source.name.clone()).collect();
        let sizes: Option<Vec<u64>> = sources.iter().map(|source| source.size).collect();
        let bar = Bar::new(sizes.map(|sizes| sizes.iter().sum()));
        let texts = sources.into_iter().map(|source| {
            let telling = bar.clone();
            source.text(bar.read.clone(), move |said| telling.say(said))
        });
        Ok(Opened {
            texts: texts.collect(),
            bar,
            teller: Teller {
                names,
                rejects: rejects.map(Arc::new),
                is_json: self.json,
                assigns_ids: self.assign_message_ids,
            },
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

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

/// Sends over HTTP.
fn post(args: &Args, url: &str, input: Opened) -> Outcome {
    let key = args.write_key_file.as_deref().map(|path| {
        let text = files::read_text(path, LONGEST_KEY);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    });
    let key = key.transpose().or_exit(Exit::Io)?;
    let posting = Posting::new(url, key, args.patience())?;
    let Opened { texts, bar, teller } = input;
    let books = Arc::new(Books::new(teller.rejects.clone()));
    let word = {
        let (teller, books, bar) = (teller.clone(), books.clone(), bar.clone());
        LastWord::watch(move |signal| {
            bar.clear();
            teller.interrupted(signal, &books.tally(), &books.unanswered());
        })
        .or_exit(Exit::Io)?
    };
    let moved = |total| bar.moved(total);
    let end = posting.run(texts, args.assign_message_ids, &books, &teller, &moved);
    word.take();
    bar.clear();
    teller.tell(&books.tally(), &books.unanswered(), None, end)
}

/// What keeps events from leaving just now, and what to do; empty, if nothing does or nobody says.
fn why_nothing_leaves(client: &Client, patience: Duration) -> String {
    let report = client.get("/status", patience).ok();
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

/// Sends over the socket.
fn send(args: &Args, input: Opened, ingest: &Path) -> Outcome {
    let (sending, word, teller) = prepared(args, input, ingest, None)?;
    let (window, bar) = (sending.window.clone(), sending.bar.clone());
    let end = sending.run(&teller);
    word.take();
    bar.clear();
    teller.tell(&window.tally(), &window.unanswered(), None, end)
}

fn send_and_wait(
    args: &Args,
    input: Opened,
    client: &Client,
    ingest: &Path,
    followed: &Arc<Followed>,
) -> Outcome {
    let (sending, word, teller) = prepared(args, input, ingest, Some(followed.clone()))?;
    let (window, bar) = (sending.window.clone(), sending.bar.clone());
    let sent = sending.run(&teller);
    let (tally, unanswered) = (window.tally(), window.unanswered());
    if sent.is_err() {
        word.take();
        bar.clear();
        return teller.tell(&tally, &unanswered, Some(&followed.account()), sent);
    }
    // From here on an interruption ends the waiting, not the account of it.
    word.wait();
    bar.clear();
    let kept = teller.tell_lines(&tally);
    let begun = Instant::now();
    wait(args, client, followed, &word);
    let left = args.patience().saturating_sub(begun.elapsed());
    let waited = followed.wait(left, &mut || word.is_over());
    word.take();
    let account = followed.account();
    let verdict = teller.tell_followed(&tally, &unanswered, &account);
    kept?;
    waited?;
    Ok(match (verdict?, account.dead + account.queued) {
        (Exit::Ok, 1..) => Exit::NotHeld,
        (sent, _) => sent,
    })
}

/// Says what is waited for, if anything is.
fn wait(args: &Args, client: &Client, followed: &Followed, word: &LastWord) {
    let left = followed.account().queued;
    if left == 0 || word.is_over() {
        return;
    }
    let most = args.timeout;
    say(&format!(
        "waiting for {left} to be delivered, at most {most} s; Ctrl-C ends the waiting\n"
    ));
    say(&why_nothing_leaves(client, args.patience().min(CONTROL)));
}

/// Everything for a call, and from here on an account at a signal.
fn prepared<'a>(
    args: &Args,
    input: Opened,
    ingest: &'a Path,
    followed: Option<Arc<Followed>>,
) -> Result<(Sending<'a, Text>, LastWord, Teller), Failure> {
    let Opened { texts, bar, teller } = input;
    let window = Arc::new(Window::new(followed.clone(), teller.rejects.clone()));
    let word = {
        let (teller, window, bar) = (teller.clone(), window.clone(), bar.clone());
        LastWord::watch(move |signal| {
            bar.clear();
            teller.interrupted(signal, &window.tally(), &window.unanswered());
        })
        .or_exit(Exit::Io)?
    };
    let sending = Sending {
        sources: texts,
        socket: ingest,
        assign_ids: args.assign_message_ids,
        patience: args.patience(),
        followed,
        window,
        bar,
    };
    Ok((sending, word, teller))
}

/// Sends these lines and waits for every answer, `patience` long without one. The counts are
/// given also when it ends early.
pub(super) fn lines(
    lines: String,
    socket: &Path,
    patience: Duration,
) -> (Tally, Result<(), Failure>) {
    let window = Arc::new(Window::default());
    let sending = Sending {
        sources: vec![io::Cursor::new(lines)],
        socket,
        assign_ids: false,
        patience,
        followed: None,
        window: window.clone(),
        bar: Bar::hidden(),
    };
    let end = sending.run(&Teller::of_text());
    (window.tally(), end)
}

/// One call of `send`.
struct Sending<'a, R> {
    sources: Vec<R>,
    socket: &'a Path,
    assign_ids: bool,
    patience: Duration,
    followed: Option<Arc<Followed>>,
    window: Arc<Window>,
    bar: Bar,
}

impl<R: Read + Send + 'static> Sending<'_, R> {
    /// Sends everything. What is counted is in the window also when it ends early.
    fn run(self, teller: &Teller) -> Result<(), Failure> {
        let window = self.window;
        let filling = window.clone();
        let followed = self.followed;
        let mut input = Input::new(self.sources, self.assign_ids);
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
        let bar = &self.bar;
        let progress = |after: &window::After| bar.moved(after.total);
        let trouble = |said: &str| bar.say(said);
        session::deliver(&window, self.socket, self.patience, &progress, &trouble)
            .map_err(|error| teller.unanswered(&window.unanswered(), error))?;
        match window.input_error() {
            Some(error) => Err(teller.unread(error)),
            None => Ok(()),
        }
    }
}
