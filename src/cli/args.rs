//! Flags of the commands that stand on the daemon: one struct per command.

use super::config_arg::ConfigArg;

/// Flags of `pinrelay run`.
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Exit codes: 0 stopped in order · 69 another daemon has the queue or a socket · 74 the disk or the \
system failed · 78 the config is wrong

Stops at SIGTERM or SIGINT, and delivers until delivery.drain_deadline; reloads at SIGHUP.

Example:
  pinrelay run --config ./pinrelay.toml --log-format human")]
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
#[command(after_help = "\
Exit codes: 0 it adds up · 1 it does not · 74 the system refuses something it needs

Example:
  pinrelay demo --keep")]
pub struct DemoArgs {
    /// Keep the demo's folder, and say where it is.
    #[arg(long)]
    pub keep: bool,
}
