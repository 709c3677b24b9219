//! Tells 100 bad events from a wrong config or a changed API that has everything refused.

use std::collections::HashSet;
use std::sync::Arc;

/// So many refusals alike with nothing processed between are no accident.
pub(super) const LIMIT: u32 = 100;
/// Different messages counted at a time.
const MESSAGES: usize = 64;
/// Blamed names remembered; names come from clients and need a bound.
const NAMES: usize = 4096;

/// What becomes of a refused event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a dead letter.
    Dies {
        /// Its name is the fault, and this is the first time it is refused.
        new_name: bool,
    },
    /// It is the hundredth of its kind: it and everything after it stays queued, and those before
    /// it are to come back.
    HoldAll,
}

/// The refusals since the last processed event, in settle order.
#[derive(Default)]
pub(super) struct Streak {
    /// By message, whatever the code.
    counts: Vec<(String, u32)>,
    names: HashSet<Arc<str>>,
    /// The operator wants each event judged alone, whatever comes of it.
    isolating: bool,
}

impl Streak {
    /// Counts one refused event. `message` is normalised; `by_name`: the name is the shop's own
    /// and is blamed. One that was blamed before counts no more: it may be the name of most
    /// events, and the others must still go.
    pub fn refused(&mut self, name: &Arc<str>, message: &str, by_name: bool) -> Fate {
        if self.names.len() == NAMES {
            self.names.clear();
        }
        let new_name = by_name && self.names.insert(name.clone());
        if self.isolating || (by_name && !new_name) {
            return Fate::Dies { new_name };
        }
        let count = self.count(message);
        *count += 1;
        if *count < LIMIT {
            Fate::Dies { new_name }
        } else {
            Fate::HoldAll
        }
    }

    /// What is dead already counts, too: so many died of this message since an event was processed.
    pub fn remember(&mut self, message: &str, died: u32) {
        *self.count(message) += died.min(LIMIT - 1);
    }

    /// This name was blamed before.
    pub fn remember_name(&mut self, name: Arc<str>) {
        if self.names.len() < NAMES {
            self.names.insert(name);
        }
    }

    fn count(&mut self, message: &str) -> &mut u32 {
        let counts = &mut self.counts;
        let known = counts.iter().position(|(known, _)| known == message);
        let at = known.unwrap_or_else(|| {
            if counts.len() == MESSAGES {
                counts.remove(0);
            }
            counts.push((message.to_owned(), 0));
            counts.len() - 1
        });
        &mut counts[at].1
    }

    /// An event was processed: the destination does take events.
    pub fn processed(&mut self) {
        self.counts.clear();
        self.isolating = false;
    }

    /// Counts from zero again: the config has changed.
    pub fn restart(&mut self) {
        self.counts.clear();
        self.names.clear();
    }

    /// Until an event is processed nothing is held back any more.
    pub fn isolate(&mut self) {
        self.counts.clear();
        self.isolating = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::pinterest::blames_name;
    use super::*;

    fn refused(streak: &mut Streak, name: &str, message: &str) -> Fate {
        streak.refused(&name.into(), message, blames_name(message, name))
    }

    fn dies(streak: &mut Streak, name: &str, message: &str) -> bool {
        refused(streak, name, message) != Fate::HoldAll
    }

    #[test]
    fn the_hundredth_alike_stays_and_so_does_every_one_after_it() {
        let mut streak = Streak::default();
        for n in 1..=300 {
            assert_eq!(dies(&mut streak, "page_visit", "no"), n < 100, "{n}");
        }
    }

    #[test]
    fn a_processed_event_between_starts_the_count_anew() {
        let mut streak = Streak::default();
        for n in 1..=500 {
            if n % 99 == 0 {
                streak.processed();
            }
            assert!(dies(&mut streak, "page_visit", "no"), "{n}");
        }
    }

    #[test]
    fn messages_count_apart_though_they_alternate() {
        let mut streak = Streak::default();
        for n in 1..=100 {
            assert_eq!(dies(&mut streak, "search", "a"), n < 100);
            assert!(dies(&mut streak, "search", &format!("b{}", n % 2)));
        }
    }

    #[test]
    fn a_blamed_name_counts_once_but_a_standard_one_each_time() {
        let mut streak = Streak::default();
        let first = refused(&mut streak, "Foo", "bad event_name");
        assert_eq!(first, Fate::Dies { new_name: true });
        for _ in 0..1000 {
            let again = refused(&mut streak, "Foo", "bad event_name");
            assert_eq!(again, Fate::Dies { new_name: false });
        }
        for _ in 2..=99 {
            assert!(dies(&mut streak, "checkout", "bad event_name"));
        }
        assert!(!dies(&mut streak, "checkout", "bad event_name"));
    }

    #[test]
    fn a_hundred_names_blamed_are_no_accident_either() {
        let mut streak = Streak::default();
        for n in 1..=100 {
            let name = format!("Name {n}");
            assert_eq!(dies(&mut streak, &name, "bad event_name"), n < 100);
        }
    }

    #[test]
    fn what_died_before_a_start_counts() {
        let mut streak = Streak::default();
        streak.remember("no", 40);
        streak.remember("other", 7000);
        for n in 41..=101 {
            assert_eq!(dies(&mut streak, "page_visit", "no"), n < 100, "{n}");
        }
        assert!(!dies(&mut streak, "page_visit", "other"), "the next one");
        streak.remember_name("Foo".into());
        let again = refused(&mut streak, "Foo", "bad event_name");
        assert_eq!(again, Fate::Dies { new_name: false });
    }

    #[test]
    fn forced_isolation_holds_nothing_back_until_something_is_processed() {
        let mut streak = Streak::default();
        streak.isolate();
        assert!((0..500).all(|_| dies(&mut streak, "lead", "no")));
        streak.processed();
        assert!((1..=99).all(|_| dies(&mut streak, "lead", "no")));
        assert!(!dies(&mut streak, "lead", "no"));
    }
}
