//! Flags of the commands that stand on the daemon: one struct per command.

use std::path::PathBuf;

use super::ConfigArg;

/// Flags of `pinrelay run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Which config file.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Flags of `pinrelay transform`.
#[derive(clap::Args, Debug)]
pub struct TransformArgs {
    /// The events, one JSON object per line; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which config file.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Flags of `pinrelay status`.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// Which config file; it says where the admin socket is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The daemon's admin socket, instead of the config's.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    pub json: bool,
}

/// Flags of `pinrelay demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Keep the demo's folder, and say where it is.
    #[arg(long)]
    pub keep: bool,
}
