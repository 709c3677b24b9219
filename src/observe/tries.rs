//! How often events were tried, and how that failed last, as far as the history remembers.

use std::collections::HashMap;
use std::sync::Arc;

use super::history::{History, Record, Step};

/// The tries of one event that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// How many are remembered.
    pub count: u64,
    /// The last that did not deliver it, an attempt; none where none is remembered.
    pub last_failure: Option<Step>,
}

/// The history of a moment, to be read at leisure.
pub struct Attempts {
    records: Vec<Arc<Record>>,
}

impl Attempts {
    /// What the history holds now.
    pub fn new(history: &History) -> Self {
        Self {
            records: history.records(),
        }
    }

    /// The tries of each of these events (see [`super::short`]), in their order. Looks at every
    /// event of every request that is remembered.
    pub fn of(&self, ids: &[u64]) -> Vec<Tries> {
        let mut tries: HashMap<u64, Tries> = ids.iter().map(|id| (*id, Tries::default())).collect();
        for record in &self.records {
            let Record::Attempt(attempt) = &**record else {
                continue;
            };
            for id in &attempt.ids {
                if let Some(tries) = tries.get_mut(id) {
                    tries.count += 1;
                    let step = record.step(*id);
                    tries.last_failure = step.filter(is_failure).or(tries.last_failure.take());
                }
            }
        }
        let of = |id| tries.get(id).cloned().unwrap_or_default();
        ids.iter().map(of).collect()
    }
}

fn is_failure(step: &Step) -> bool {
    matches!(step, Step::Attempted { outcome, .. } if outcome != "delivered")
}

#[cfg(test)]
mod tests {
    use super::super::history::Attempt;
    use super::*;

    #[test]
    fn tries_are_counted_and_the_last_failure_is_kept() {
        let mut history = History::default();
        for (at, class, ids) in [
            (10, "unknown", [1, 2]),
            (20, "limited", [1, 3]),
            (30, "judged", [2, 3]),
        ] {
            history.attempted(Attempt {
                at,
                took: 5,
                status: None,
                class,
                message: None,
                ids: Box::new(ids),
                others: Box::default(),
            });
        }
        let tries = Attempts::new(&history).of(&[1, 2, 3, 4]);
        let told: Vec<_> = (tries.iter())
            .map(|tries| (tries.count, tries.last_failure.as_ref().map(Step::at)))
            .collect();
        assert_eq!(
            told,
            [(2, Some(20)), (2, Some(10)), (2, Some(20)), (0, None)]
        );
    }
}
