//! `--socket`: which running daemon a command asks.

use std::path::PathBuf;

use super::config_arg::ConfigArg;
use super::daemon::Client;
use super::exit::Failure;

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
            None => self.config.admin_socket()?,
        };
        Client::connect(&socket)
    }
}
