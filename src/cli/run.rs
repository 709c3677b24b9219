//! `pinrelay run`: the daemon.

use anyhow::anyhow;

use super::args::RunArgs;
use super::exit::{Exit, Failure, Outcome};
use crate::config::process_env;
use crate::daemon::{self, DaemonError};

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: &RunArgs) -> Outcome {
    match daemon::run(|| args.config.load(process_env())) {
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
