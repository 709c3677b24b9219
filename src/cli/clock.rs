//! `pinrelay clock`: whether the daemon believes this machine's clock, and how the operator vouches
//! for it.

use std::io::Write;

use clap::Subcommand;
use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;
use crate::admin::report::human::duration;
use crate::clock::Standing;
use crate::moment::dated;

/// Flags of `pinrelay clock`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show whether the clock is believed, and what is waited for if not.
    Show(ShowArgs),
    /// Vouch for the clock: what is due by it expires, is purged and is forgotten.
    Trust(TrustArgs),
}

/// Flags of `pinrelay clock show`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 shown · 69 no daemon is there

Examples:
  pinrelay clock
  pinrelay clock show --json")]
struct ShowArgs {
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Flags of `pinrelay clock trust`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Look at the machine's time first: what is deleted by a wrong clock does not come back. It holds \
until the clock leaps or a Date of Pinterest's disagrees.

Exit codes: 0 the clock is believed · 69 no daemon is there

Example:
  date && pinrelay clock trust")]
struct TrustArgs {
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints how the clock stands, after the operator's word if that was given.
pub fn run(args: Args) -> Outcome {
    let (text, json) = match args.verb {
        Some(Verb::Trust(args)) => {
            let client = args.admin.client()?;
            (client.post("/clock/trust", "", CONTROL)?, args.json)
        }
        Some(Verb::Show(args)) => (args.admin.client()?.get("/clock", CONTROL)?, args.json),
        None => {
            let args = args.show;
            (args.admin.client()?.get("/clock", CONTROL)?, args.json)
        }
    };
    let mut out = out(json);
    if json {
        writeln!(out, "{text}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    let standing: Standing = serde_json::from_str(&text).or_exit(Exit::Io)?;
    write!(out, "{}", shown(&standing, &TimeZone::system())).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn shown(standing: &Standing, zone: &TimeZone) -> String {
    let says = dated(standing.now, zone);
    let Some(doubt) = standing.doubt else {
        return format!("the clock is believed; it says {says}\n");
    };
    let lasted = duration(standing.for_seconds.unwrap_or(0).saturating_mul(1000));
    let mut text = format!(
        "the clock is not believed for {lasted}: {}; it says {says}",
        doubt.message()
    );
    if let Some(expected) = standing.expected {
        text.push_str(&format!(" and should say about {}", dated(expected, zone)));
    }
    text.push_str("\nnothing expires, is purged or is forgotten by it meanwhile\n");
    if let Some(waiting_for) = &standing.waiting_for {
        text.push_str(&format!("waiting for {waiting_for}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Doubt;

    #[test]
    fn people_read_why_and_what_is_waited_for() {
        let believed = Standing {
            believed: true,
            now: 784_111_777_000,
            ..Standing::default()
        };
        let text = "the clock is believed; it says 1994-11-06 08:49:37Z\n";
        assert_eq!(shown(&believed, &TimeZone::UTC), text);
        let doubted = Standing {
            believed: false,
            doubt: Some(Doubt::Leapt),
            waiting_for: Some("rain".into()),
            for_seconds: Some(180),
            expected: Some(784_111_777_000 - 86_400_000),
            ..believed
        };
        let text = "the clock is not believed for 3 min: it leapt; it says 1994-11-06 08:49:37Z \
                    and should say about 1994-11-05 08:49:37Z\nnothing expires, is purged or is \
                    forgotten by it meanwhile\nwaiting for rain\n";
        assert_eq!(shown(&doubted, &TimeZone::UTC), text);
    }
}
