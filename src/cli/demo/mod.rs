//! `pinrelay demo`: the whole path on this machine, with a kill -9 in the middle, and an account
//! that has to add up.
//!
//! `shop` makes the events, `stage` holds the processes and their folder, `books` checks the
//! account; here is the story.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::args::DemoArgs;
use super::exit::{Exit, Failure, Outcome};
use super::send::Tally;
use super::text::streamed;

mod books;
mod shop;
mod stage;

use books::Books;
use shop::Shop;
use stage::{BATCH, Stage};

/// Nothing is waited for beyond this, all steps together.
const LONGEST: Duration = Duration::from_secs(25);

/// Tells the story; exit 1 if the account does not add up at its end.
pub fn run(args: DemoArgs) -> Outcome {
    let held = play(args.keep).map_err(|error| Failure {
        // What the system refuses says nothing of the promise.
        exit: match error.is::<io::Error>() {
            true => Exit::Io,
            false => Exit::NotHeld,
        },
        error,
    })?;
    Ok(if held { Exit::Ok } else { Exit::NotHeld })
}

fn play(keep: bool) -> Result<bool> {
    let shop = Shop::open();
    let mut stage = Stage::set(shop::REFUSED, shop::REFUSAL, Instant::now() + LONGEST)?;
    let played = acts(&shop, &mut stage);
    let kept = stage.leave(keep);
    if let Some(folder) = kept {
        say(format_args!("\nKept in {}", folder.display()))?;
    }
    played
}

/// A line of the story. A reader who has gone away ends it.
fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(streamed(false), "{line}").context("writing the story")
}

fn acts(shop: &Shop, stage: &mut Stage) -> Result<bool> {
    say(format_args!(
        "pinrelay demo: a shop's events to Pinterest's API, which a stand-in plays on this machine."
    ))?;

    say(format_args!(
        "\n1  The daemon starts, and a shop sends its morning"
    ))?;
    stage.start_daemon()?;
    let morning = stage.send(&shop.morning)?;
    say(format_args!("   {}", answered(&morning)))?;

    say(format_args!("\n2  kill -9, while requests are under way"))?;
    // The first answers are in and settled, and two requests, as many as there may be, have
    // just left. Should that moment be missed, an empty queue is as good a time.
    let before = stage.await_status("the first deliveries", |s| {
        s.ledger.delivered > 0 && (s.sending > BATCH || s.queued == 0)
    })?;
    stage.kill_daemon()?;
    say(format_args!(
        "   {} delivered and {} dead by then, {} on their way, {} waiting on disk",
        before.ledger.delivered, before.ledger.dead, before.sending, before.queued
    ))?;

    say(format_args!(
        "\n3  The daemon starts again in the same folder, the shop goes on"
    ))?;
    stage.start_daemon()?;
    let after = stage.status()?;
    say(format_args!(
        "   it found all {} accepted events; {} of them Pinterest may have seen: sent again under\n   \
         the same event_id, by which Pinterest counts each once",
        after.ledger.accepted, after.in_doubt
    ))?;
    let afternoon = stage.send(&shop.afternoon)?;
    say(format_args!("   {}", answered(&afternoon)))?;

    stage.await_status("all events delivered or dead", |s| {
        s.queued + s.sending == 0
    })?;
    let status = stage.status()?;
    let seen = stage.seen()?;
    let totals = stage.totals()?;

    say(format_args!("\n4  SIGTERM: the daemon drains and ends"))?;
    say(format_args!("   {}", stage.stop_daemon()?))?;

    let books = Books {
        lines: shop.lines(),
        expected: shop.expected(),
        tally: sum(&morning, &afternoon),
        in_doubt: after.in_doubt,
        status,
        totals,
        seen,
    };
    say(format_args!("\n{books}"))?;
    let wrong = books.wrong();
    for line in &wrong {
        say(format_args!("WRONG: {line}"))?;
    }
    if wrong.is_empty() {
        say(format_args!(
            "It adds up: nothing is lost, and nothing was queued twice."
        ))?;
    } else {
        say(format_args!(
            "It does not add up. The daemon's log:\n{}",
            stage.log()
        ))?;
    }
    Ok(wrong.is_empty())
}

fn answered(tally: &Tally) -> String {
    format!(
        "{} lines answered: {} queued, {} duplicate, {} ignored",
        tally.total(),
        tally.queued,
        tally.duplicate,
        tally.ignored
    )
}

fn sum(a: &Tally, b: &Tally) -> Tally {
    Tally {
        queued: a.queued + b.queued,
        duplicate: a.duplicate + b.duplicate,
        ignored: a.ignored + b.ignored,
        rejected: a.rejected + b.rejected,
        rejects: Vec::new(),
    }
}
