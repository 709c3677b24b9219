//! `pinrelay losses`: what was lost to damage, until the operator has taken note of it.

use std::io::Write;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;
use crate::clock::Clock;
use crate::moment;
use crate::queue::Loss;

/// Flags of `pinrelay losses`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Shown are events, dead letters and messageIds that damage, or somebody at the queue's folder, has \
taken away. They are shown here and by `pinrelay status` until they are acknowledged; the counters \
of the ledger keep them.

Exit codes: 0 shown, or acknowledged · 69 no daemon is there · 74 storage has failed

Examples:
  pinrelay losses
  pinrelay losses --acknowledge")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// Take note of all of them: they are not shown any more.
    #[arg(long)]
    acknowledge: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the losses, one a line.
pub fn run(args: Args) -> Outcome {
    let client = args.admin.client()?;
    let text = match args.acknowledge {
        true => client.post("/losses/acknowledge", "", CONTROL)?,
        false => client.get("/losses", CONTROL)?,
    };
    let mut out = out(args.json);
    if args.json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let losses: Vec<Loss> = serde_json::from_str(&text).or_exit(Exit::Io)?;
    if losses.is_empty() {
        writeln!(out, "nothing was lost that is not acknowledged").or_exit(Exit::Io)?;
    }
    let (now, zone) = (Clock::system().now(), TimeZone::system());
    for loss in &losses {
        let at = moment::local(loss.at, now, &zone);
        let until = loss.until.map_or(String::new(), |until| {
            format!(" until {}", moment::local(until, now, &zone))
        });
        let words = super::text::printable(&loss.message());
        writeln!(out, "{at}  {words}{until}").or_exit(Exit::Io)?;
    }
    if args.acknowledge && !losses.is_empty() {
        writeln!(out, "acknowledged: they are not shown any more").or_exit(Exit::Io)?;
    }
    Ok(Exit::Ok)
}
