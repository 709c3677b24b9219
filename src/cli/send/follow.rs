//! `send --follow`: what becomes of the events that were queued.
//!
//! Invariant: an event is expected before it is sent, and the daemon is listened to before
//! that, so that no delivery is too quick to be seen.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::daemon::{CONTROL, Client, Lines, Next};
use super::super::exit::Failure;
use super::super::tail::note_line;
use super::super::text::printable;
use super::answer::Answer;
use super::input::Chunk;
use crate::admin::{Seen, Stored, Trace};
use crate::event;
use crate::note::Note;
use crate::observe::Told;

/// What is listened to.
pub const TAIL: &str = "/tail?status=delivered,dead";
/// Between two looks at whether it is over, and, when something was missed, at the rest.
const LOOK: Duration = Duration::from_millis(200);
/// Events looked up at once when something was missed.
const AT_ONCE: usize = 50;
/// Events that are told one by one.
const SHOWN_IN_FULL: usize = 20;

/// Where an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Without an answer.
    Sent,
    /// On the daemon's disk.
    Queued,
    /// Pinterest processed it, with this warning; what of it could not be read.
    Delivered(Option<String>, Vec<Told>),
    /// Why.
    Dead(String),
}

#[derive(Default)]
struct State {
    fates: HashMap<String, Fate>,
    /// Those whose text was damaged: the daemon tells of that when it takes them.
    repaired: HashSet<String>,
    /// The daemon had to leave something out.
    missed: bool,
    /// Nobody waits any more.
    over: bool,
    lost: Option<Failure>,
}

/// The events of one `send`.
#[derive(Default)]
pub struct Followed {
    state: Mutex<State>,
    changed: Condvar,
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Delivered.
    pub delivered: usize,
    /// Dead.
    pub dead: usize,
    /// Still queued.
    pub queued: usize,
    warnings: BTreeMap<String, usize>,
    /// By field and word.
    notes: BTreeMap<String, usize>,
    /// A line for each event, of few events; of many for the dead alone.
    lines: Vec<String>,
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These lines are about to be sent.
    pub fn expect(&self, chunk: &Chunk) {
        let mut state = self.lock();
        for i in 0..chunk.lines.len() {
            if let Some((id, is_repaired)) = named(chunk, i) {
                if is_repaired {
                    state.repaired.insert(id.clone());
                }
                state.fates.entry(id).or_insert(Fate::Sent);
            }
        }
    }

    /// Line `i` of the chunk has its answer. What this call did not queue is not waited for.
    pub fn answered(&self, chunk: &Chunk, i: usize, answer: &Answer) {
        let Some((id, _)) = named(chunk, i) else {
            return;
        };
        let mut state = self.lock();
        match answer {
            Answer::Queued => {
                if let Some(fate @ Fate::Sent) = state.fates.get_mut(&id) {
                    *fate = Fate::Queued;
                }
            }
            Answer::Unavailable(_) => {}
            Answer::Duplicate | Answer::Ignored | Answer::Rejected(_) => {
                if state.fates.get(&id) == Some(&Fate::Sent) {
                    state.fates.remove(&id);
                }
            }
        }
    }

    /// Hears what the daemon tells until [`Followed::stop`]. For a thread of its own.
    pub fn listen(&self, client: &Client, mut lines: Lines<'_>) {
        loop {
            let next = lines.next(async { tokio::time::sleep(LOOK).await });
            let mut state = self.lock();
            match next {
                _ if state.over => return,
                Ok(Next::Line(line)) => {
                    // Lines of another release may say more, not less.
                    if let Ok(seen) = serde_json::from_str(&line) {
                        state.see(seen);
                    }
                }
                Ok(Next::Other(())) if state.missed => {
                    drop(state);
                    self.look_up(client);
                }
                Ok(Next::Other(())) => {}
                Ok(Next::End) => {
                    state.lost = Some(ended());
                    return self.changed.notify_all();
                }
                Err(failure) => {
                    state.lost = Some(failure);
                    return self.changed.notify_all();
                }
            }
            self.changed.notify_all();
        }
    }

    /// Asks after some of those that are left.
    fn look_up(&self, client: &Client) {
        let state = self.lock();
        let left = state
            .fates
            .iter()
            .filter(|(_, fate)| **fate == Fate::Queued);
        let left: Vec<String> = left.take(AT_ONCE).map(|(id, _)| id.clone()).collect();
        drop(state);
        for id in left {
            if self.lock().over {
                return;
            }
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("id", &id)
                .finish();
            let Ok(json) = client.get(&format!("/trace?{query}"), CONTROL) else {
                return;
            };
            let trace: Trace = serde_json::from_str(&json).unwrap_or_default();
            if let Some(fate) = fate_of(&trace.stored) {
                self.lock().fates.insert(id, fate);
            }
        }
    }

    /// Waits until every queued event is delivered or dead, or `interrupted`, or for
    /// `patience`.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn wait(
        &self,
        patience: Duration,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let left = state.fates.values().any(|fate| *fate == Fate::Queued);
            if !left || Instant::now() >= end || interrupted() {
                return Ok(());
            }
            if let Some(failure) = state.lost.take() {
                return Err(failure);
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nobody waits any more: the listener ends.
    pub fn stop(&self) {
        self.lock().over = true;
    }

    /// What became of them by now.
    pub fn account(&self) -> Account {
        let state = self.lock();
        let mut account = Account::default();
        let mut fates: Vec<_> = state.fates.iter().collect();
        fates.sort_by_key(|(id, _)| *id);
        let few = fates.len() <= SHOWN_IN_FULL;
        for (id, fate) in fates {
            let tell = match fate {
                Fate::Sent => continue,
                Fate::Queued => {
                    account.queued += 1;
                    few.then(|| format!("{id}: still queued"))
                }
                Fate::Delivered(warning, notes) => {
                    account.delivered += 1;
                    let repaired = Told::from(&Note::repaired());
                    let repaired = state.repaired.contains(id).then_some(&repaired);
                    let notes: Vec<&Told> = repaired.into_iter().chain(notes).collect();
                    if let Some(warning) = warning {
                        *account.warnings.entry(warning.clone()).or_default() += 1;
                    }
                    for note in &notes {
                        let kind = format!("{} {}", note.field, note.word);
                        *account.notes.entry(kind).or_default() += 1;
                    }
                    let words: Vec<String> = notes.iter().map(|note| note_line(note)).collect();
                    few.then(|| match words.is_empty() {
                        true => format!("{id}: delivered"),
                        false => format!("{id}: delivered; {}", words.join("; ")),
                    })
                }
                Fate::Dead(why) => {
                    account.dead += 1;
                    Some(format!("{id}: dead, {why}"))
                }
            };
            if let Some(tell) = tell.filter(|_| account.lines.len() < SHOWN_IN_FULL) {
                account.lines.push(tell);
            }
        }
        account
    }
}

impl State {
    fn see(&mut self, seen: Seen) {
        self.missed |= seen.missed.is_some();
        let Some(fate) = self.fates.get_mut(&seen.message_id) else {
            return;
        };
        *fate = match seen.status.as_str() {
            "delivered" => Fate::Delivered(seen.message, seen.notes),
            "dead" => Fate::Dead(why(seen.reason.as_deref(), seen.message.as_deref())),
            _ => return,
        };
    }
}

/// What the queue says of where the event is now, if it is settled.
fn fate_of(stored: &Stored) -> Option<Fate> {
    match stored {
        Stored::Settled { .. } => Some(Fate::Delivered(None, Vec::new())),
        Stored::Dead { reason, .. } => Some(Fate::Dead(reason.clone())),
        Stored::Purged { .. } => Some(Fate::Dead("purged".to_owned())),
        Stored::Queued { .. } | Stored::Unknown => None,
    }
}

fn why(reason: Option<&str>, message: Option<&str>) -> String {
    let words: Vec<_> = [reason, message].into_iter().flatten().collect();
    words.join(": ")
}

fn ended() -> Failure {
    Failure {
        exit: super::super::exit::Exit::Unavailable,
        error: anyhow::anyhow!(
            "the daemon has ended: what it queued is on its disk, and goes out when it runs again"
        ),
    }
}

/// The line's messageId, and whether the daemon has to repair it first.
fn named(chunk: &Chunk, i: usize) -> Option<(String, bool)> {
    let line = chunk.line(i).trim_ascii_end();
    let sound = event::sound(line).ok()?;
    let id = event::check(&sound).ok()?.message_id.into_owned();
    Some((id, matches!(sound, Cow::Owned(_))))
}

impl Account {
    /// In words.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "followed: {} delivered, {} dead, {} still queued\n",
            self.delivered, self.dead, self.queued
        );
        for line in &self.lines {
            let _ = writeln!(text, "  {}", printable(line));
        }
        for (kind, count) in &self.notes {
            let _ = writeln!(text, "  {count} with the note {}", printable(kind));
        }
        for (warning, count) in &self.warnings {
            let warning = printable(warning);
            let _ = writeln!(text, "  {count} delivered with a warning: {warning}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Input;
    use super::*;

    fn chunk(ids: &[&str]) -> Chunk {
        let text: String = (ids.iter())
            .map(|id| format!("{{\"messageId\":\"{id}\",\"type\":\"page\"}}\n"))
            .collect();
        let piece = Input::new(vec![text.as_bytes()], false).next();
        piece.expect("no error").expect("a piece").chunk
    }

    fn seen(id: &str, status: &str, message: Option<&str>) -> Seen {
        Seen {
            message_id: id.into(),
            status: status.into(),
            message: message.map(str::to_owned),
            ..Seen::default()
        }
    }

    #[test]
    fn a_delivery_may_be_seen_before_the_answer_and_foreign_events_do_not_count() {
        let followed = Followed::default();
        let chunk = chunk(&["a", "b", "c", "d"]);
        followed.expect(&chunk);
        let warning = Some("external_id is missing\u{1b}[2J");
        followed.lock().see(seen("a", "delivered", warning));
        followed.lock().see(seen("foreign", "delivered", None));
        for (i, answer) in [
            Answer::Queued,
            Answer::Queued,
            Answer::Queued,
            Answer::Duplicate,
        ]
        .iter()
        .enumerate()
        {
            followed.answered(&chunk, i, answer);
        }
        followed
            .lock()
            .see(seen("c", "dead", Some("no user_data\u{9b}31m")));
        let account = followed.account();
        assert_eq!((account.delivered, account.dead, account.queued), (1, 1, 1));
        assert_eq!(
            account.summary(),
            "followed: 1 delivered, 1 dead, 1 still queued\n  a: delivered\n  b: still queued\n  \
             c: dead, no user_data·31m\n  1 delivered with a warning: external_id is missing·[2J\n"
        );
    }

    #[test]
    fn waiting_ends_when_all_are_settled_or_it_is_over() {
        let followed = Followed::default();
        let chunk = chunk(&["a"]);
        followed.expect(&chunk);
        followed.answered(&chunk, 0, &Answer::Queued);
        let wait = |patience, interrupted: bool| followed.wait(patience, &mut || interrupted);
        wait(Duration::ZERO, false).expect("time over");
        wait(Duration::from_secs(3600), true).expect("interrupted");
        followed.lock().see(seen("a", "delivered", None));
        wait(Duration::from_secs(3600), false).expect("all settled");
    }
}
