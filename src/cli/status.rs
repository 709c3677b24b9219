//! `pinrelay status`: what the daemon says of itself.

use std::io::{self, Write};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::exit::{Exit, OrExit, Outcome};
use crate::admin::Report;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let json = args.admin.client()?.get("/status", PATIENCE)?;
    let text = if args.json {
        json
    } else {
        let report: Report = serde_json::from_str(&json).or_exit(Exit::Io)?;
        report.show(&TimeZone::system())
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
