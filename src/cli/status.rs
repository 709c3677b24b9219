//! `pinrelay status`: what the daemon says of itself.

use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;
use crate::admin::Report;

/// Flags of `pinrelay status`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 · 69 no daemon is there · 78 the config is wrong

Examples:
  pinrelay status
  pinrelay status --json | jq '{state, queued, dead}'")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the report; exit 69 when no daemon is there.
pub fn run(args: Args) -> Outcome {
    let json = args.admin.client()?.get("/status", CONTROL)?;
    let text = if args.json {
        json
    } else {
        let report: Report = serde_json::from_str(&json).or_exit(Exit::Io)?;
        report.show(&TimeZone::system())
    };
    let mut out = out(args.json);
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
