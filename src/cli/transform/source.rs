//! Where the events come from: a file, or what the daemon holds.

use std::time::Duration;

use clap::ValueEnum;

use super::super::daemon::Client;
use super::super::exit::{Exit, Failure, OrExit};
use super::super::letter_filter::FilterArgs;
use super::trial::{Came, When};
use crate::admin::{Letters, Queued};
use crate::transform::Fixed;

/// How long the daemon may take for one page.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which of the daemon's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Held {
    /// Those that wait to be sent.
    Queue,
    /// The dead letters.
    Dead,
}

/// Hands up to `limit` of them to `with`, each with what was fixed at its acceptance; of the dead
/// letters those that `filter` means.
///
/// # Errors
/// The daemon's; what `with` fails with is handed through inside.
pub(super) fn each(
    client: &Client,
    held: Held,
    filter: &FilterArgs,
    limit: u64,
    mut with: impl FnMut(Came<'_>) -> std::io::Result<()>,
) -> Result<std::io::Result<()>, Failure> {
    let mut left = limit;
    let mut after = Some(0);
    while let Some(from) = after.filter(|_| left > 0) {
        let events: Vec<(String, When)> = match held {
            Held::Queue => {
                let text = client.get(&format!("/queue?after={from}"), PATIENCE)?;
                let page: Queued = serde_json::from_str(&text).or_exit(Exit::Unavailable)?;
                after = page.next;
                let events = page.events.into_iter();
                events
                    .map(|e| {
                        let fixed = fixed(e.accepted_at, e.event_time);
                        (e.event.get().to_owned(), When::Queued(fixed))
                    })
                    .collect()
            }
            Held::Dead => {
                let query = filter.query(Some(from), None);
                let text = client.get(&format!("/dead?{query}"), PATIENCE)?;
                let page: Letters = serde_json::from_str(&text).or_exit(Exit::Unavailable)?;
                after = page.next;
                let letters = page.letters.into_iter();
                letters
                    .map(|l| {
                        let fixed = fixed(l.accepted_at, l.event_time);
                        (l.event.get().to_owned(), When::Dead(fixed))
                    })
                    .collect()
            }
        };
        for (line, when) in events {
            if left == 0 {
                break;
            }
            left -= 1;
            let came = Came {
                line: Ok(line.as_bytes()),
                when,
                place: None,
            };
            if let Err(error) = with(came) {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
}

/// `accepted_at` in Unix milliseconds, `event_time` in seconds, as the daemon gives them.
fn fixed(accepted_at: i64, event_time: i64) -> Fixed {
    Fixed {
        accepted_at: accepted_at.div_euclid(1000),
        event_time,
    }
}
