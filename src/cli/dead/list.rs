//! `pinrelay dead list`: how many, and why; or each of them.

use std::io::Write;
use std::num::NonZeroUsize;

use jiff::tz::TimeZone;

use super::super::admin_arg::AdminArg;
use super::super::exit::{Exit, OrExit, Outcome};
use super::super::letter_filter::FilterArgs;
use super::super::screen::{self, Screen, Tone};
use super::super::text::{out, printable};
use super::each;
use super::human::{Look, count};
use super::pages::groups;
use crate::admin::{Group, Groups};
use crate::clock::Clock;
use crate::moment::local;

/// Columns before the messages.
const HEAD: usize = 50;
/// With fewer columns behind them messages stand below the rest; so does each that is longer.
const NARROW: usize = 28;
/// Lines of a message.
const LINES: usize = 4;

/// Flags of `pinrelay dead list`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 also when there are none · 69 no daemon is there · 78 the config is wrong

Shows no personal data: reasons, messages and messageIds. `dead show` and `dead export` do.

Examples:
  pinrelay dead list
  pinrelay dead list --since 2h --reason refused
  pinrelay dead list --each --limit 20
  pinrelay dead list --each --json | jq -r .messageId
  pinrelay dead list --json | jq '.groups[] | {count, message}'")]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    filter: FilterArgs,
    /// One letter a line, in the order of their deaths.
    #[arg(long)]
    each: bool,
    /// With --each: so many at most, the last to die.
    #[arg(long, value_name = "N", requires = "each")]
    limit: Option<NonZeroUsize>,
    /// As JSON, with --each an object a line, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let look = Look {
        now: Clock::system().now(),
        zone: TimeZone::system(),
        screen: Screen::of_stdout(),
    };
    if args.each {
        let client = args.admin.client()?;
        return each::run(&client, &args.filter, args.limit, args.json, &look);
    }
    let groups = groups(&args.admin.client()?, &args.filter)?;
    let text = match args.json {
        true => serde_json::to_string(&groups).or_exit(Exit::Io)? + "\n",
        false if groups.letters == 0 && !args.filter.is_empty() => {
            "no dead letters fit this filter; `pinrelay dead list` shows all\n".into()
        }
        false => table(&groups, &look),
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn table(groups: &Groups, look: &Look) -> String {
    if groups.letters == 0 {
        return "no dead letters\n".into();
    }
    let beside = look.screen.columns().is_none_or(|all| all >= HEAD + NARROW);
    let message = if beside { "  message" } else { "" };
    let last = "last died";
    let mut text = format!("{:>8}  {:14}  {last:22}{message}", "count", "reason");
    text.truncate(text.trim_end().len());
    text.push('\n');
    for group in &groups.groups {
        text.push_str(&rows(group, look));
    }
    let kinds = match groups.groups.len() {
        1 => "1 group".into(),
        n => format!("{n} groups"),
    };
    let next = "next: `pinrelay dead show MESSAGE_ID`, then `retry`, `export` or `purge`";
    let all = count(groups.letters);
    text.push_str(&format!(
        "{all} in {kinds}\n{}\n",
        look.screen.wrapped(next, 6)
    ));
    text
}

/// What they have in common, and where to look.
fn rows(group: &Group, look: &Look) -> String {
    let at = |at| local(at, look.now, &look.zone);
    let last = at(group.last_died_at);
    let head = format!("{:>8}  {:14}  {last:22}  ", group.count, group.reason);
    let message = printable(&group.message);
    let first = format!("first {}, such as ", at(group.first_died_at));
    let example = printable(&group.example);
    let Some(columns) = look.screen.columns() else {
        return format!("{head}{message}\n{:10}{first}{example}\n", "");
    };
    let beside = columns.saturating_sub(HEAD);
    let mut lines: Vec<String> = Vec::new();
    if beside >= NARROW && screen::width(&message) <= beside {
        lines.push(format!("{head}{message}"));
    } else {
        lines.push(head.trim_end().to_owned());
        for message in screen::fit(&message, columns - 10, LINES) {
            lines.push(format!("{:10}{message}", ""));
        }
    }
    for line in screen::fit(&format!("{first}{example}"), columns - 10, 2) {
        lines.push(format!("{:10}{line}", ""));
    }
    let reason = &group.reason;
    lines[0] = look.screen.toned(&lines[0], reason, Some(Tone::Alarm));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        let group = Group {
            reason: "custom_refused".into(),
            message: "Pinterest says \u{1b}[31m a lot\n".repeat(20),
            count: 12_345_678,
            first_died_at: 1_769_882_400_000,
            last_died_at: 1_769_882_400_123,
            example: "m".repeat(512),
        };
        let short = Group {
            message: "currency 'EURO' is not supported by whoever reads it".into(),
            example: "order-1".into(),
            ..group.clone()
        };
        Groups {
            letters: 12_345_678,
            last: 1,
            groups: vec![group, short],
        }
    }

    fn look(screen: Screen) -> Look {
        Look {
            now: 1_769_882_500_000,
            zone: TimeZone::UTC,
            screen,
        }
    }

    #[test]
    fn a_table_fits_its_screen_and_lets_no_control_characters_through() {
        for columns in [40, 60, 80, 120] {
            let table = table(&groups(), &look(Screen::sized(columns, 24)));
            assert!(!table.contains('\u{1b}'), "{table}");
            let widest = table.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns.max(48)), "{columns}: {table}");
            assert!(table.contains("18:00:00Z"), "{table}");
            let words = table.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains("supported by whoever reads it"), "{words}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let table = table(&groups(), &look(Screen::none()));
        assert!(table.contains(&"m".repeat(512)), "{table}");
        assert!(table.lines().nth(1).unwrap().len() > 400, "{table}");
    }
}
