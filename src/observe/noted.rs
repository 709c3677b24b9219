//! Notes of events as they were delivered or died: how many of which kind since the start and
//! within the last hour, and those of single events, for as long as there is room.
//!
//! Invariant: an event without notes costs nothing here but its place in a count per request.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::note::{Note, Notes, Word};
use crate::text::printable;

/// Minutes that are looked back at.
const MINUTES: i64 = 60;
/// The share of events with a note that matters is of so many minutes.
const SHARE_MINUTES: i64 = 15;
/// Notes of single events that are remembered; each takes some hundred bytes.
const REMEMBERED: usize = 32_768;
/// What money, time and the match key are sent as.
const MATTERS: [&str; 6] = [
    "value",
    "currency",
    "event_time",
    "em",
    "client_ip_address",
    "client_user_agent",
];

/// A note as others are shown it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The wire field.
    pub field: String,
    /// The dot path that was read.
    pub path: String,
    /// What is wrong.
    pub word: String,
    /// The same for people, to be read behind the path.
    pub reason: String,
}

impl From<&Note> for Told {
    fn from(note: &Note) -> Self {
        Self {
            field: note.field.to_owned(),
            path: note.path.to_string(),
            word: note.word.name().to_owned(),
            reason: note.reason.to_owned(),
        }
    }
}

/// How many notes there were of one field and word.
pub type Count = ((&'static str, Word), u64);

type Counts = BTreeMap<(&'static str, Word), u64>;

/// The memory.
#[derive(Default)]
pub struct Noted(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    totals: Counts,
    /// Of the last hour, the newest last.
    minutes: VecDeque<Minute>,
    /// Of single events, the newest last.
    recent: VecDeque<Remembered>,
    /// In `recent`, all together.
    remembered: usize,
    /// Whose of `recent` count; what was forgotten stays there until it is the oldest.
    events: HashMap<u64, Counting>,
    next: u64,
}

struct Remembered {
    /// See [`super::short`].
    id: u64,
    number: u64,
    notes: Notes,
}

/// Of one event's notes those from this number on count; so many entries.
#[derive(Clone, Copy)]
struct Counting {
    from: u64,
    entries: usize,
}

#[derive(Default)]
struct Minute {
    /// Since the machine was booted.
    number: i64,
    delivered: u64,
    /// Of these, those with a note of one of [`MATTERS`].
    matters: u64,
    counts: Counts,
}

impl Noted {
    /// Events were delivered; `noted`: those of them with notes, their messageIds beside them.
    /// `now`: milliseconds since the machine was booted.
    pub fn delivered<'n>(
        &self,
        now: Millis,
        events: usize,
        noted: impl Iterator<Item = (u64, &'n str, &'n Notes)>,
    ) {
        let mut firsts = Vec::new();
        let mut memory = self.memory();
        memory.minute(now).delivered += events as u64;
        for (id, message_id, notes) in noted {
            let matters = notes.iter().any(|note| MATTERS.contains(&note.field));
            memory.minute(now).matters += u64::from(matters);
            firsts.extend(memory.add(now, id, notes).map(|note| (note, message_id)));
        }
        drop(memory);
        firsts.into_iter().for_each(|(note, id)| tell(note, id));
    }

    /// An event that was not delivered: it died, or it is only now accepted.
    pub fn other(&self, now: Millis, id: u64, message_id: &str, notes: &Notes) {
        let firsts: Vec<_> = self.memory().add(now, id, notes).collect();
        firsts.into_iter().for_each(|note| tell(note, message_id));
    }

    /// What was remembered of an event is no longer so: it was mended, and is delivered.
    pub fn forget(&self, id: u64) {
        self.memory().events.remove(&id);
    }

    /// Since the start, by field and word.
    pub fn totals(&self) -> Vec<Count> {
        (self.memory().totals.iter())
            .map(|(key, count)| (*key, *count))
            .collect()
    }

    /// Of the last hour, the most first.
    pub fn last_hour(&self, now: Millis) -> Vec<Count> {
        self.counted(now, minute_of(now) - MINUTES)
    }

    fn counted(&self, now: Millis, since: i64) -> Vec<Count> {
        let mut memory = self.memory();
        memory.forget(now);
        let minutes = memory.minutes.iter().filter(|minute| minute.number > since);
        let mut counts = Counts::new();
        for (key, count) in minutes.flat_map(|minute| &minute.counts) {
            *counts.entry(*key).or_default() += count;
        }
        let mut counts: Vec<Count> = counts.into_iter().collect();
        counts.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
        counts
    }

    /// Of the events delivered within the last quarter of an hour: those with a note of money, time
    /// or match key, and all.
    pub fn share(&self, now: Millis) -> (u64, u64) {
        let mut memory = self.memory();
        memory.forget(now);
        let since = minute_of(now) - SHARE_MINUTES;
        let lately = memory.minutes.iter().filter(|minute| minute.number > since);
        lately.fold((0, 0), |(matters, all), minute| {
            (matters + minute.matters, all + minute.delivered)
        })
    }

    /// The kinds of the notes that [`Noted::share`] is about, the most first.
    pub fn lately(&self, now: Millis) -> Vec<Count> {
        let since = minute_of(now) - SHARE_MINUTES;
        let all = self.counted(now, since).into_iter();
        all.filter(|((field, _), _)| MATTERS.contains(field))
            .collect()
    }

    /// The newest notes of one event, see [`super::short`], if they are remembered; that it was
    /// repaired, at any time.
    pub fn of(&self, id: u64) -> Vec<Told> {
        let memory = self.memory();
        let Some(counting) = memory.events.get(&id) else {
            return Vec::new();
        };
        let counts = |entry: &&Remembered| entry.id == id && entry.number >= counting.from;
        let is_line = |note: &&Note| note.field == "line";
        let mut line = None;
        let mut told: Vec<Told> = Vec::new();
        for entry in memory.recent.iter().rev().filter(counts) {
            let notes = &entry.notes;
            line = line.or_else(|| notes.iter().find(is_line));
            if told.is_empty() {
                told = notes
                    .iter()
                    .filter(|note| !is_line(note))
                    .map(Told::from)
                    .collect();
            }
        }
        line.map(Told::from).into_iter().chain(told).collect()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // The memory is whole between statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn minute_of(now: Millis) -> i64 {
    now.div_euclid(60_000)
}

impl Memory {
    fn minute(&mut self, now: Millis) -> &mut Minute {
        let number = minute_of(now);
        if self.minutes.back().is_none_or(|last| last.number < number) {
            self.forget(now);
            self.minutes.push_back(Minute {
                number,
                ..Minute::default()
            });
        }
        let last = self.minutes.len() - 1;
        &mut self.minutes[last]
    }

    fn forget(&mut self, now: Millis) {
        let since = minute_of(now) - MINUTES;
        while (self.minutes.front()).is_some_and(|first| first.number <= since) {
            self.minutes.pop_front();
        }
    }

    /// Counts and remembers; gives those that are the first of their kind.
    fn add<'n>(
        &mut self,
        now: Millis,
        id: u64,
        notes: &'n Notes,
    ) -> impl Iterator<Item = &'n Note> + use<'n> {
        let mut firsts = Vec::new();
        for note in notes.iter() {
            let key = (note.field, note.word);
            let total = self.totals.entry(key).or_default();
            *total += 1;
            if *total == 1 {
                firsts.push(note);
            }
            *self.minute(now).counts.entry(key).or_default() += 1;
        }
        self.remember(id, notes.clone());
        firsts.into_iter()
    }

    fn remember(&mut self, id: u64, notes: Notes) {
        let number = self.next;
        self.next += 1;
        self.remembered += notes.len();
        let counting = self.events.entry(id).or_insert(Counting {
            from: number,
            entries: 0,
        });
        counting.entries += 1;
        self.recent.push_back(Remembered { id, number, notes });
        while self.remembered > REMEMBERED {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.remembered -= oldest.notes.len();
            if let Entry::Occupied(mut of) = self.events.entry(oldest.id)
                && of.get().from <= oldest.number
            {
                of.get_mut().entries -= 1;
                if of.get().entries == 0 {
                    of.remove();
                }
            }
        }
    }
}

/// The first of its kind; the others are counted.
fn tell(note: &Note, message_id: &str) {
    let (path, id) = (note.path.to_string(), printable(message_id));
    let path = match printable(&path) {
        path if path.is_empty() => "the line".to_owned(),
        path => path,
    };
    tracing::warn!(
        field = note.field,
        word = note.word.name(),
        "messageId" = %id,
        "a note: {path} {}; further ones of {} {} are counted (`pinrelay status`), and `pinrelay \
         transform --explain` shows what becomes of such an event",
        note.reason,
        note.field,
        note.word.name(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Path;

    fn notes(all: &[(&'static str, Word)]) -> Notes {
        let note = |(field, word): &(&'static str, Word)| Note {
            field,
            path: Path::new(format!("properties.{field}").into(), None, None),
            word: *word,
            reason: "is no such thing",
        };
        all.iter().map(note).collect()
    }

    #[test]
    fn an_hour_is_looked_back_at_and_all_is_counted() {
        let noted = Noted::default();
        let (money, name) = (
            notes(&[("value", Word::Negative)]),
            notes(&[("fn", Word::Unreadable)]),
        );
        let minute = 60_000;
        noted.delivered(0, 10, [(1, "a", &money), (2, "b", &name)].into_iter());
        noted.delivered(10 * minute, 10, std::iter::empty());
        noted.other(10 * minute, 3, "c", &name);
        assert_eq!(noted.share(10 * minute), (1, 20));
        assert_eq!(noted.lately(10 * minute), [(("value", Word::Negative), 1)]);
        assert_eq!(noted.lately(20 * minute), []);
        assert_eq!(noted.share(15 * minute), (0, 10));
        assert_eq!(noted.share(30 * minute), (0, 0));
        let (negative, unreadable) = (("value", Word::Negative), ("fn", Word::Unreadable));
        assert_eq!(
            noted.last_hour(59 * minute),
            [(unreadable, 2), (negative, 1)]
        );
        assert_eq!(noted.last_hour(60 * minute), [(unreadable, 1)]);
        assert_eq!(noted.last_hour(70 * minute), []);
        assert_eq!(noted.totals(), [(unreadable, 2), (negative, 1)]);
        assert_eq!(noted.of(1), [Told::from(&money[0])]);
        assert_eq!(noted.of(4), []);
    }

    #[test]
    fn so_many_notes_are_remembered_and_what_was_mended_is_not() {
        let noted = Noted::default();
        let money = notes(&[("value", Word::Negative); 8]);
        for id in 0..=REMEMBERED as u64 / 8 {
            noted.other(0, id, "", &money);
        }
        assert_eq!((noted.of(0).len(), noted.of(1).len()), (0, 8));
        // The newest count, and a repair stays one.
        noted.other(0, 1, "", &Notes::from([Note::repaired()]));
        noted.other(0, 1, "", &notes(&[("fn", Word::Unreadable)]));
        let fields: Vec<_> = noted.of(1).into_iter().map(|note| note.field).collect();
        assert_eq!(fields, ["line", "fn"]);
        noted.forget(1);
        assert_eq!(noted.of(1), []);
        assert_eq!(noted.of(2).len(), 8);
        // What it has later is told again, and nothing of before.
        noted.other(0, 1, "", &notes(&[("ph", Word::Unreadable)]));
        let fields: Vec<_> = noted.of(1).into_iter().map(|note| note.field).collect();
        assert_eq!(fields, ["ph"]);
        for id in 10_000..20_000 {
            noted.other(0, id, "", &money);
        }
        let memory = noted.memory();
        assert_eq!((memory.events.len(), memory.recent.len()), (4096, 4096));
    }
}
