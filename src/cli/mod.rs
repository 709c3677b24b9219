//! The command line: one file per command, and here what they share.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod exit;
mod mock_pinterest;
mod send;

pub use exit::{Exit, Failure, OrExit, Outcome};

/// Durable delivery of Chord CDP events to Pinterest's Conversions API.
#[derive(Parser)]
#[command(name = "pinrelay", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send events to the daemon, one JSON object per line, and wait for every answer.
    Send(send::Args),
    /// Serve a stand-in for Pinterest's API, with a switch for every fault.
    MockPinterest(mock_pinterest::Args),
}

/// Where the config file is.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigArg {
    /// The configuration file.
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "PINRELAY_CONFIG",
        default_value = "/etc/pinrelay/pinrelay.toml"
    )]
    pub path: PathBuf,
}

/// Runs the command line of this process and prints what went wrong, if anything did.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // A closed stdout is no reason to end otherwise.
            let _ = said.print();
            let exit = if said.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return ExitCode::from(exit as u8);
        }
    };
    let outcome = match cli.command {
        Command::Send(args) => send::run(args),
        Command::MockPinterest(args) => mock_pinterest::run(args),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        eprintln!("pinrelay: {failure}");
        failure.exit
    });
    ExitCode::from(exit as u8)
}
