//! `pinrelay status`: what the daemon says of itself.

use std::io::{self, Write};
use std::time::Duration;

use super::AdminArg;
use super::exit::{Exit, OrExit, Outcome};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `pinrelay status`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the report; exit 69 when no daemon is there.
pub fn run(args: Args) -> Outcome {
    let format = if args.json { "json" } else { "text" };
    let path = format!("/status?format={format}");
    let text = args.admin.client()?.get(&path, PATIENCE)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
