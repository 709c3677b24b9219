//! `pinrelay resume`: ends a pause, and opens a gate that is shut or parked.

use std::io::Write;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;
use crate::admin::{Resume, Resumed};

/// Flags of `pinrelay resume`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
With --isolate refused events become dead letters one by one, however many they are, until one \
is taken: for a queue that holds events which Pinterest refuses and others which it takes.

Exit codes: 0 resumed · 69 no daemon is there · 74 the pause cannot be ended

Examples:
  pinrelay resume
  pinrelay resume --isolate && pinrelay status")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// Judge refused events alone instead of holding all of them back.
    #[arg(long)]
    isolate: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints what was ended.
pub fn run(args: Args) -> Outcome {
    let asked = Resume {
        isolate: args.isolate,
    };
    let body = serde_json::to_string(&asked).or_exit(Exit::Io)?;
    let text = args.admin.client()?.post("/resume", body, CONTROL)?;
    let mut out = out(args.json);
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let resumed: Resumed = serde_json::from_str(&text).or_exit(Exit::Io)?;
    writeln!(out, "delivery goes on; the gate was {}", resumed.was).or_exit(Exit::Io)?;
    if resumed.isolate {
        let how = "refused events become dead letters one by one until one is taken";
        writeln!(out, "{how}").or_exit(Exit::Io)?;
    }
    Ok(Exit::Ok)
}
