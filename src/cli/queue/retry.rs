//! `pinrelay queue retry`: what backs off is tried at once.

use std::io::Write;

use super::names::{ask, elsewhere};
use crate::admin::{QueueOne, Retrying};
use crate::cli::admin_arg::AdminArg;
use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::text::{out, printable};
use crate::deliver::{Reason, WaitsFor};

/// Flags of `pinrelay queue retry`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 it is tried, or goes out without that · 1 nothing leaves: it says why · 65 the event \
does not wait: it says where it is · 69 no daemon is there, or none delivers · 78 the config is wrong

An event backs off with its batch, whose events are tried together: after a request whose outcome \
is not known it has to be the same request. What fails again backs off again. Where the gate is not \
open `pinrelay resume` opens it. For a dead letter there is `pinrelay dead retry`.

Examples:
  pinrelay queue retry order-1234
  pinrelay queue retry --all")]
pub(super) struct Args {
    /// Its messageId; `queue list` has them.
    #[arg(value_name = "MESSAGE_ID", required_unless_present = "all")]
    message_id: Option<String>,
    /// All that back off.
    #[arg(long, conflicts_with = "message_id")]
    all: bool,
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let one = QueueOne {
        message_id: args.message_id.clone(),
        all: args.all,
    };
    let json = ask(&args.admin.client()?, "/queue/retry", &one)?;
    let retrying: Retrying = serde_json::from_str(&json).or_exit(Exit::Io)?;
    let text = match args.json {
        true => json + "\n",
        false => told(args.message_id.as_deref(), &retrying),
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(match retrying {
        Retrying::Now { .. } | Retrying::NotBackingOff { .. } => Exit::Ok,
        Retrying::Closed { .. } => Exit::NotHeld,
        Retrying::StandingBy => Exit::Unavailable,
        Retrying::NotQueued { .. } => Exit::Data,
    })
}

/// `message_id`: none where all were meant.
fn told(message_id: Option<&str>, retrying: &Retrying) -> String {
    let which = message_id.map_or("what backs off".to_owned(), printable);
    match retrying {
        Retrying::Now { events: 0 } => "nothing backs off\n".to_owned(),
        Retrying::Now { events: 1 } => format!("{which} is tried at once\n"),
        Retrying::Now { events } => match message_id {
            Some(_) => format!("{which} is tried at once, with all {events} events of its batch\n"),
            None => format!("{events} events are tried at once\n"),
        },
        Retrying::Closed { reason } => format!("{which} is not tried: {}\n", closed(*reason)),
        Retrying::NotBackingOff { waits_for } => {
            format!("{which} does not back off: {}\n", instead(*waits_for))
        }
        Retrying::StandingBy => {
            "another process has the queue's turn to deliver: ask that one\n".into()
        }
        Retrying::NotQueued { stored } => elsewhere(message_id.unwrap_or_default(), stored),
    }
}

fn closed(reason: Reason) -> String {
    let name = reason.name();
    match reason {
        Reason::Paused => "delivery is paused; `pinrelay resume` ends that".to_owned(),
        Reason::RateLimited => format!(
            "Pinterest asked for a wait ({name}), which `pinrelay status` shows; `pinrelay resume` \
             ends it all the same"
        ),
        _ if reason.parks() => format!(
            "the gate is parked ({name}); `pinrelay status` says what to mend, then `pinrelay \
             resume`"
        ),
        _ => format!(
            "the gate is shut ({name}); a probe opens it when Pinterest is well, `pinrelay resume` \
             at once"
        ),
    }
}

fn instead(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Line => "it waits for its turn in the line",
        WaitsFor::Batch => "it leaves with the next batch",
        WaitsFor::Backoff => "its next try is due",
        WaitsFor::Isolation => "its batch was refused and is being split, piece by piece",
        WaitsFor::Answer => "it is being sent, and the answer is awaited",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_told_with_its_next_step() {
        let one = |retrying| told(Some("m-\u{1b}1"), &retrying);
        assert_eq!(one(Retrying::Now { events: 1 }), "m-·1 is tried at once\n");
        assert!(one(Retrying::Now { events: 7 }).ends_with("with all 7 events of its batch\n"));
        assert_eq!(
            told(None, &Retrying::Now { events: 0 }),
            "nothing backs off\n"
        );
        for reason in Reason::ALL {
            let text = one(Retrying::Closed { reason });
            assert!(text.contains("`pinrelay resume`"), "{text}");
        }
    }
}
