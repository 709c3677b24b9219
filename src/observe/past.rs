//! What passed before somebody came to listen, read from the history at leisure.
//!
//! The history has half a hash of each messageId, and no names: more is not told here either.

use std::sync::Arc;

use super::history::{Attempt, History, Record, Verdict};
use super::passing::Stage;
use crate::clock::Millis;

/// One event at one stage, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// When, Unix milliseconds: of a request, when its answer came.
    pub at: Millis,
    /// Which event, see [`super::short`].
    pub id: u64,
    /// A [`Stage`] by its name, or `purged`.
    pub status: &'static str,
    /// Why it is dead.
    pub reason: Option<&'static str>,
    /// What was said of its request or of itself, without values.
    pub message: Option<Arc<str>>,
}

/// What the history holds of a time and later, oldest first. It shares the records with the
/// history, so it takes no memory beside it but for what the history forgets meanwhile.
pub struct Past {
    records: std::vec::IntoIter<Arc<Record>>,
    current: Option<(Arc<Record>, usize)>,
    /// Only this event.
    id: Option<u64>,
}

impl Past {
    /// All of it; of one event where `id` says which.
    pub fn new(history: &History, id: Option<u64>) -> Self {
        Self {
            records: history.records().into_iter(),
            current: None,
            id,
        }
    }

    /// From `since` (Unix milliseconds) on, in the order of their times: for when the history has
    /// been let go.
    pub fn since(mut self, since: Millis) -> Self {
        let mut records: Vec<_> = self.records.collect();
        records.retain(|record| record.known_at() >= since);
        // A block is told when it has its receipts, which may be behind what happened later.
        records.sort_by_key(|record| record.known_at());
        self.records = records.into_iter();
        self
    }
}

impl Iterator for Past {
    type Item = Remembered;

    fn next(&mut self) -> Option<Remembered> {
        loop {
            if let Some((record, place)) = &mut self.current {
                while *place < record.len() {
                    *place += 1;
                    let found = record.remembered(*place - 1);
                    let is_wanted = |found: &Remembered| self.id.is_none_or(|id| id == found.id);
                    if let Some(found) = found.filter(is_wanted) {
                        return Some(found);
                    }
                }
            }
            self.current = Some((self.records.next()?, 0));
        }
    }
}

impl Record {
    /// When it was known.
    fn known_at(&self) -> Millis {
        match self {
            Self::Arrival(arrival) => arrival.at,
            Self::Attempt(attempt) => attempt.at + Millis::from(attempt.took),
            Self::End(end) => end.at,
        }
    }

    /// How many events it tells of.
    fn len(&self) -> usize {
        match self {
            Self::Arrival(arrival) => arrival.ids.len(),
            Self::Attempt(attempt) => attempt.ids.len(),
            Self::End(_) => 1,
        }
    }

    /// What it tells of the event at `place`, as a listener would have been told.
    fn remembered(&self, place: usize) -> Option<Remembered> {
        let (id, status, reason, message) = match self {
            Self::Arrival(arrival) => {
                let mut others = arrival.others.iter();
                let other = others.find(|(at, _)| *at as usize == place);
                let status = other.map_or(Stage::Queued.name(), |(_, answer)| answer);
                (*arrival.ids.get(place)?, status, None, None)
            }
            Self::Attempt(attempt) => {
                let (status, message) = attempt.stage(place)?;
                (*attempt.ids.get(place)?, status.name(), None, message)
            }
            Self::End(end) => (end.id, end.state, end.reason, None),
        };
        Some(Remembered {
            at: self.known_at(),
            id,
            status,
            reason,
            message,
        })
    }
}

impl Attempt {
    /// Where the event at `place` was behind it; `None` where what follows from a refusal of it
    /// alone tells that.
    fn stage(&self, place: usize) -> Option<(Stage, Option<Arc<str>>)> {
        let mut others = self.others.iter();
        let verdict = others.find(|(at, _)| *at as usize == place);
        let verdict = verdict.map(|(_, verdict)| verdict);
        if matches!(verdict, Some(Verdict::Failed(_))) {
            return None;
        }
        let stage = match self.outcome(verdict) {
            "delivered" => Stage::Delivered,
            "in_doubt" => Stage::InDoubt,
            _ => Stage::Released,
        };
        Some((stage, self.message.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::{Arrival, End};
    use super::*;

    fn attempt(at: Millis, class: &'static str, others: &[(u32, Verdict)]) -> Attempt {
        Attempt {
            at,
            took: 5,
            status: Some(200),
            class,
            message: None,
            ids: Box::new([1, 2]),
            others: others.into(),
        }
    }

    #[test]
    fn what_passed_is_told_by_stages_in_the_order_of_its_time() {
        let mut history = History::default();
        history.attempted(attempt(20, "unknown", &[]));
        history.arrived(Arrival {
            at: 10,
            peer: None,
            ids: Box::new([1, 2, 3]),
            others: Box::new([(2, "duplicate")]),
        });
        let refused = [(1, Verdict::Failed("no user_data".into()))];
        history.attempted(attempt(30, "judged", &refused));
        history.ended(End {
            at: 36,
            id: 2,
            state: "dead",
            reason: Some("refused"),
        });
        let told = |since, id| -> Vec<(Millis, u64, &str)> {
            let past = Past::new(&history, id).since(since);
            past.map(|found| (found.at, found.id, found.status))
                .collect()
        };
        assert_eq!(
            told(0, None),
            [
                (10, 1, "queued"),
                (10, 2, "queued"),
                (10, 3, "duplicate"),
                (25, 1, "in_doubt"),
                (25, 2, "in_doubt"),
                (35, 1, "delivered"),
                (36, 2, "dead"),
            ]
        );
        assert_eq!(told(35, None), [(35, 1, "delivered"), (36, 2, "dead")]);
        assert_eq!(told(11, Some(2)), [(25, 2, "in_doubt"), (36, 2, "dead")]);
        assert!(told(37, None).is_empty());
    }
}
