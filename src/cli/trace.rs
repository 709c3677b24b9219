//! `pinrelay trace`: what happened to one event.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::AdminArg;
use super::exit::{Exit, OrExit, Outcome};
use super::tail::{printable, time};
use crate::admin::Trace;
use crate::admin::report::human;
use crate::observe::Step;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `pinrelay trace`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  pinrelay trace 5f0c8a52-7a57-4b52-9d6c-5a1f0c7e9b11\n\n\
    Exit codes: 0 something is known of the event, 1 nothing is, 69 no daemon is there."
)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// The event's messageId.
    #[arg(value_name = "MESSAGE_ID")]
    message_id: String,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the event's life; exit 1 when nothing is known of it.
pub fn run(args: Args) -> Outcome {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("id", &args.message_id)
        .finish();
    let json = args
        .admin
        .client()?
        .get(&format!("/trace?{query}"), PATIENCE)?;
    let trace: Trace = serde_json::from_str(&json).or_exit(Exit::Io)?;
    let text = match args.json {
        true => json,
        false => show(&trace, &TimeZone::system(), &user_name),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(match trace.steps.is_empty() {
        true => Exit::NotHeld,
        false => Exit::Ok,
    })
}

fn user_name(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    Some(user.name)
}

fn show(trace: &Trace, zone: &TimeZone, user_name: &dyn Fn(u32) -> Option<String>) -> String {
    let mut text = format!("{}\n", printable(&trace.message_id));
    for step in &trace.steps {
        let at = time(step.at(), zone);
        let _ = writeln!(text, "  {at}  {}", told(step, user_name));
    }
    let since = human::local(trace.since, i64::MAX, zone);
    if trace.steps.is_empty() {
        let _ = writeln!(text, "  nothing is known of it since {since}");
    }
    let why = match trace.forgot {
        true => format!("it holds {}", human::bytes(trace.bound_bytes as u64)),
        false => "the daemon's start".to_owned(),
    };
    let _ = writeln!(text, "The daemon's memory reaches back to {since} ({why}).");
    text
}

fn told(step: &Step, user_name: &dyn Fn(u32) -> Option<String>) -> String {
    match step {
        Step::Arrived {
            answer, uid, pid, ..
        } => {
            let mut text = answer.clone();
            if let Some(uid) = uid {
                let name = user_name(*uid);
                let name = name.map_or_else(String::new, |name| format!("{name}, "));
                let _ = write!(text, ", from {name}uid {uid}");
            }
            if let Some(pid) = pid {
                let _ = write!(text, ", process {pid}");
            }
            text
        }
        Step::Attempted {
            took_ms,
            events,
            http_status,
            class,
            outcome,
            words,
            ..
        } => {
            let answer = match http_status {
                Some(status) => format!("HTTP {status}"),
                None => "no answer".to_owned(),
            };
            let mut text =
                format!("{outcome}: a request of {events}, {answer} after {took_ms} ms ({class})");
            if let Some(words) = words {
                let _ = write!(text, ": {}", printable(words));
            }
            text
        }
        Step::Ended { state, reason, .. } => match reason {
            Some(reason) => format!("{state}: {reason}"),
            None => state.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_and_what_is_not_known() {
        let at = 784_111_777_000;
        let mut trace = Trace {
            message_id: "m-1".into(),
            steps: vec![
                Step::Arrived {
                    at,
                    answer: "queued".into(),
                    uid: Some(33),
                    pid: Some(712),
                },
                Step::Attempted {
                    at: at + 217,
                    took_ms: 132,
                    events: 12,
                    http_status: None,
                    class: "unknown".into(),
                    outcome: "in_doubt".into(),
                    words: Some("time-out".into()),
                },
                Step::Ended {
                    at: at + 999,
                    state: "dead".into(),
                    reason: Some("expired".into()),
                },
            ],
            since: at,
            forgot: true,
            bound_bytes: 16 << 20,
        };
        let shown = |trace: &Trace| show(trace, &TimeZone::UTC, &|_| Some("www-data".into()));
        assert_eq!(
            shown(&trace),
            "m-1\n  08:49:37.000  queued, from www-data, uid 33, process 712\n  \
             08:49:37.217  in_doubt: a request of 12, no answer after 132 ms (unknown): time-out\n  \
             08:49:37.999  dead: expired\n\
             The daemon's memory reaches back to 1994-11-06 08:49:37 (it holds 16 MiB).\n"
        );
        trace.steps.clear();
        assert!(shown(&trace).contains("nothing is known of it since 1994-11-06"));
    }
}
