//! `pinrelay top`: the status, live. `history` keeps the readings, `draw` draws them.

mod draw;
mod history;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::DefaultTerminal;

use super::admin_arg::AdminArg;
use super::daemon::Client;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::screen::Screen;
use crate::admin::Report;
use crate::clock::Clock;
use crate::lifecycle::{self, LastResort};
use draw::{Setting, draw};
use history::History;

/// Between two readings.
const EVERY: Duration = Duration::from_secs(1);
/// How long the daemon may take to answer; a key waits as long at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a signal may take to end it.
const SIGNAL_ENDS: Duration = Duration::from_secs(2);
/// Between two looks for a signal.
const LOOK: Duration = Duration::from_millis(250);

/// Flags of `pinrelay top`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Keys: q, Esc or Ctrl-C quits.\n\nExit codes: 0 \
    it was quit · 64 stdout is no terminal · 69 no daemon is there · 78 the config is wrong\n\nExample:\n  pinrelay top")]
pub struct Args {
    #[command(flatten)]
    admin: AdminArg,
}

/// Shows the daemon until it is quitted; exit 69 when none is there to begin with.
pub fn run(args: Args) -> Outcome {
    if !io::stdout().is_terminal() {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow!("top draws on a terminal; for anything else there is `pinrelay status`"),
        });
    }
    let client = args.admin.client()?;
    // Reading keys may hang where there is no terminal any more.
    let last_resort = LastResort {
        within: Arc::new(|_| SIGNAL_ENDS),
        end: || {
            ratatui::restore();
            std::process::exit(0);
        },
    };
    let mut signals = lifecycle::signals_with(last_resort).or_exit(Exit::Io)?;
    // From here on the terminal is another; it is given back also after a panic.
    let mut terminal = ratatui::try_init().or_exit(Exit::Io)?;
    let end = show(&client, &mut terminal, &mut || signals.try_recv().is_ok());
    ratatui::restore();
    end.or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

fn show(
    client: &Client,
    terminal: &mut DefaultTerminal,
    signalled: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    let (clock, zone) = (Clock::system(), TimeZone::system());
    let screen = Screen::of_stdout();
    let mut history = History::default();
    loop {
        let begun = Instant::now();
        match read(client) {
            Ok(report) => history.answered(report),
            Err(why) => history.silent(clock.now(), why),
        }
        loop {
            let setting = Setting {
                now: clock.now(),
                zone: &zone,
                is_coloured: screen.is_coloured(),
                is_ascii: screen.is_ascii(),
            };
            terminal.draw(|frame| draw(frame, &history, &setting))?;
            let left = EVERY.saturating_sub(begun.elapsed());
            if event::poll(left.min(LOOK))? && quits(&event::read()?) || signalled() {
                return Ok(());
            }
            if begun.elapsed() >= EVERY {
                break;
            }
        }
    }
}

fn read(client: &Client) -> Result<Report, String> {
    let json = client.get("/status", PATIENCE).map_err(|f| f.to_string())?;
    serde_json::from_str(&json).map_err(|e| format!("another release answers: {e}"))
}

fn quits(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn the_keys_that_quit() {
        let key = |code, modifiers| quits(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!quits(&Event::Resize(80, 24)));
    }
}
