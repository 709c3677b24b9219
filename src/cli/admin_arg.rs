//! `--socket`: which running daemon a command asks.

use std::path::PathBuf;

use super::config_arg::ConfigArg;
use super::daemon::Client;
use super::exit::{Exit, Failure, OrExit};
use crate::config;

/// Which daemon: where its admin socket is.
#[derive(clap::Args, Debug, Clone)]
pub struct AdminArg {
    /// Which config file; it says where the admin socket is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The daemon's admin socket, instead of the config's.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl AdminArg {
    /// The daemon.
    ///
    /// # Errors
    /// With exit 69 when it is not there.
    pub fn client(&self) -> Result<Client, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let config = self.config.load(config::process_env());
                config.or_exit(Exit::Config)?.admin.socket
            }
        };
        Client::connect(&socket)
    }
}
