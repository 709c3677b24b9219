//! `pinrelay dead purge`: given up, after a question.

use std::io::Write;

use super::super::admin_arg::AdminArg;
use super::super::confirm::is_confirmed;
use super::super::exit::{Exit, Failure, OrExit, Outcome};
use super::super::letter_filter::FilterArgs;
use super::super::text::{out, say};
use super::human::count;
use super::pages::{groups, move_all};

/// Flags of `pinrelay dead purge`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when none match · 1 the answer was no · 64 nobody to ask, and no --yes · \
69 no daemon is there, or it went away: what is done is done · \
78 the config is wrong

Purged events are counted `purged` and are sent no more: an ordinary resend of one is a duplicate \
while its messageId is remembered. `pinrelay dead import` of an export brings them back, so export \
first. Their bytes are off the disk within about a minute.

Examples:
  pinrelay dead export --reason expired -o expired.ndjson
  pinrelay dead purge --reason expired --yes")]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    filter: FilterArgs,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let groups = groups(&client, &args.filter)?;
    if groups.letters > 0 && !args.yes && !is_wanted(groups.letters)? {
        say("nothing was purged\n");
        return Ok(Exit::NotHeld);
    }
    let purged = match groups.letters {
        0 => 0,
        _ => move_all(&client, "purge", &args.filter, &groups)?,
    };
    let mut out = out(args.json);
    match args.json {
        true => writeln!(out, r#"{{"purged":{purged}}}"#),
        false => writeln!(out, "{} purged", count(purged)),
    }
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// Asks on the terminal.
fn is_wanted(letters: u64) -> Result<bool, Failure> {
    let letters = count(letters);
    is_confirmed(
        &format!("Purge {letters}? Their events will not be sent."),
        &format!("{letters} would be purged"),
    )
}
