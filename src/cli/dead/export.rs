//! `pinrelay dead export`: letters as lines that `jq` edits and `dead import` takes back.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::super::admin_arg::AdminArg;
use super::super::daemon::Client;
use super::super::exit::{Exit, Failure, OrExit, Outcome};
use super::super::letter_filter::FilterArgs;
use super::super::new_file::private;
use super::super::stdout::Stdout;
use super::super::text::out;
use super::human::count;
use super::pages::{get, groups, progress};
use crate::admin::{Groups, Letters};

/// Flags of `pinrelay dead export`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when none match · 69 no daemon is there, or it went away · 73 the file is \
there and not empty · 74 it cannot be written · 78 the config is wrong

Writes personal data: events as they came. A file is made for you alone (0600). The letters stay \
dead; `dead purge` gives them up. One line each:
  {\"number\":7,\"accepted_at\":…,\"died_at\":…,\"reason\":\"…\",\"message\":\"…\",\"event_time\":…,\"event\":{…}}
Times are Unix milliseconds, event_time Unix seconds.

Example, with an email where it was missing:
  pinrelay dead export --reason no_match_key -o dead.ndjson
  jq -c '.event.context.traits.email = \"a@shop.example\"' dead.ndjson > mended.ndjson
  pinrelay dead import mended.ndjson")]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    filter: FilterArgs,
    /// Write to this file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With --output: how many there were, as JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let groups = groups(&client, &args.filter)?;
    let Some(path) = &args.output else {
        let written = write(&client, &args.filter, &groups, Stdout::of_a_stream())?;
        return written.map(|_| Exit::Ok).or_exit(Exit::Io);
    };
    let context = || format!("cannot write {}", path.display());
    let file = match private(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure {
                exit: Exit::Exists,
                error: anyhow!(
                    "{} is there already; an export makes a file of its own, and what is there may \
                     be the only copy of letters that are purged: name another file",
                    path.display()
                ),
            });
        }
        opened => opened.with_context(context).or_exit(Exit::Io)?,
    };
    let written = write(&client, &args.filter, &groups, &file)?;
    // A purge may follow: then these are the only copies.
    let exported = written.and_then(|exported| file.sync_all().map(|()| exported));
    let exported = exported.with_context(context).or_exit(Exit::Io)?;
    let mut out = out(args.json);
    match args.json {
        true => writeln!(out, r#"{{"exported":{exported}}}"#),
        false => writeln!(out, "{} written to {}", count(exported), path.display()),
    }
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// Writes the letters page by page; how many they were. The outer error is the daemon's.
fn write(
    client: &Client,
    filter: &FilterArgs,
    groups: &Groups,
    out: impl Write,
) -> Result<io::Result<u64>, Failure> {
    let bar = progress(groups.letters);
    let mut out = BufWriter::new(out);
    let (mut exported, mut after) = (0, (groups.letters > 0).then_some(1));
    while let Some(from) = after {
        let query = filter.query(Some(from), Some(groups.last));
        let page: Letters = get(client, &format!("/dead?{query}"))?;
        for letter in &page.letters {
            let line = serde_json::to_vec(letter).or_exit(Exit::Io)?;
            let written = out.write_all(&line).and_then(|()| out.write_all(b"\n"));
            if let Err(error) = written {
                return Ok(Err(error));
            }
        }
        exported += page.letters.len() as u64;
        bar.set_position(exported);
        after = page.next;
    }
    bar.finish_and_clear();
    Ok(out.flush().map(|()| exported))
}
