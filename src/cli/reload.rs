//! `pinrelay reload`: has the running daemon read config and token again.

use std::io::{self, Write};
use std::time::Duration;

use super::AdminArg;
use super::exit::{Exit, OrExit, Outcome};
use crate::admin::Reloaded;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `pinrelay reload`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints what changed; exit 78 if the new config is refused, and then the old one stays.
pub fn run(args: Args) -> Outcome {
    let text = args.admin.client()?.post("/reload", "", PATIENCE)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let reloaded: Reloaded = serde_json::from_str(&text).or_exit(Exit::Io)?;
    let token = if reloaded.token_changed {
        "another one"
    } else {
        "the same"
    };
    writeln!(
        out,
        "config and token were read again; the token is {token}"
    )
    .or_exit(Exit::Io)?;
    for key in &reloaded.needs_restart {
        writeln!(out, "{key} changed and needs a restart").or_exit(Exit::Io)?;
    }
    Ok(Exit::Ok)
}
