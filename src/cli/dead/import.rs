//! `pinrelay dead import`: exported letters, edited or not, come back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::super::admin_arg::AdminArg;
use super::super::daemon::Client;
use super::super::exit::{Exit, Failure, OrExit, Outcome};
use super::super::text::{out, say as say_on_stderr};
use super::pages::{PATIENCE, progress};
use crate::admin;

/// Lines and bytes of one request; a line that is longer goes alone.
const LINES: usize = 500;
const BYTES: usize = 1 << 20;
/// Rejected lines that are named; the rest are counted.
const NAMED: usize = 20;

/// Flags of `pinrelay dead import`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 every line was taken or is a duplicate · 65 some were rejected: the others were \
taken · 69 no daemon is there, it has no room, or it went away: import the same file again, what \
was taken is a duplicate then · 74 the file cannot be read · 78 the config is \
wrong

Lines are as `pinrelay dead export` writes them; all that one must have is `event`, whose \
messageId says whose event it is. It is
  revived    put back into the queue with these bytes: it was dead or purged
  queued     taken as a new event: its messageId is not remembered (any more)
  duplicate  not taken: it is queued, or was delivered, and would be sent twice

Example:
  pinrelay dead import mended.ndjson")]
pub(super) struct Args {
    /// The lines; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
struct Tally {
    #[serde(rename = "revived")]
    retried: u64,
    queued: u64,
    duplicate: u64,
    rejected: u64,
    /// The first of the rejected.
    errors: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Rejected {
    /// From 1, blank lines included.
    line: u64,
    error: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let path = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let name = path.unwrap_or(Path::new("stdin")).display();
    let context = || format!("cannot read {name}");
    let input: Box<dyn BufRead> = match path {
        None => Box::new(io::stdin().lock()),
        Some(path) => {
            let file = File::open(path).with_context(context).or_exit(Exit::Io)?;
            Box::new(BufReader::with_capacity(1 << 16, file))
        }
    };
    let mut tally = Tally::default();
    let imported = import(&client, input, &mut tally);
    say(&tally, args.json)?;
    imported?.with_context(context).or_exit(Exit::Io)?;
    Ok(match tally.rejected {
        0 => Exit::Ok,
        _ => Exit::Data,
    })
}

/// Sends the lines in pieces. The outer error is the daemon's; what was taken before is counted.
fn import(
    client: &Client,
    mut input: impl BufRead,
    tally: &mut Tally,
) -> Result<io::Result<()>, Failure> {
    let bar = progress(0);
    let mut piece = Piece::default();
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(read) => {
                if !piece.fits(&line) || read == 0 {
                    piece.send(client, tally)?;
                    bar.set_position(tally.retried + tally.queued + tally.duplicate);
                }
                if read == 0 {
                    bar.finish_and_clear();
                    return Ok(Ok(()));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        number += 1;
        if !line.trim_ascii().is_empty() {
            piece.push(number, &line);
        }
    }
}

/// Lines that are sent together.
#[derive(Default)]
struct Piece {
    body: Vec<u8>,
    numbers: Vec<u64>,
}

impl Piece {
    fn fits(&self, line: &[u8]) -> bool {
        self.numbers.is_empty()
            || (self.numbers.len() < LINES && self.body.len() + line.len() <= BYTES)
    }

    fn push(&mut self, number: u64, line: &[u8]) {
        self.numbers.push(number);
        self.body.extend_from_slice(line.trim_ascii_end());
        self.body.push(b'\n');
    }

    /// Sends them and counts the answers; nothing is left.
    fn send(&mut self, client: &Client, tally: &mut Tally) -> Result<(), Failure> {
        let Self { body, numbers } = std::mem::take(self);
        if numbers.is_empty() {
            return Ok(());
        }
        let answer = client.post("/dead/import", body, PATIENCE)?;
        let answer: admin::Lines = serde_json::from_str(&answer).or_exit(Exit::Io)?;
        for (line, number) in answer.lines.into_iter().zip(numbers) {
            tally.count(number, line);
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, number: u64, line: admin::Line) {
        match line.status.as_str() {
            "revived" => self.retried += 1,
            "queued" => self.queued += 1,
            "duplicate" => self.duplicate += 1,
            _ => {
                self.rejected += 1;
                if self.errors.len() < NAMED {
                    let error = line.error.unwrap_or_default();
                    self.errors.push(Rejected {
                        line: number,
                        error,
                    });
                }
            }
        }
    }
}

fn say(tally: &Tally, json: bool) -> Result<(), Failure> {
    let mut out = out(json);
    if json {
        let text = serde_json::to_string(tally).or_exit(Exit::Io)?;
        return writeln!(out, "{text}").or_exit(Exit::Io);
    }
    for rejected in &tally.errors {
        say_on_stderr(&format!("line {}: {}\n", rejected.line, rejected.error));
    }
    writeln!(
        out,
        "{} revived, {} queued, {} duplicate, {} rejected",
        tally.retried, tally.queued, tally.duplicate, tally.rejected
    )
    .or_exit(Exit::Io)
}
