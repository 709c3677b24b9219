//! Custom keys that the destination refused, remembered for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::item::StrippedKeys;

/// How long a key is left out before it is tried again.
const REMEMBERED: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Strip {
    until: BTreeMap<String, Instant>,
    logged: BTreeSet<String>,
}

impl Strip {
    /// Remembers that these keys were refused; says which of them are news to the operator.
    pub fn refused(&mut self, keys: &[String], now: Instant) -> Vec<String> {
        for key in keys {
            self.until.insert(key.clone(), now + REMEMBERED);
        }
        let new = keys.iter().filter(|key| self.logged.insert((*key).clone()));
        new.cloned().collect()
    }

    /// What the transform is to leave out now.
    pub fn now(&mut self, now: Instant) -> StrippedKeys {
        self.until.retain(|_, until| *until > now);
        StrippedKeys::these(self.until.keys().cloned())
    }

    /// A new config may have mended it.
    pub fn forget(&mut self) {
        self.until.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_left_out_for_an_hour_and_told_once() {
        let start = Instant::now();
        let mut strip = Strip::default();
        let tier = ["tier".to_owned()];
        assert_eq!(strip.refused(&tier, start), tier);
        let later = start + REMEMBERED - Duration::from_secs(1);
        let keys = strip.now(later);
        assert!(keys.strips("tier") && keys.strips("tier") && !keys.strips("gift"));
        assert_eq!(keys.counts().collect::<Vec<_>>(), [("tier", 2)]);
        assert!(!strip.now(start + REMEMBERED).strips("tier"));
        assert!(strip.refused(&tier, start).is_empty(), "told before");
    }
}
