//! Flags of the commands that stand on the daemon: one struct per command.

use super::ConfigArg;

/// Flags of `pinrelay run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Which config file.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Flags of `pinrelay demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Keep the demo's folder, and say where it is.
    #[arg(long)]
    pub keep: bool,
}
