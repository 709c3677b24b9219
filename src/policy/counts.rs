//! What each rule did, and the policy in effect.
//!
//! Invariant: a rule's counts outlive a reload, and there are never more of them than `MOST`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::judge::{Policy, Reason, Refusal};
use super::options::Filter;
use crate::clock::Millis;
use crate::event::Kind;

/// Rules that are counted apart; those of a config that come later share one count.
const MOST: usize = 64;
const OTHERS: &str = "others";

/// What a rule did since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why it keeps events back; `None`: a filter that lets them go.
    pub reason: Option<Reason>,
    /// Its name.
    pub rule: Arc<str>,
    /// Events that it kept back.
    pub kept_back: u64,
    /// Events that it meant, kept back or not, since it says what it says.
    pub matched: u64,
    /// When it meant one last since the start, wall clock.
    pub last_matched: Option<Millis>,
    /// Events that were judged since then.
    pub judged: u64,
    /// Since when that is, wall clock.
    pub since: Millis,
    /// Whether it is in effect.
    pub in_effect: bool,
}

#[derive(Default)]
struct Count {
    kept_back: AtomicU64,
    matched: AtomicU64,
    /// Wall clock; 0: never.
    last_matched: AtomicI64,
}

/// A rule that is or was in effect.
struct Row {
    reason: Option<Reason>,
    count: Arc<Count>,
    /// What it says, if it is a filter.
    filter: Option<Filter>,
    /// What had been judged when it came, and what others of its name had meant.
    judged_before: u64,
    matched_before: u64,
    since: Millis,
    in_effect: bool,
}

#[derive(Default)]
struct State {
    policy: Option<Arc<Policy>>,
    rows: BTreeMap<Arc<str>, Row>,
}

/// The policy in effect, which a reload replaces for what comes next, and the counts of its rules.
#[derive(Clone)]
pub struct SharedPolicy(Arc<Shared>);

struct Shared {
    state: RwLock<State>,
    judged: AtomicU64,
    is_limited: Limited,
}

/// Whether limited data processing is due where a line comes from.
pub type Limited = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Every event goes.
impl Default for SharedPolicy {
    fn default() -> Self {
        Self::new(Arc::new(|_| false))
    }
}

/// The policy as it was at one moment, with the counts that it adds to.
#[derive(Clone)]
pub struct InEffect {
    policy: Arc<Policy>,
    shared: SharedPolicy,
}

impl SharedPolicy {
    /// Every event goes, until a policy is set.
    pub fn new(is_limited: Limited) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::default(),
            judged: AtomicU64::new(0),
            is_limited,
        }))
    }

    /// Puts another policy in effect. `now`: wall clock.
    pub fn set(&self, policy: Policy, now: Millis) {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        for row in state.rows.values_mut() {
            row.in_effect = false;
        }
        let judged = self.0.judged.load(Ordering::Relaxed);
        for (reason, name, filter) in policy.rules() {
            let row = state.row(name, reason, judged, now);
            row.in_effect = true;
            if row.filter.as_ref() == filter {
                continue;
            }
            // Another filter under the same name: whether it means anything is yet to be seen.
            let is_another = row.filter.is_some();
            row.matched_before = row.count.matched.load(Ordering::Relaxed);
            row.count.last_matched.store(0, Ordering::Relaxed);
            (row.judged_before, row.since) = (judged, now);
            (row.filter, row.reason) = (filter.cloned(), reason);
            let is_named = filter.is_some_and(|filter| filter.name.is_some());
            if is_another && !is_named {
                // By its place alone: what stood there before is another rule.
                let kept_back = row.count.kept_back.swap(0, Ordering::Relaxed);
                let others = state.row(&OTHERS.into(), Some(Reason::Filtered), judged, now);
                others
                    .count
                    .kept_back
                    .fetch_add(kept_back, Ordering::Relaxed);
            }
        }
        state.policy = (!policy.is_empty()).then(|| Arc::new(policy));
    }

    /// What is in effect; `None`: every event goes.
    pub fn get(&self) -> Option<InEffect> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let policy = state.policy.clone()?;
        Some(InEffect {
            policy,
            shared: self.clone(),
        })
    }

    /// What each rule did, by its name.
    pub fn kept(&self) -> Vec<Kept> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let judged = self.0.judged.load(Ordering::Relaxed);
        let rows = state.rows.iter().map(|(rule, row)| Kept {
            reason: row.reason,
            rule: rule.clone(),
            kept_back: row.count.kept_back.load(Ordering::Relaxed),
            matched: row.count.matched.load(Ordering::Relaxed) - row.matched_before,
            last_matched: Some(row.count.last_matched.load(Ordering::Relaxed)).filter(|at| *at > 0),
            judged: judged - row.judged_before.min(judged),
            since: row.since,
            in_effect: row.in_effect,
        });
        rows.collect()
    }

    fn count(&self, rule: &Arc<str>, reason: Option<Reason>, now: Millis) -> Arc<Count> {
        {
            let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(row) = state.rows.get(rule) {
                return row.count.clone();
            }
        }
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let judged = self.0.judged.load(Ordering::Relaxed);
        state.row(rule, reason, judged, now).count.clone()
    }
}

impl State {
    fn row(
        &mut self,
        rule: &Arc<str>,
        reason: Option<Reason>,
        judged: u64,
        now: Millis,
    ) -> &mut Row {
        let is_known = self.rows.contains_key(rule);
        let rule = match self.rows.len() < MOST || is_known {
            true => rule.clone(),
            false => OTHERS.into(),
        };
        let row = self.rows.entry(rule).or_insert_with(|| Row {
            reason,
            count: Arc::default(),
            filter: None,
            judged_before: judged,
            matched_before: 0,
            since: now,
            in_effect: false,
        });
        row.reason = row.reason.or(reason);
        row
    }
}

impl InEffect {
    /// Whether an event goes, counted. See [`Policy::judge`]; `now`: wall clock.
    ///
    /// # Errors
    /// What keeps it back.
    pub fn judge(&self, kind: Kind, line: &[u8], now: Millis) -> Result<(), Refusal> {
        let is_limited = || (self.shared.0.is_limited)(line);
        self.shared.0.judged.fetch_add(1, Ordering::Relaxed);
        let judged = self.policy.judge(kind, line, &is_limited, &mut |rule| {
            let count = self.shared.count(rule, None, now);
            count.matched.fetch_add(1, Ordering::Relaxed);
            count.last_matched.store(now, Ordering::Relaxed);
        });
        if let Err(refusal) = &judged {
            let count = self.shared.count(&refusal.rule, Some(refusal.reason), now);
            count.kept_back.fetch_add(1, Ordering::Relaxed);
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Filter, Options};

    fn dropping(events: &[&str]) -> Policy {
        let filter = |event: &&str| Filter {
            name: None,
            events: vec![(*event).to_owned()],
            kinds: Vec::new(),
            conditions: Vec::new(),
            bots: false,
            action: Action::Drop,
        };
        Policy::new(&Options {
            filters: events.iter().map(filter).collect(),
            ..Options::default()
        })
        .unwrap()
    }

    #[test]
    fn counts_outlive_a_reload_and_are_bounded() {
        let shared = SharedPolicy::default();
        assert!(shared.get().is_none());
        let judge = |event: &str, now| {
            let line = format!(r#"{{"messageId":"m","type":"track","event":"{event}"}}"#);
            let in_effect = shared.get().unwrap();
            in_effect.judge(Kind::Track, line.as_bytes(), now).is_ok()
        };
        shared.set(dropping(&["A", "B"]), 5);
        assert_eq!([judge("A", 6), judge("C", 7)], [false, true]);
        // The same name, and another filter.
        shared.set(dropping(&["C"]), 8);
        let first = shared.kept()[0].clone();
        assert_eq!((first.kept_back, first.matched, first.since), (0, 0, 8));
        assert_eq!(first.last_matched, None);
        assert_eq!([judge("A", 9), judge("C", 10)], [true, false]);
        shared.set(dropping(&["C"]), 10);
        let kept = shared.kept();
        let told = kept
            .iter()
            .map(|k| (&*k.rule, k.kept_back, k.matched, k.judged, k.in_effect));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("filters[1]", 1, 1, 2, true),
                ("filters[2]", 0, 0, 4, false),
                ("others", 1, 0, 2, false)
            ]
        );
        assert_eq!((kept[0].since, kept[0].last_matched), (8, Some(10)));
        let many: Vec<String> = (0..100).map(|n| format!("E{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        shared.set(dropping(&many), 11);
        assert!(!judge("E99", 12));
        let kept = shared.kept();
        assert!(kept.len() <= MOST + 1, "{}", kept.len());
        // Those of the first place, and that of the last.
        let others = kept.iter().find(|k| &*k.rule == OTHERS).unwrap();
        assert_eq!(others.kept_back, 3);
        shared.set(dropping(&[]), 13);
        assert!(shared.get().is_none());
    }
}
