//! `pinrelay quality`: how well what is delivered can be matched, and what would mend it.

use std::fmt::Write as _;
use std::io::Write;

use jiff::tz::TimeZone;

use super::admin_arg::AdminArg;
use super::daemon::CONTROL;
use super::exit::{Exit, OrExit, Outcome};
use super::screen::{Screen, padded};
use super::text::{out, printable};
use crate::admin::report::human::count;
use crate::admin::{NameQuality, QualityReport};
use crate::coverage::FIELDS;
use crate::moment;

/// Columns of a table's first, and of each name beside it.
const FIRST: usize = 24;
const EACH: usize = 13;

/// Flags of `pinrelay quality`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Shown is the share of delivered events, by their name at Pinterest, that have each part which \
Pinterest matches and counts by; then what would mend what is missing, the most events first, with \
the line of the config where one does. docs/quality.md leads through it.

Hours are kept for two days, over restarts; the last minute before a kill is not. What is advised \
comes from a close look at some of the events of the last hours, and begins anew with a reload.

Exit codes: 0 shown · 64 no event of that name was delivered · 69 no daemon is there

Examples:
  pinrelay quality
  pinrelay quality --window 1h --event checkout
  pinrelay quality --json | jq '.advice[].line'")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
    /// What is looked back at: 1h, 24h, or start (of the daemon).
    #[arg(long, value_name = "WINDOW", default_value = "24h", value_parser = ["1h", "24h", "start"])]
    window: String,
    /// Only events of this name at Pinterest, like checkout.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints it; exit 69 when no daemon is there.
pub fn run(args: &Args) -> Outcome {
    let client = args.admin.client()?;
    let text = client.get(&format!("/quality?window={}", args.window), CONTROL)?;
    let mut report: QualityReport = serde_json::from_str(&text).or_exit(Exit::Io)?;
    if let Some(event) = &args.event {
        let is_it = |name: &str| name == event;
        report.names.retain(|name| is_it(&name.event_name));
        report.looked_at.retain(|name, _| is_it(name));
        report
            .advice
            .retain(|of| of.event_name.as_deref().is_none_or(is_it));
        if report.names.is_empty() {
            let said = format!("no event of the name {event:?} was delivered within this window");
            return Err(anyhow::anyhow!(said)).or_exit(Exit::Usage);
        }
    }
    let text = match args.json {
        true => serde_json::to_string(&report).or_exit(Exit::Io)?,
        false => {
            let screen = Screen::of_stdout();
            shown(&report, &TimeZone::system(), screen)
        }
    };
    writeln!(out(args.json), "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn shown(report: &QualityReport, zone: &TimeZone, screen: Screen) -> String {
    let since = moment::local(report.since, report.now, zone);
    if report.names.is_empty() {
        return format!("nothing was delivered since {since}");
    }
    let mut text = format!("delivered since {since}, in per cent\n");
    let (columns, _) = screen.size_or_usual();
    let beside = (columns.saturating_sub(FIRST) / EACH).clamp(1, 8);
    for names in report.names.chunks(beside) {
        text.push('\n');
        table(&mut text, names);
    }
    if !report.advice.is_empty() {
        text.push_str("\nadvice\n");
    }
    for advice in &report.advice {
        let said = format!("  - {}", printable(&advice.text));
        let _ = writeln!(text, "{}", screen.wrapped(&said, 4));
        if let Some(line) = &advice.line {
            for line in line.lines() {
                let _ = writeln!(text, "      {}", printable(line));
            }
        }
    }
    let looked: u64 = report.looked_at.values().sum();
    let _ = writeln!(text, "\nlooked at for advice: {} events", count(looked));
    let warnings: u64 = report.warnings.values().sum();
    if warnings > 0 {
        let _ = writeln!(
            text,
            "warnings of Pinterest since the start: {}",
            count(warnings)
        );
        for (kind, times) in &report.warnings {
            let said = format!("  - {}: {}", count(*times), printable(kind));
            let _ = writeln!(text, "{}", screen.wrapped(&said, 4));
        }
    }
    text
}

fn table(text: &mut String, names: &[NameQuality]) {
    let mut row = |first: &str, cell: &dyn Fn(&NameQuality) -> String| {
        let _ = write!(text, "{}", padded(first, FIRST));
        for name in names {
            let cell = cell(name);
            let fill = EACH.saturating_sub(super::screen::width(&cell));
            let _ = write!(text, "{:fill$}{cell}", "");
        }
        text.push('\n');
    };
    let head = |name: &NameQuality| {
        let name = printable(&name.event_name);
        let mut cut: String = name.chars().take(EACH - 1).collect();
        if cut != name {
            cut = name.chars().take(EACH - 2).collect::<String>() + "…";
        }
        cut
    };
    row("", &head);
    row("events", &|name| count(name.events));
    row("score: mean of the 11", &|name| {
        format!("{:.1}", name.score)
    });
    for (field, component) in FIELDS {
        // What none of them has and nobody scores is no row.
        if component.is_none() && names.iter().all(|name| name.with(field) == 0) {
            continue;
        }
        row(component.unwrap_or(field), &|name| {
            let found = name.fields.iter().find(|of| of.field == field);
            found.map_or(String::new(), |of| format!("{:.1}", of.percent))
        });
    }
    for (first, some) in [
        (
            "default user agent",
            (|name| name.default_user_agent) as fn(&NameQuality) -> u64,
        ),
        ("value of 0", |name| name.zero_value),
        ("late", |name| name.late),
        ("in test mode", |name| name.test),
    ] {
        if names.iter().any(|name| some(name) > 0) {
            row(first, &|name| {
                let share = some(name) as f64 * 100.0 / name.events.max(1) as f64;
                format!("{share:.1}")
            });
        }
    }
}
