//! `pinrelay dead retry`: back into the queue, as they are.

use std::io::Write;

use super::super::admin_arg::AdminArg;
use super::super::exit::{Exit, OrExit, Outcome};
use super::super::letter_filter::FilterArgs;
use super::super::text::out;
use super::human::count;
use super::pages::{groups, move_all};

/// Flags of `pinrelay dead retry`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when none match · 69 no daemon is there, or it went away: what is done is \
done · 78 the config is wrong

They go out under the event_id and event_time they had, transformed by the config that the daemon
runs with now: mend that first, and `pinrelay reload`. What is refused again is dead again.

Examples:
  pinrelay dead retry --reason no_match_key
  pinrelay dead retry --message 'currency' --since 2h
  pinrelay dead retry order-1234")]
pub(super) struct Args {
    /// Only this one, as with --id.
    #[arg(value_name = "MESSAGE_ID or NUMBER", conflicts_with = "id")]
    letter: Option<String>,
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    filter: FilterArgs,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let filter = args.filter.with_id(args.letter.as_deref());
    let groups = groups(&client, &filter)?;
    let retried = match groups.letters {
        0 => 0,
        _ => move_all(&client, "retry", &filter, &groups)?,
    };
    let mut out = out(args.json);
    match args.json {
        true => writeln!(out, r#"{{"revived":{retried}}}"#),
        false => writeln!(out, "{} went back into the queue", count(retried)),
    }
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
