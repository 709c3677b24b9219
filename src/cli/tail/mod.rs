//! `pinrelay tail`: events as they pass. `source` has the lines, over restarts of the daemon; `show`
//! makes them readable.

mod show;
mod source;

use std::io::Write;

use clap::builder::PossibleValuesParser;
use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::exit::{Exit, OrExit, Outcome};
use super::screen::{Screen, Tone};
use super::since::moment;
use super::text::{say, streamed};
use crate::admin::Seen;
use crate::clock::{Clock, Millis};
use crate::moment::dated;
use crate::observe::Stage;
pub(super) use show::note_line;
use show::show;
use source::Source;

/// Flags of `pinrelay tail`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pinrelay tail --status delivered,dead --event \"Order Completed\"
  pinrelay tail --id order-1234 --since 15m
  pinrelay tail --limit 1 --status dead --json

Statuses: queued, revived, duplicate, ignored, rejected, unavailable, sending, delivered,
released (Pinterest took none of the request), in_doubt (it may have), set_apart, dead.

Nothing is slowed down by it: a tail that is slow misses events and says how many. When the daemon \
ends, tail says so on stderr, waits for the next one and goes on; what passed meanwhile it has not \
seen.

Of what passed before it began the daemon remembers when and what, for about a quarter of an hour \
at 1,000 events a second, and of the messageId half a hash: lines of one event have the same `#…`. \
With --id it is your event's. Names, notes and lines are not remembered, nor \
what was rejected or ignored: that is shown only as it passes.

Exit codes: 0 stdout was closed, or --limit is reached · 69 no daemon is there \
to begin with · 78 the config is wrong")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// Only events that come to one of these statuses, separated by commas.
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::name)))]
    status: Vec<String>,
    /// Only events of this name, Chord's ("Order Completed") or Pinterest's ("checkout").
    #[arg(long, value_name = "NAME", conflicts_with = "since")]
    event: Option<String>,
    /// Only the event with this messageId.
    #[arg(long, value_name = "MESSAGE_ID")]
    id: Option<String>,
    /// First what the daemon remembers since then: 15:00, 2026-01-31, both, or how long ago, like
    /// 2h.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<Millis>,
    /// End after so many lines of events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// With the original line and what is sent to Pinterest: personal data.
    #[arg(long)]
    full: bool,
    /// Say in words what of an event could not be read as it stands; otherwise `*` and how many
    /// notes there are stands behind it.
    #[arg(long)]
    notes: bool,
    /// As a line of JSON for each, for programs.
    #[arg(long)]
    json: bool,
}

/// Shows events until it is interrupted, its limit is reached or nobody reads it; exit 69 when no
/// daemon is there to begin with.
pub fn run(args: Args) -> Outcome {
    let client = args.admin.client()?;
    let mut source = Source::new(&client, query(&args, None), query(&args, args.since))?;
    let (clock, zone) = (Clock::system(), TimeZone::system());
    let screen = Screen::of_stdout();
    let mut out = streamed(args.json);
    let mut left = args.limit;
    while left != Some(0) {
        let Some(line) = source.next()? else {
            return Ok(Exit::Ok);
        };
        let seen: Seen = serde_json::from_str(&line).or_exit(Exit::Io)?;
        let shown = match (args.json, seen.remembered_since) {
            (true, _) => line,
            (false, Some(back_to)) => {
                say_what_is_known(&args, back_to, &zone);
                continue;
            }
            (false, None) => {
                let shown = show(&seen, clock.now(), &zone, args.notes);
                screen.toned(&shown, &seen.status, Tone::of_state(&seen.status))
            }
        };
        let written = writeln!(out, "{shown}").and_then(|()| out.flush());
        written.or_exit(Exit::Io)?;
        // What tells of the tail itself is no event.
        if seen.missed.is_none() && seen.remembered_since.is_none() {
            left = left.map(|left| left - 1);
        }
    }
    Ok(Exit::Ok)
}

/// As the admin socket reads it.
fn query(args: &Args, since: Option<Millis>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let statuses = (!args.status.is_empty()).then(|| args.status.join(","));
    let given = [
        ("status", statuses),
        ("event", args.event.clone()),
        ("id", args.id.clone()),
        ("since", since.map(|since| since.to_string())),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            query.append_pair(key, &value);
        }
    }
    query.append_pair("full", if args.full { "true" } else { "false" });
    query.finish()
}

fn say_what_is_known(args: &Args, back_to: Millis, zone: &TimeZone) {
    if args.since.is_some_and(|since| since < back_to) {
        let back_to = dated(back_to, zone);
        say(&format!(
            "pinrelay: what passed is remembered back to {back_to}, not before\n"
        ));
    }
    let of_ids = match args.id {
        Some(_) => "names, notes and lines are not",
        None => "of a messageId half a hash (#…); names, notes and lines are not",
    };
    say(&format!(
        "pinrelay: of what passed before this tail when and what is remembered, {of_ids}\n"
    ));
}
