//! Hours of the last two days, five minutes of the last hour, and all since the start.
//!
//! Invariant: what is delivered is counted once in each, and never counted down; where the clock is set
//! back, what was counted ahead of it becomes the newest piece's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kept::{Kept, Piece};
use super::looks::{Looked, Looks};
use super::names::Names;
use super::tally::Tally;
use crate::clock::Millis;
use crate::coverage::Look;

const HOUR: Millis = 3_600_000;
const FIVE_MINUTES: Millis = 300_000;
/// Hours that are kept.
const HOURS: usize = 48;
/// Pieces of five minutes that are kept: one more than an hour, for the newest has just begun.
const PIECES: usize = 13;

type ByName = BTreeMap<Arc<str>, Tally>;

/// What a window looks back at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last hour, to five minutes.
    Hour,
    /// The last 24 hours, to an hour.
    Day,
    /// Since the start of the process.
    Start,
}

/// Counts of one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// From when on, Unix milliseconds: the window's beginning, or when counting began if that is
    /// later.
    pub since: Millis,
    /// By event_name.
    pub names: BTreeMap<Arc<str>, Tally>,
}

/// Looks that each delivered request allows, and how many of them are saved up. A look takes a few
/// times as long as making a payload: with full requests that is less than a hundredth of it, and
/// where requests are small each event has one.
const LOOKS: u32 = 4;
const MOST_LOOKS: u32 = 64;

/// The memory.
pub struct Quality {
    memory: Mutex<Memory>,
    looks_left: AtomicU32,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            memory: Mutex::default(),
            looks_left: AtomicU32::new(MOST_LOOKS),
        }
    }
}

#[derive(Default)]
struct Memory {
    /// From when on everything is counted.
    since: Millis,
    started: Millis,
    hours: VecDeque<(i64, ByName)>,
    minutes: VecDeque<(i64, ByName)>,
    start: ByName,
    names: Names,
    looks: Looks,
    has_changed: bool,
}

impl Quality {
    /// Counting begins. `kept`: what was counted before a restart, if that is known. `now`: Unix
    /// milliseconds.
    pub fn begin(&self, kept: Option<Kept>, now: Millis) {
        let mut memory = self.memory();
        memory.started = now;
        memory.since = kept.as_ref().map_or(now, |kept| kept.since.min(now));
        let Some(kept) = kept else { return };
        let of = |memory: &mut Memory, pieces: Vec<Piece>| -> VecDeque<(i64, ByName)> {
            let pieces = pieces.into_iter().map(|piece| {
                let mut names = ByName::new();
                for (name, counts) in &piece.names {
                    names
                        .entry(memory.names.of(name))
                        .or_default()
                        .add(&counts.into());
                }
                (piece.number, names)
            });
            pieces.collect()
        };
        memory.hours = of(&mut memory, kept.hours);
        memory.minutes = of(&mut memory, kept.minutes);
    }

    /// Events were delivered, by event_name. `now`: Unix milliseconds.
    pub fn delivered<'n>(&self, now: Millis, tallies: impl Iterator<Item = (&'n str, Tally)>) {
        let more = |left: u32| Some((left + LOOKS).min(MOST_LOOKS));
        let _ = self
            .looks_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let mut memory = self.memory();
        for (name, tally) in tallies {
            let name = memory.names.of(name);
            memory.has_changed = true;
            let Memory {
                hours,
                minutes,
                start,
                ..
            } = &mut *memory;
            for (pieces, length, most) in [(hours, HOUR, HOURS), (minutes, FIVE_MINUTES, PIECES)] {
                let names = newest(pieces, now.div_euclid(length), most);
                names.entry(name.clone()).or_default().add(&tally);
            }
            start.entry(name).or_default().add(&tally);
        }
    }

    /// Counts of a window that ends `now` (Unix milliseconds).
    pub fn window(&self, span: Span, now: Millis) -> Window {
        let memory = self.memory();
        let (pieces, from) = match span {
            Span::Start => {
                return Window {
                    since: memory.started,
                    names: memory.start.clone(),
                };
            }
            // The piece that has just begun is the last of them.
            Span::Hour => (&memory.minutes, now.div_euclid(FIVE_MINUTES) - 11),
            Span::Day => (&memory.hours, now.div_euclid(HOUR) - 23),
        };
        let length = if span == Span::Hour {
            FIVE_MINUTES
        } else {
            HOUR
        };
        let mut names = ByName::new();
        for (_, piece) in pieces.iter().filter(|(number, _)| *number >= from) {
            for (name, tally) in piece {
                names.entry(name.clone()).or_default().add(tally);
            }
        }
        Window {
            since: (from * length).max(memory.since),
            names,
        }
    }

    /// What is to outlive a restart, if anything changed since it was asked for.
    pub fn changed(&self) -> Option<Kept> {
        let mut memory = self.memory();
        if !std::mem::take(&mut memory.has_changed) {
            return None;
        }
        let pieces = |pieces: &VecDeque<(i64, ByName)>| {
            let pieces = pieces
                .iter()
                .map(|(number, names)| Piece::new(*number, names));
            pieces.collect()
        };
        Some(Kept {
            version: 1,
            since: memory.since,
            hours: pieces(&memory.hours),
            minutes: pieces(&memory.minutes),
        })
    }

    /// Whether one more event may be looked at closely. Asked for each event.
    #[inline]
    pub fn may_look(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.looks_left.load(Ordering::Relaxed) > 0
            && (self
                .looks_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less))
            .is_ok()
    }

    /// What was found in an event of this name. `now`: milliseconds since the machine was booted, here
    /// and below.
    pub fn looked(&self, now: Millis, name: &str, look: Look) {
        let mut memory = self.memory();
        let name = memory.names.of(name);
        memory.looks.count(now, name, look);
    }

    /// What was found holds no longer: the config is another.
    pub fn forget_looks(&self) {
        self.memory().looks.forget();
    }

    /// What was found within this hour and the one before, by event_name.
    pub fn looks(&self, now: Millis) -> BTreeMap<Arc<str>, Looked> {
        self.memory().looks.by_name(now)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // The memory is whole between statements.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The piece of this number, as the newest. What a clock that was ahead has counted later is this
/// one's: a moment of a wrong clock takes no true hour away.
fn newest(pieces: &mut VecDeque<(i64, ByName)>, number: i64, most: usize) -> &mut ByName {
    let mut ahead = ByName::new();
    while pieces.back().is_some_and(|(last, _)| *last > number) {
        for (name, tally) in pieces.pop_back().into_iter().flat_map(|(_, names)| names) {
            ahead.entry(name).or_default().add(&tally);
        }
    }
    if pieces.back().is_none_or(|(last, _)| *last < number) {
        pieces.push_back((number, ByName::new()));
    }
    // By how many there are: what is older than a window is not asked for.
    while pieces.len() > most {
        pieces.pop_front();
    }
    let end = pieces.len() - 1;
    let names = &mut pieces[end].1;
    for (name, tally) in ahead {
        names.entry(name).or_default().add(&tally);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::{Coverage, FIELDS};

    fn some(events: u64) -> Tally {
        let mut there = [false; FIELDS.len()];
        there[0] = true;
        let mut tally = Tally::default();
        for _ in 0..events {
            tally.count(Coverage::of(there, true, false), true, false);
        }
        tally
    }

    fn counted(quality: &Quality, span: Span, now: Millis) -> Vec<(String, u64)> {
        let window = quality.window(span, now);
        let names = window.names.iter();
        names
            .map(|(name, tally)| (name.to_string(), tally.events))
            .collect()
    }

    const NOW: Millis = 1_800_000_000_000;

    #[test]
    fn windows_end_now_and_forget_what_is_older() {
        let quality = Quality::default();
        quality.begin(None, NOW);
        let add = |at: Millis, n| quality.delivered(at, [("checkout", some(n))].into_iter());
        add(NOW, 1);
        add(NOW + 50 * 60_000, 2);
        let at = NOW + 55 * 60_000;
        assert_eq!(
            counted(&quality, Span::Hour, at),
            [("checkout".to_owned(), 3)]
        );
        assert_eq!(
            counted(&quality, Span::Hour, NOW + 65 * 60_000),
            [("checkout".to_owned(), 2)]
        );
        assert_eq!(
            counted(&quality, Span::Day, NOW + 20 * HOUR),
            [("checkout".to_owned(), 3)]
        );
        assert_eq!(counted(&quality, Span::Day, NOW + 25 * HOUR), []);
        assert_eq!(
            counted(&quality, Span::Start, NOW + 90 * HOUR),
            [("checkout".to_owned(), 3)]
        );
        assert_eq!(quality.window(Span::Day, NOW + HOUR).since, NOW);
        let since = quality.window(Span::Hour, NOW + 10 * HOUR).since;
        assert_eq!(since, NOW + 10 * HOUR - 55 * 60_000);
    }

    #[test]
    fn a_moment_of_a_clock_that_is_ahead_takes_no_true_hour_away() {
        let quality = Quality::default();
        quality.begin(None, NOW);
        let add = |at| quality.delivered(at, [("lead", some(1))].into_iter());
        for hours in [0, 1, 240, 2, 2] {
            add(NOW + hours * HOUR);
        }
        let at = NOW + 2 * HOUR;
        assert_eq!(counted(&quality, Span::Day, at), [("lead".to_owned(), 5)]);
        assert_eq!(counted(&quality, Span::Hour, at), [("lead".to_owned(), 3)]);
        assert_eq!(counted(&quality, Span::Hour, NOW + 5 * HOUR), []);
    }

    #[test]
    fn a_clock_that_is_set_back_counts_everything_once() {
        let quality = Quality::default();
        quality.begin(None, NOW);
        for at in [NOW, NOW - 10 * HOUR, NOW - HOUR, NOW] {
            quality.delivered(at, [("lead", some(1))].into_iter());
        }
        assert_eq!(
            counted(&quality, Span::Start, NOW),
            [("lead".to_owned(), 4)]
        );
        assert_eq!(counted(&quality, Span::Day, NOW), [("lead".to_owned(), 4)]);
    }

    #[test]
    fn names_are_bounded_and_the_standard_ones_have_a_place() {
        let quality = Quality::default();
        let name = |n: i32| format!("Custom {n}");
        for n in 0..40 {
            quality.delivered(NOW, [(name(n).as_str(), some(1))].into_iter());
        }
        let long = "x".repeat(41);
        for odd in [
            long.as_str(),
            "a\nb",
            "",
            "Hello jane@x.example",
            "Order 12345",
        ] {
            quality.delivered(NOW, [(odd, some(1))].into_iter());
        }
        quality.delivered(NOW, [("watch_video", some(5))].into_iter());
        let counted = counted(&quality, Span::Hour, NOW);
        assert_eq!(counted.len(), 32 + 2, "{counted:?}");
        assert!(counted.contains(&("watch_video".to_owned(), 5)));
        assert!(counted.contains(&("other".to_owned(), 40 - 32 + 5)));
    }

    #[test]
    fn a_restart_goes_on_with_the_hours() {
        let before = Quality::default();
        before.begin(None, NOW);
        before.delivered(NOW, [("checkout", some(3))].into_iter());
        let kept = before.changed().expect("something changed");
        assert!(before.changed().is_none());
        let text = serde_json::to_string(&kept).unwrap();
        let after = Quality::default();
        after.begin(Some(serde_json::from_str(&text).unwrap()), NOW + 60_000);
        after.delivered(NOW + 120_000, [("checkout", some(1))].into_iter());
        let at = NOW + 180_000;
        assert_eq!(
            counted(&after, Span::Hour, at),
            [("checkout".to_owned(), 4)]
        );
        assert_eq!(
            counted(&after, Span::Start, at),
            [("checkout".to_owned(), 1)]
        );
        let window = after.window(Span::Day, at);
        assert_eq!((window.since, window.names["checkout"].fields[0]), (NOW, 4));
        assert_eq!(window.names["checkout"].late, 4);
    }

    #[test]
    fn looks_are_few_and_last_for_two_hours() {
        let quality = Quality::default();
        let allowed = || (0..500).filter(|_| quality.may_look()).count();
        assert_eq!([allowed(), allowed()], [64, 0]);
        quality.delivered(NOW, [("checkout", some(1000))].into_iter());
        assert_eq!(allowed(), 4);
        let look = || Look {
            ids: Some(vec![true, false]),
            ..Look::default()
        };
        quality.looked(5_000, "checkout", look());
        quality.looked(HOUR + 5_000, "checkout", look());
        let looked = quality.looks(HOUR + 6_000)["checkout"].clone();
        assert_eq!((looked.events, looked.ids), (2, vec![2, 0]));
        assert_eq!(quality.looks(3 * HOUR), BTreeMap::new());
    }
}
