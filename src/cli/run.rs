//! `pinrelay run`: the daemon.

use anyhow::anyhow;

use super::args::RunArgs;
use super::exit::{Exit, Failure, Outcome};
use crate::config::process_env;
use crate::daemon::{self, DaemonError};

/// The variable of the key that the flag stands before.
const LOG_FORMAT: &str = "PINRELAY_LOG__FORMAT";

/// The process' environment, and the flag as the variable of its key.
fn environment(args: &RunArgs) -> impl Iterator<Item = (String, String)> {
    let flag = args.log_format.clone();
    let given = flag.is_some();
    process_env()
        .filter(move |(name, _)| !(given && name == LOG_FORMAT))
        .chain(flag.map(|format| (LOG_FORMAT.to_owned(), format)))
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: &RunArgs) -> Outcome {
    match daemon::run(|| args.config.load(environment(args))) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(Failure {
            exit: match error {
                DaemonError::Config(_) => Exit::Config,
                DaemonError::InUse(_) => Exit::Unavailable,
                DaemonError::Io(_) => Exit::Io,
            },
            error: anyhow!(error),
        }),
    }
}
