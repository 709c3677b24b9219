//! Flags of the commands that stand on the daemon: one struct per command.

use super::ConfigArg;

/// Flags of `pinrelay run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Which config file.
    #[command(flatten)]
    pub config: ConfigArg,
    /// How the log looks, instead of the config's.
    #[arg(long, value_name = "FORMAT", value_parser = ["human", "journald", "json"])]
    pub log_format: Option<String>,
}

/// Flags of `pinrelay demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Keep the demo's folder, and say where it is.
    #[arg(long)]
    pub keep: bool,
}
