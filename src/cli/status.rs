//! `pinrelay status`: what the daemon says of itself.

use std::io::{self, Write};
use std::time::Duration;

use super::args::StatusArgs;
use super::daemon;
use super::exit::{Exit, OrExit, Outcome};
use crate::config::process_env;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the report; exit 69 when no daemon is there.
pub fn run(args: StatusArgs) -> Outcome {
    let socket = match args.socket {
        Some(socket) => socket,
        None => {
            args.config
                .load(process_env())
                .or_exit(Exit::Config)?
                .admin
                .socket
        }
    };
    let format = if args.json { "json" } else { "text" };
    let text = daemon::ask(&socket, &format!("/status?format={format}"), PATIENCE)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
