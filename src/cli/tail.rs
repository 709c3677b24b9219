//! `pinrelay tail`: events as they pass.

use std::fmt::Write as _;
use std::future::pending;
use std::io::Write;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::Next;
use super::exit::{Exit, OrExit, Outcome};
use super::screen::{Screen, Tone};
use super::text::{json, printable, say, streamed};
use crate::admin::Seen;
use crate::clock::{Clock, Millis};
use crate::moment::precise;
use crate::observe::Told;

/// Flags of `pinrelay tail`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  pinrelay tail --status delivered,dead --event \"Order Completed\"\n\n\
    Statuses: queued, revived, duplicate, ignored, rejected, unavailable, sending, delivered,\n\
    released (Pinterest took none of the request), in_doubt (it may have), set_apart, dead.\n\n\
    Nothing is slowed down by it: a tail that is slow misses events and says how many."
)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// Only events that come to one of these statuses, separated by commas.
    #[arg(long, value_name = "STATUS,…")]
    status: Option<String>,
    /// Only events of this name, Chord's ("Order Completed") or Pinterest's ("checkout").
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// With the original line and what is sent to Pinterest: personal data.
    #[arg(long)]
    full: bool,
    /// Say in words what of an event could not be read as it stands; otherwise `*` and how many
    /// notes there are stands behind it.
    #[arg(long)]
    notes: bool,
    /// One JSON object a line, for programs.
    #[arg(long)]
    json: bool,
}

/// Shows events until it is interrupted or the daemon ends; exit 69 when no daemon is there.
pub fn run(args: Args) -> Outcome {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(status) = &args.status {
        query.append_pair("status", status);
    }
    if let Some(event) = &args.event {
        query.append_pair("event", event);
    }
    query.append_pair("full", if args.full { "true" } else { "false" });
    let client = args.admin.client()?;
    let mut lines = client.lines(&format!("/tail?{}", query.finish()))?;
    let (clock, zone) = (Clock::system(), TimeZone::system());
    let screen = Screen::of_stdout();
    let mut out = streamed(args.json);
    loop {
        let Next::Line(line) = lines.next(pending::<()>())? else {
            say("pinrelay: the daemon has ended\n");
            return Ok(Exit::Unavailable);
        };
        let shown = match args.json {
            true => line,
            false => {
                let seen: Seen = serde_json::from_str(&line).or_exit(Exit::Io)?;
                let shown = show(&seen, clock.now(), &zone, args.notes);
                screen.toned(&shown, &seen.status, Tone::of_state(&seen.status))
            }
        };
        let written = writeln!(out, "{shown}").and_then(|()| out.flush());
        written.or_exit(Exit::Io)?;
    }
}

/// One line, and in full two more.
fn show(seen: &Seen, now: Millis, zone: &TimeZone, in_words: bool) -> String {
    if let Some(missed) = seen.missed {
        return format!("… {missed} events passed unseen: this tail was slow");
    }
    let mut line = format!("{} {:<11}", precise(seen.at, now, zone), seen.status);
    // A line that is no event has neither.
    if !seen.event.is_empty() {
        let _ = write!(line, " {}", printable(&seen.event));
    }
    if let Some(name) = &seen.event_name {
        let _ = write!(line, " → {}", printable(name));
    }
    if !seen.message_id.is_empty() {
        let _ = write!(line, "  {}", printable(&seen.message_id));
    }
    let why = [&seen.reason, &seen.message].into_iter().flatten();
    let why: Vec<_> = why.map(|words| printable(words)).collect();
    if !why.is_empty() {
        let _ = write!(line, "  {}", why.join(": "));
    }
    match (seen.notes.len(), in_words) {
        (0, _) => {}
        (count, false) => {
            let _ = write!(line, "  *{count}");
        }
        (_, true) => {
            for note in &seen.notes {
                let _ = write!(line, "\n    {}", note_line(note));
            }
        }
    }
    for (name, value) in [("line", &seen.line), ("payload", &seen.payload)] {
        if let Some(value) = value {
            let _ = write!(line, "\n    {name:<8}{}", json(&value.to_string()));
        }
    }
    line
}

/// One note for people.
pub(super) fn note_line(note: &Told) -> String {
    let path = match note.path.as_str() {
        "" => "the line",
        path => path,
    };
    let (field, word) = (printable(&note.field), printable(&note.word));
    format!(
        "note, {field} {word}: {} {}",
        printable(path),
        printable(&note.reason)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_which_and_why() {
        let seen = Seen {
            at: 784_111_777_042,
            status: "dead".into(),
            message_id: "m-1\u{1b}[2J".into(),
            event: "Order Completed".into(),
            event_name: Some("checkout".into()),
            reason: Some("refused".into()),
            message: Some("no user_data".into()),
            ..Seen::default()
        };
        assert_eq!(
            show(&seen, seen.at, &TimeZone::UTC, false),
            "08:49:37.042Z dead        Order Completed → checkout  m-1·[2J  refused: no user_data"
        );
        let missed = Seen {
            missed: Some(7),
            ..Seen::default()
        };
        assert!(show(&missed, 0, &TimeZone::UTC, false).contains("7 events passed unseen"));
    }
}
