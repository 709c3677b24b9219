//! `pinrelay queue drop`: one event that waits is given up, after a question.

use std::io::Write;

use super::names::{ask, elsewhere};
use crate::admin::{Dropping, QueueOne};
use crate::cli::admin_arg::AdminArg;
use crate::cli::confirm::is_confirmed;
use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::text::{out, printable, say};

/// Flags of `pinrelay queue drop`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 it is given up · 1 the answer was no · 64 nobody to ask, and no --yes · 65 the event \
does not wait: it says where it is · 69 no daemon is there, or it went away: ask again · 78 the \
config is wrong

It is counted `purged` and is not sent: that is on disk before it is said. A resend or an import of \
it is a duplicate while its messageId is remembered. One that is being sent is given up after the \
answer, unless that says that it was delivered. For a dead letter there is `pinrelay dead purge`, \
for all of one person `pinrelay forget`.

Examples:
  pinrelay queue drop order-1234
  pinrelay queue drop order-1234 --yes --json")]
pub(super) struct Args {
    /// Its messageId; `queue list` has them.
    #[arg(value_name = "MESSAGE_ID")]
    message_id: String,
    #[command(flatten)]
    admin: AdminArg,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let id = printable(&args.message_id);
    let question = format!("Drop {id}? It will not be sent.");
    if !args.yes && !is_confirmed(&question, &format!("{id} would be dropped"))? {
        say("nothing was dropped\n");
        return Ok(Exit::NotHeld);
    }
    let one = QueueOne {
        message_id: Some(args.message_id.clone()),
        all: false,
    };
    let json = ask(&client, "/queue/drop", &one)?;
    let dropping: Dropping = serde_json::from_str(&json).or_exit(Exit::Io)?;
    let text = match (args.json, &dropping) {
        (true, _) => json + "\n",
        (false, Dropping::Purged) => format!("{id} is dropped\n"),
        (false, Dropping::AfterAnswer) => format!(
            "{id} is being sent: it is dropped after the answer, unless that says that it was \
             delivered\n"
        ),
        (false, Dropping::NotQueued { stored }) => elsewhere(&args.message_id, stored),
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(match dropping {
        Dropping::Purged | Dropping::AfterAnswer => Exit::Ok,
        Dropping::NotQueued { .. } => Exit::Data,
    })
}
