//! What differs between two configs, key by key. No value of a config is a secret: tokens and
//! URLs that are stand in files that it names.

use super::key::Key;
use super::keys::KEYS;
use super::raw::Pair;
use super::settings::Config;
use crate::admin::Change;

impl Config {
    /// The keys whose values differ in `new` and that a reload puts into effect; pairs of
    /// `[event_names]` and `[[mappings]]` that came or went among them.
    pub fn takes_effect(&self, new: &Self) -> Vec<Change> {
        let mut changes = self.changed(new, true);
        changes.extend(pairs("event_names", &self.event_names, &new.event_names));
        changes.extend(pairs("mappings", &self.mappings, &new.mappings));
        if changes.is_empty() && self.mappings() != new.mappings() {
            changes.push(Change {
                key: "mappings".into(),
                old: Some("one order".into()),
                new: Some("another".into()),
            });
        }
        changes
    }

    /// The keys whose values differ in `new` and that a running daemon keeps until its restart.
    pub fn needs_restart(&self, new: &Self) -> Vec<Change> {
        self.changed(new, false)
    }

    fn changed(&self, new: &Self, reloadable: bool) -> Vec<Change> {
        let keys = KEYS.iter().filter(|key| key.reloadable == reloadable);
        let differ = keys.filter(|key| self.text(key) != new.text(key));
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        differ
            .map(|key| Change {
                key: format!("{}.{}", key.section, key.name),
                old: set(self.text(key)),
                new: set(new.text(key)),
            })
            .collect()
    }

    fn text(&self, key: &Key) -> &str {
        let set = self.texts.get(&(key.section, key.name));
        set.map_or(key.default, String::as_str)
    }

    fn mappings(&self) -> Vec<(&str, &str)> {
        let pairs = self.mappings.iter();
        pairs.map(|p| (p.from.as_str(), p.to.as_str())).collect()
    }
}

/// What went, then what came.
fn pairs(key: &str, old: &[Pair], new: &[Pair]) -> Vec<Change> {
    let missing = |from: &[Pair], of: &[Pair]| -> Vec<String> {
        let there = |pair: &&Pair| {
            !of.iter()
                .any(|p| (&p.from, &p.to) == (&pair.from, &pair.to))
        };
        let gone = from.iter().filter(there);
        gone.map(|pair| format!("{:?} = {:?}", pair.from, pair.to))
            .collect()
    };
    let change = |old: Option<String>, new: Option<String>| Change {
        key: key.to_owned(),
        old,
        new,
    };
    let went = missing(old, new).into_iter().map(|p| change(Some(p), None));
    let came = missing(new, old).into_iter().map(|p| change(None, Some(p)));
    went.chain(came).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::read;

    fn config(text: &str) -> Config {
        read(Some((Path::new("a.toml"), text)), std::iter::empty()).expect("a config")
    }

    fn lines(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn each_key_is_told_where_it_takes_effect() {
        let old = config("[delivery]\nlinger = \"1s\"\n[queue]\nmax_bytes = 8388608\n");
        let new = config("[pinterest]\napp_name = \"ss-a\"\n[delivery]\nmax_in_flight = 3\n");
        assert_eq!(
            lines(&old.takes_effect(&new)),
            [
                "pinterest.app_name: not set → ss-a",
                "delivery.linger: 1s → 200ms",
                "delivery.max_in_flight: 20 → 3",
            ]
        );
        assert_eq!(
            lines(&old.needs_restart(&new)),
            ["queue.max_bytes: 8388608 → 8GiB"]
        );
        assert_eq!(new.takes_effect(&new), []);
    }

    #[test]
    fn names_and_mappings_come_and_go_one_by_one() {
        let mapping = |n: u32| {
            format!("[[mappings]]\nsource = \"a.{n}\"\ndestination = \"properties.{n}\"\n")
        };
        let old = config(&format!(
            "[event_names]\nA = \"a\"\nB = \"b\"\n{}{}",
            mapping(1),
            mapping(2)
        ));
        let new = config(&format!(
            "[event_names]\nA = \"x\"\nB = \"b\"\n{}{}",
            mapping(2),
            mapping(3)
        ));
        assert_eq!(
            lines(&old.takes_effect(&new)),
            [
                "event_names: \"A\" = \"a\" → not set",
                "event_names: not set → \"A\" = \"x\"",
                "mappings: \"a.1\" = \"properties.1\" → not set",
                "mappings: not set → \"a.3\" = \"properties.3\"",
            ]
        );
        let turned = config(&format!("{}{}", mapping(2), mapping(1)));
        let straight = config(&format!("{}{}", mapping(1), mapping(2)));
        assert_eq!(
            lines(&straight.takes_effect(&turned)),
            ["mappings: one order → another"]
        );
    }
}
