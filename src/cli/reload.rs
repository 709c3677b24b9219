//! `pinrelay reload`: has the running daemon read config and token again.

use std::io::Write;

use anyhow::anyhow;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::text::out;
use crate::admin::Reloaded;

/// Flags of `pinrelay reload`.
#[derive(clap::Args)]
#[command(after_help = "\
A config or a token that is wrong changes nothing. The daemon is asked on the admin socket that \
the config names; after a change of [admin] socket it still listens on the old one, which \
--socket names.

Exit codes: 0 reloaded · 69 no daemon is there · 78 refused, the old config stays

Example:
  pinrelay check && pinrelay reload")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints what changed; exit 78 if the new config is refused, and then the old one stays.
pub fn run(args: Args) -> Outcome {
    let named = args.admin.socket.is_some();
    let client = args.admin.client().map_err(|failure| match failure.exit {
        Exit::Unavailable if !named => Failure {
            exit: failure.exit,
            error: anyhow!(
                "{failure} If [admin] socket was changed, the daemon still listens on the old \
                 one: `systemctl restart pinrelay`, or name the old one with --socket"
            ),
        },
        _ => failure,
    })?;
    let text = client.post("/reload", "", CONTROL)?;
    let mut out = out(args.json);
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let reloaded: Reloaded = serde_json::from_str(&text).or_exit(Exit::Io)?;
    for change in &reloaded.changed {
        writeln!(out, "changed  {change}").or_exit(Exit::Io)?;
    }
    for change in &reloaded.needs_restart {
        writeln!(out, "restart  {change} (takes effect at the next start)").or_exit(Exit::Io)?;
    }
    let token = match reloaded.token_changed {
        true => "another one",
        false => "the same",
    };
    writeln!(
        out,
        "config and token were read again; the token is {token}"
    )
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
