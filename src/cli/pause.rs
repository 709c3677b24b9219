//! `pinrelay pause`: delivery waits, acceptance goes on.

use std::io::Write;
use std::time::Duration;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;
use crate::admin::{PauseFor, Paused};
use crate::config::parse_duration;
use crate::moment::dated;

/// Flags of `pinrelay pause`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Events are accepted and stored meanwhile. Answers to requests that have left are still taken, \
and what grows older than delivery.max_age still expires. The pause survives restarts. Said \
again it takes the new end and reason.

Exit codes: 0 paused · 69 no daemon is there · 74 paused, but a restart would end it

Examples:
  pinrelay pause --for 2h --reason \"the catalogue moves\"
  pinrelay pause")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// Ends it by itself after this time, like 90s, 30m, 2h or 1d; otherwise `resume` does.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// Shown in status and log; one line.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

fn length(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(length) if length.is_zero() => Err("a time above 0".into()),
        parsed => parsed,
    }
}

/// Prints until when; nothing new leaves any more when this returns.
pub fn run(args: Args) -> Outcome {
    let asked = PauseFor {
        milliseconds: (args.length)
            .map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
        reason: args.reason,
    };
    let body = serde_json::to_string(&asked).or_exit(Exit::Io)?;
    let text = args.admin.client()?.post("/pause", body, CONTROL)?;
    let mut out = out(args.json);
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let paused: Paused = serde_json::from_str(&text).or_exit(Exit::Io)?;
    let until = match paused.until {
        Some(at) => format!("until {}", dated(at, &jiff::tz::TimeZone::system())),
        None => "until `pinrelay resume`".to_owned(),
    };
    writeln!(out, "delivery is paused {until}; events are still accepted").or_exit(Exit::Io)?;
    if paused.in_flight > 0 {
        writeln!(
            out,
            "{} requests had left before; their answers are still taken",
            paused.in_flight
        )
        .or_exit(Exit::Io)?;
    }
    Ok(Exit::Ok)
}
