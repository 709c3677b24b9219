//! `pinrelay trace`: what happened to one event.

use std::fmt::Write as _;
use std::io::Write;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::READING;
use super::exit::{Exit, OrExit, Outcome};
use super::tail::note_line;
use super::text::{out, printable};
use crate::admin::report::human;
use crate::admin::{Stored, Trace};
use crate::clock::Clock;
use crate::clock::Millis;
use crate::moment::{dated, precise};
use crate::observe::Step;

/// Flags of `pinrelay trace`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  pinrelay trace 5f0c8a52-7a57-4b52-9d6c-5a1f0c7e9b11\n\n\
    Single steps are remembered since the daemon's start, as far back as the last line says; of an \
    event from before, only where it is now, and of one that is settled not whether it was delivered \
    or given up.\n\n\
    An attempt ends as delivered, dead, released (Pinterest took none of the request), in_doubt (it \
    may have taken it) or set_apart (it kept failing alone, and waits aside); in brackets what came of the \
    request: judged (event by event), refused, auth, limited, unexpected, unknown or not_sent.\n\n\
    Exit codes: 0 something is known of the event · 1 nothing is · 69 no daemon is there · 78 the config \
    is wrong"
)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// The event's messageId.
    #[arg(value_name = "MESSAGE_ID")]
    message_id: String,
    /// As JSON, for programs.
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
        .get(&format!("/trace?{query}"), READING)?;
    let trace: Trace = serde_json::from_str(&json).or_exit(Exit::Io)?;
    let text = match args.json {
        true => json,
        false => {
            let now = Clock::system().now();
            show(&trace, now, &TimeZone::system(), &user_name)
        }
    };
    let mut out = out(args.json);
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    let known = !trace.steps.is_empty() || trace.stored != Stored::Unknown;
    Ok(match known {
        true => Exit::Ok,
        false => Exit::NotHeld,
    })
}

fn user_name(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    Some(user.name)
}

fn show(
    trace: &Trace,
    now: Millis,
    zone: &TimeZone,
    user_name: &dyn Fn(u32) -> Option<String>,
) -> String {
    let mut text = format!("{}\n", printable(&trace.message_id));
    for step in &trace.steps {
        let at = precise(step.at(), now, zone);
        let _ = writeln!(text, "  {at}  {}", render(step, user_name));
    }
    let delivered =
        |step: &Step| matches!(step, Step::Attempted { outcome, .. } if outcome == "delivered");
    let purged = |step: &Step| matches!(step, Step::Ended { state, .. } if state == "purged");
    let now = match &trace.stored {
        // The queue alone cannot tell the two apart.
        Stored::Settled { .. } if trace.steps.iter().any(delivered) => "delivered".to_owned(),
        Stored::Settled { .. } if trace.steps.iter().any(purged) => "purged".to_owned(),
        stored => render_stored(stored, zone),
    };
    let _ = writeln!(text, "  now            {now}");
    for note in &trace.notes {
        let _ = writeln!(text, "  {}", note_line(note));
    }
    let why = match trace.forgot {
        true => format!("it holds {}", human::bytes(trace.bound_bytes as u64)),
        false => "the daemon's start".to_owned(),
    };
    let since = dated(trace.since, zone);
    let _ = writeln!(
        text,
        "Single steps are remembered back to {since} ({why}), not before."
    );
    text
}

/// What the queue knows.
pub(super) fn render_stored(stored: &Stored, zone: &TimeZone) -> String {
    match stored {
        Stored::Queued {
            accepted_at,
            from_dead_letters,
            sent_at,
            sent_as,
            in_doubt,
        } => {
            let mut text = format!("queued, accepted {}", dated(*accepted_at, zone));
            if *from_dead_letters {
                text.push_str(", from the dead letters");
            }
            if let Some(at) = sent_at {
                let name = sent_as.as_deref().unwrap_or("a name that was lost");
                let what = if *in_doubt { "in doubt" } else { "sending" };
                let at = dated(*at, zone);
                let _ = write!(text, "; {what}: left as {} at {at}", printable(name));
            }
            text
        }
        Stored::Dead {
            number,
            reason,
            accepted_at,
            died_at,
        } => format!(
            "dead: {reason}, accepted {}, died {}; see `pinrelay dead show {number}`",
            dated(*accepted_at, zone),
            dated(*died_at, zone)
        ),
        Stored::Purged { number } => format!("purged: it was dead letter {number}"),
        Stored::Settled {
            accepted_after,
            accepted_by,
        } => {
            let mut text = "delivered, or given up, or set aside as damaged".to_owned();
            if let Some(at) = accepted_after {
                let _ = write!(text, "; accepted after {}", dated(*at, zone));
            }
            if let Some(at) = accepted_by {
                let _ = write!(text, "; accepted by {}", dated(*at, zone));
            }
            text
        }
        Stored::Unknown => {
            "nothing is known of it: never accepted, or longer ago than queue.dedup_window"
                .to_owned()
        }
    }
}

pub(super) fn render(step: &Step, user_name: &dyn Fn(u32) -> Option<String>) -> String {
    match step {
        Step::Arrived {
            answer,
            uid,
            pid,
            address,
            key,
            ..
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
            if let Some(address) = address {
                let _ = write!(text, ", from {address}");
            }
            if let Some(key) = key {
                let _ = write!(text, ", write key {key}");
            }
            text
        }
        Step::Attempted {
            took_ms,
            events,
            http_status,
            class,
            outcome,
            message,
            ..
        } => {
            let answer = match http_status {
                Some(status) => format!("HTTP {status}"),
                None => "no answer".to_owned(),
            };
            let mut text =
                format!("{outcome}: a request of {events}, {answer} after {took_ms} ms ({class})");
            if let Some(message) = message {
                let _ = write!(text, ": {}", printable(message));
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
    use crate::observe::Told;

    #[test]
    fn a_life_and_what_is_not_known() {
        let at = 784_111_777_000;
        let mut trace = Trace {
            notes: vec![Told {
                field: "currency".into(),
                path: "properties.currency".into(),
                word: "unreadable".into(),
                reason: "is no code of three letters".into(),
            }],
            message_id: "m-1".into(),
            steps: vec![
                Step::Arrived {
                    at,
                    answer: "queued".into(),
                    uid: Some(33),
                    pid: Some(712),
                    address: None,
                    key: Some("shop".into()),
                },
                Step::Attempted {
                    at: at + 217,
                    took_ms: 132,
                    events: 12,
                    http_status: None,
                    class: "unknown".into(),
                    outcome: "in_doubt".into(),
                    message: Some("time-out".into()),
                },
                Step::Ended {
                    at: at + 999,
                    state: "dead".into(),
                    reason: Some("expired".into()),
                },
            ],
            stored: Stored::Dead {
                number: 9,
                reason: "expired".into(),
                accepted_at: at,
                died_at: at + 999,
            },
            since: at,
            forgot: true,
            bound_bytes: 16 << 20,
        };
        let later =
            |trace: &Trace, now| show(trace, now, &TimeZone::UTC, &|_| Some("www-data".into()));
        let shown = |trace: &Trace| later(trace, at);
        let next_day = later(&trace, at + 86_400_000);
        assert!(
            next_day.contains("\n  1994-11-06 08:49:37.217Z  in_doubt"),
            "{next_day}"
        );
        assert_eq!(
            shown(&trace),
            "m-1\n  08:49:37.000Z  queued, from www-data, uid 33, process 712, write key shop\n  \
             08:49:37.217Z  in_doubt: a request of 12, no answer after 132 ms (unknown): time-out\n  \
             08:49:37.999Z  dead: expired\n  now            dead: expired, accepted 1994-11-06 \
             08:49:37Z, died 1994-11-06 08:49:37Z; see `pinrelay dead show 9`\n  note, currency \
             unreadable: properties.currency is no code of three letters\n\
             Single steps are remembered back to 1994-11-06 08:49:37Z (it holds 16 MiB), not \
             before.\n"
        );
        trace.steps.clear();
        trace.stored = Stored::Unknown;
        assert!(shown(&trace).contains("nothing is known of it: never accepted"));
        trace.stored = Stored::Queued {
            accepted_at: at,
            from_dead_letters: false,
            sent_at: Some(at),
            sent_as: Some("checkout".into()),
            in_doubt: true,
        };
        let told = "queued, accepted 1994-11-06 08:49:37Z; in doubt: left as checkout at";
        assert!(shown(&trace).contains(told), "{}", shown(&trace));
    }
}
