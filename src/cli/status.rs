//! `pinrelay status`: what the daemon says of itself.

use std::io::Write;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::screen::{Screen, Tone};
use super::text::{out, printable};
use crate::admin::{Report, Severity};

/// Flags of `pinrelay status`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 shown; with --check: healthy · 1 with --check: a warning, it ends by itself or can \
wait · 2 with --check: critical, somebody has to do something, or no daemon answers · 69 no daemon \
is there · 78 the config is wrong

Examples:
  pinrelay status
  pinrelay status --json | jq '{state, queued, dead}'
  pinrelay status --check || mail -s 'pinrelay' ops@example.com < /dev/null")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
    /// One line and an exit code, for cron and Nagios: 0 healthy, 1 warning, 2 critical.
    #[arg(long, conflicts_with = "json")]
    check: bool,
}

/// Prints the report; exit 69 when no daemon is there.
pub fn run(args: Args) -> Outcome {
    if args.check {
        return check(&args.admin);
    }
    let json = args.admin.client()?.get("/status", CONTROL)?;
    let text = if args.json {
        json
    } else {
        let report: Report = serde_json::from_str(&json).or_exit(Exit::Io)?;
        shown(&report, Screen::of_stdout())
    };
    let mut out = out(args.json);
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn shown(report: &Report, screen: Screen) -> String {
    let mut text = report.show(&TimeZone::system(), screen.size_or_usual());
    for (word, tone) in [
        (&*report.state, Tone::of_state(&report.state)),
        ("TEST MODE", Some(Tone::Warning)),
        ("NOT PINTEREST", Some(Tone::Warning)),
        ("NO: ", Some(Tone::Alarm)),
        ("LOST ", Some(Tone::Alarm)),
        ("NOT BELIEVED", Some(Tone::Warning)),
        ("OFF BY", Some(Tone::Alarm)),
        ("next:", Some(Tone::Warning)),
    ] {
        text = screen.toned(&text, word, tone);
    }
    text
}

fn check(admin: &AdminArg) -> Outcome {
    let report = admin.client().and_then(|client| {
        let json = client.get("/status", CONTROL)?;
        serde_json::from_str::<Report>(&json).or_exit(Exit::Io)
    });
    let (exit, line) = match report {
        Ok(report) => {
            let (severity, line) = report.verdict();
            let exit = match severity {
                None => Exit::Ok,
                Some(Severity::Warning) => Exit::NotHeld,
                Some(Severity::Critical) => Exit::Critical,
            };
            (exit, line)
        }
        // What is not known is not healthy.
        Err(failure) => (Exit::Critical, format!("CRITICAL: {failure}")),
    };
    writeln!(out(false), "{}", printable(&line)).or_exit(Exit::Io)?;
    Ok(exit)
}
