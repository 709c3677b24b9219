//! `pinrelay dead list --each`: one letter a line, the last to die at the end.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use super::super::letter_filter::FilterArgs;
use super::human::{Look, count};
use super::pages::get;
use crate::admin::{Brief, Briefs};
use crate::cli::daemon::Client;
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::screen::{Tone, padded};
use crate::cli::text::{buffered, printable};
use crate::moment::local;

/// Columns of an event's name.
const NAME: usize = 20;

/// Prints the letters that the filter means; `limit`: the last of them.
pub(super) fn run(
    client: &Client,
    filter: &FilterArgs,
    limit: Option<NonZeroUsize>,
    is_json: bool,
    look: &Look,
) -> Outcome {
    let mut out = buffered(is_json);
    let printed = match limit {
        None => all(client, filter, |letter| {
            print(&mut out, letter, is_json, look)
        })?
        .map(|_| ()),
        Some(limit) => {
            let mut last = Last::new(limit.get());
            // What is kept in memory cannot fail.
            let _ = all(client, filter, |letter| {
                last.push(letter);
                Ok(())
            })?;
            last.print(&mut out, is_json, look)
        }
    };
    let written = printed.and_then(|()| out.flush());
    written.map(|()| Exit::Ok).or_exit(Exit::Io)
}

/// Reads them page by page. The outer error is the daemon's, the inner one `print`'s.
fn all(
    client: &Client,
    filter: &FilterArgs,
    mut print: impl FnMut(Brief) -> io::Result<()>,
) -> Result<io::Result<()>, Failure> {
    let mut after = Some(1);
    while let Some(from) = after {
        let query = filter.query(Some(from), None);
        let page: Briefs = get(client, &format!("/dead/each?{query}"))?;
        for letter in page.letters {
            if let Err(error) = print(letter) {
                return Ok(Err(error));
            }
        }
        after = page.next;
    }
    Ok(Ok(()))
}

/// The last of them, and how many came before.
struct Last {
    most: usize,
    letters: VecDeque<Brief>,
    before: u64,
}

impl Last {
    fn new(most: usize) -> Self {
        Self {
            most,
            letters: VecDeque::new(),
            before: 0,
        }
    }

    fn push(&mut self, letter: Brief) {
        self.letters.push_back(letter);
        if self.letters.len() > self.most {
            self.letters.pop_front();
            self.before += 1;
        }
    }

    fn print(self, out: &mut impl Write, is_json: bool, look: &Look) -> io::Result<()> {
        if self.before > 0 && !is_json {
            writeln!(out, "{} died before these", count(self.before))?;
        }
        let mut letters = self.letters.into_iter();
        letters.try_for_each(|letter| print(out, letter, is_json, look))
    }
}

fn print(out: &mut impl Write, letter: Brief, is_json: bool, look: &Look) -> io::Result<()> {
    match is_json {
        true => writeln!(out, "{}", serde_json::to_string(&letter)?),
        false => {
            let line = line(&letter, look);
            let tone = Some(Tone::Alarm);
            let line = look.screen.toned(&line, &letter.reason, tone);
            writeln!(out, "{line}")
        }
    }
}

/// The messageId stands in full: it is what the other verbs are given.
fn line(letter: &Brief, look: &Look) -> String {
    format!(
        "{:>8}  {:22}  {:15}  {}  {}  {}",
        letter.number,
        local(letter.died_at, look.now, &look.zone),
        letter.reason,
        padded(&printable(&letter.event), NAME),
        printable(&letter.message_id),
        printable(&letter.message)
    )
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::cli::screen::Screen;

    fn brief(number: u64) -> Brief {
        Brief {
            number,
            died_at: 1_769_882_400_123,
            reason: "unreadable_time".into(),
            event: "Order Completed".into(),
            message_id: format!("m-{number}\u{1b}[2J"),
            message: "no year\nin it".into(),
        }
    }

    #[test]
    fn the_last_of_them_one_a_line_and_nothing_that_steers() {
        let printed = |is_json| {
            let mut last = Last::new(2);
            (1..=5).for_each(|number| last.push(brief(number)));
            let mut out = Vec::new();
            let look = Look {
                now: 1_769_882_400_000,
                zone: TimeZone::UTC,
                screen: Screen::none(),
            };
            last.print(&mut out, is_json, &look).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = printed(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "3 dead letters died before these");
        assert_eq!(
            lines[2],
            "       5  18:00:00Z               unreadable_time  Order Completed       m-5·[2J  \
             no year·in it"
        );
        assert_eq!(printed(true).lines().count(), 2);
    }
}
