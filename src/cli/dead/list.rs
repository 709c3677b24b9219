//! `pinrelay dead list`: how many, and why.

use std::io::Write;

use super::super::admin_arg::AdminArg;
use super::super::exit::{Exit, OrExit, Outcome};
use super::super::text::fit;
use super::super::text::out;
use super::filter::FilterArgs;
use super::human::{count, time};
use super::pages::groups;
use crate::admin::{Group, Groups};

/// Columns of the table.
const WIDTH: usize = 80;

/// Flags of `pinrelay dead list`.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 · 69 no daemon is there · 78 the config is wrong

Shows no personal data: reasons, messages and messageIds. `dead show` and `dead export` do.

Examples:
  pinrelay dead list
  pinrelay dead list --since 2h --reason refused
  pinrelay dead list --json | jq '.groups[] | {count, message}'")]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArg,
    #[command(flatten)]
    filter: FilterArgs,
    /// As the daemon gives it, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let groups = groups(&args.admin.client()?, &args.filter)?;
    let text = match args.json {
        true => serde_json::to_string(&groups).or_exit(Exit::Io)? + "\n",
        false if groups.letters == 0 && !args.filter.is_empty() => {
            "no dead letters fit this filter; `pinrelay dead list` shows all\n".into()
        }
        false => table(&groups),
    };
    out(args.json)
        .write_all(text.as_bytes())
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn table(groups: &Groups) -> String {
    if groups.letters == 0 {
        return "no dead letters\n".into();
    }
    let mut text = format!(
        "{:>8}  {:14}  {:20}  message\n",
        "count", "reason", "last died"
    );
    for group in &groups.groups {
        text.push_str(&rows(group));
    }
    let kinds = match groups.groups.len() {
        1 => "1 group".into(),
        n => format!("{n} groups"),
    };
    text.push_str(&format!(
        "{} in {kinds}\nnext: `pinrelay dead show MESSAGE_ID`, then `retry`, `export` or `purge`\n",
        count(groups.letters)
    ));
    text
}

/// Two lines: what they have in common, and where to look.
fn rows(group: &Group) -> String {
    let head = format!(
        "{:>8}  {:14}  {:20}  ",
        group.count,
        group.reason,
        time(group.last_died_at)
    );
    let more = format!("{:>8}  first {}, such as ", "", time(group.first_died_at));
    let message = fit(&group.message, WIDTH - head.len());
    let example = fit(&group.example, WIDTH - more.len());
    format!("{head}{message}\n{more}{example}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_80_columns_and_lets_no_control_characters_through() {
        let group = Group {
            reason: "custom_refused".into(),
            message: "Pinterest says \u{1b}[31m a lot\n".repeat(20),
            count: 12_345_678,
            first_died_at: 1_769_882_400_000,
            last_died_at: 1_769_882_400_123,
            example: "m".repeat(512),
        };
        let groups = Groups {
            letters: 12_345_678,
            last: 1,
            groups: vec![group.clone(), group],
        };
        let table = table(&groups);
        assert!(!table.contains('\u{1b}'), "{table}");
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, Some(WIDTH), "{table}");
        assert!(table.contains("2026-01-31T18:00:00Z"), "{table}");
    }
}
