//! `pinrelay queue list`: which events wait, and for what.

use std::fmt::Write as _;
use std::io::Write;

use jiff::tz::TimeZone;

use crate::admin::report::human::{count, duration};
use crate::admin::{QueueList, Report, WaitingEvent};
use crate::cli::admin_arg::AdminArg;
use crate::cli::daemon::{CONTROL, READING};
use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::screen::{Screen, Tone, padded};
use crate::cli::text::{out, printable};
use crate::cli::trace::render;
use crate::clock::Millis;
use crate::deliver::WaitsFor;
use crate::moment::local;

/// Columns of what it waits for, and of an event's name.
const WAITS: usize = 17;
const NAME: usize = 20;

/// Flags of `pinrelay queue list`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when none wait · 69 no daemon is there · 78 the config is wrong

Oldest first. What an event waits for:
  line       its turn, or it is on its way into a batch
  batch      the next batch
  backoff    the next try of its batch, which failed, and when
  isolation  its batch was refused, and is being split
  answer     the answer to its request
  unknown    another process delivers, or none does
Before a gate that is not open nothing leaves, whatever it waits for: then the first line says so.

Tries are those that the daemon remembers; `3+` may be more. Shows no personal data: names, \
messageIds, and what Pinterest said without values. `pinrelay trace MESSAGE_ID` has each try.

Examples:
  pinrelay queue list
  pinrelay queue list --limit 100 --json | jq -r '.events[] | select(.tries > 3).messageId'")]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// So many at most, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let json = client.get(&format!("/queue/list?limit={}", args.limit), READING)?;
    let text = match args.json {
        true => json + "\n",
        false => {
            let list: QueueList = serde_json::from_str(&json).or_exit(Exit::Io)?;
            let report = client.get("/status", CONTROL)?;
            let report: Report = serde_json::from_str(&report).or_exit(Exit::Io)?;
            let zone = TimeZone::system();
            let mut text = String::new();
            if report.gate.state != "open" {
                let gate = format!("the gate is {}", printable(&report.gate_line(&zone)));
                let tone = Tone::of_state(&report.gate.state);
                let gate = Screen::of_stdout().toned(&gate, &report.gate.state, tone);
                let _ = writeln!(text, "{gate}");
            }
            text + &table(&list, &zone)
        }
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn table(list: &QueueList, zone: &TimeZone) -> String {
    if list.events.is_empty() {
        return "no events wait\n".to_owned();
    }
    let mut text = format!(
        "{:>12}  {:>5}  {:WAITS$}  {:NAME$}  messageId\n",
        "age", "tries", "waits for", "event"
    );
    for event in &list.events {
        text.push_str(&rows(event, list.now, zone));
    }
    let more = list.total.saturating_sub(list.events.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "{} more", count(more));
    }
    text
}

/// One line, and a second where there is more to be told. The messageId stands in full: it is what
/// the other verbs are given.
fn rows(event: &WaitingEvent, now: Millis, zone: &TimeZone) -> String {
    let at_least = if event.tries_at_least { "+" } else { "" };
    let mut text = format!(
        "{:>12}  {:>5}  {:WAITS$}  {}  {}\n",
        duration((now - event.accepted_at).max(0)),
        format!("{}{at_least}", event.tries),
        waits(event, now, zone),
        padded(&printable(&event.event), NAME),
        printable(&event.message_id)
    );
    let mut more = Vec::new();
    if event.from_dead_letters {
        more.push("from the dead letters".to_owned());
    }
    if event.in_doubt {
        more.push("in doubt: Pinterest may have it".to_owned());
    }
    if let Some(step) = &event.last_failure {
        let at = local(step.at(), now, zone);
        more.push(format!("last try {at}: {}", render(step, &|_| None)));
    } else if event.tries > 0 {
        more.push("why the last try failed is not remembered".to_owned());
    }
    if !more.is_empty() {
        let _ = writeln!(text, "{:>12}  {}", "", more.join("; "));
    }
    text
}

fn waits(event: &WaitingEvent, now: Millis, zone: &TimeZone) -> String {
    match (event.waits_for, event.next_try_at) {
        (None, _) => "unknown".to_owned(),
        (Some(WaitsFor::Backoff), Some(at)) if at <= now => "backoff, due".to_owned(),
        (Some(WaitsFor::Backoff), Some(at)) => format!("backoff, {}", local(at, now, zone)),
        (Some(waits_for), _) => waits_for.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Step;

    const NOW: Millis = 784_111_777_000;

    fn event(id: &str) -> WaitingEvent {
        WaitingEvent {
            message_id: id.into(),
            event: "Order Completed".into(),
            accepted_at: NOW - 7_260_000,
            waits_for: Some(WaitsFor::Line),
            ..WaitingEvent::default()
        }
    }

    #[test]
    fn a_row_says_what_is_known_and_what_is_not() {
        let list = shown("Service \u{1b}[2J", "order-\u{1b}2");
        let text = table(&list, &TimeZone::UTC);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "         age  tries  waits for          event                 messageId",
                "   2 h 1 min     3+  backoff, 08:50:38Z  Order Completed       order-1",
                "              in doubt: Pinterest may have it; last try 08:49:36Z: in_doubt: a \
                 request of 5, HTTP 503 after 12 ms (unknown): Service ·[2J",
                "   2 h 1 min     1+  unknown            Order Completed       order-·2",
                "              from the dead letters; why the last try failed is not remembered",
                "   2 h 1 min      0  line               Order Completed       order-3",
                "1,200 more",
            ]
        );
        assert_eq!(
            table(&QueueList::default(), &TimeZone::UTC),
            "no events wait\n"
        );
    }

    #[test]
    fn the_page_for_operators_shows_this_table() {
        let page = include_str!("../../../docs/operations.md");
        let block = page.split("```text\n$ pinrelay queue list\n").nth(1);
        let block = block.and_then(|rest| rest.split("```").next());
        let table = table(&shown("Service Unavailable", "order-2"), &TimeZone::UTC);
        assert_eq!(block, Some(&*table));
    }

    /// Some of each kind.
    fn shown(message: &str, second: &str) -> QueueList {
        QueueList {
            events: vec![
                WaitingEvent {
                    in_doubt: true,
                    tries: 3,
                    tries_at_least: true,
                    waits_for: Some(WaitsFor::Backoff),
                    next_try_at: Some(NOW + 61_000),
                    last_failure: Some(Step::Attempted {
                        at: NOW - 1000,
                        took_ms: 12,
                        events: 5,
                        http_status: Some(503),
                        class: "unknown".into(),
                        outcome: "in_doubt".into(),
                        message: Some(message.into()),
                    }),
                    ..event("order-1")
                },
                WaitingEvent {
                    from_dead_letters: true,
                    tries: 1,
                    tries_at_least: true,
                    waits_for: None,
                    ..event(second)
                },
                event("order-3"),
            ],
            total: 1203,
            tries_since: NOW,
            now: NOW,
        }
    }
}
