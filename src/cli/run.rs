//! `pinrelay run`: the daemon.

use std::sync::Arc;

use anyhow::anyhow;

use super::args::RunArgs;
use super::exit::{Exit, Failure, Outcome};
use super::{offline, text};
use crate::config::{Engine, process_env};
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
    // A config that cannot be read is told below.
    if let Ok(config) = args.config.load(environment(args))
        && config.queue.engine == Engine::Sled
        && let Some(owner) = offline::become_owner_of(&config.queue_folder())?
    {
        text::say(&format!(
            "pinrelay: started by root, going on as {owner}, to whom the folder of {} belongs\n",
            config.queue_folder().display()
        ));
    }
    let own = args.clone();
    let load = Arc::new(move || own.config.load(environment(&own)));
    match daemon::run(load) {
        Ok(()) => Ok(Exit::Ok),
        Err(stopped @ DaemonError::Stopped(_)) => {
            tracing::info!("{stopped}");
            Ok(Exit::Ok)
        }
        Err(error) => Err(Failure {
            exit: match error {
                DaemonError::Config(_) => Exit::Config,
                DaemonError::InUse(_) => Exit::Unavailable,
                DaemonError::Io(_) => Exit::Io,
                DaemonError::Stopped(_) => Exit::Ok,
            },
            error: anyhow!(error),
        }),
    }
}
