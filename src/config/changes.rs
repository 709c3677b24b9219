//! What differs between two configs, key by key.
//!
//! Invariant: no secret is told. The token and the URL that are stand in files that the config
//! names; of a write key its name is told and where it is.

use super::filters::show_filter;
use super::key::Key;
use super::keys::KEYS;
use super::raw::{FilterEntry, Pair};
use super::settings::Config;
use super::write_keys::{WriteKeyEntry, WriteKeySource};
use crate::admin::Change;

impl Config {
    /// The keys whose values differ in `new` and that a reload puts into effect; write keys, and
    /// pairs of `[event_names]`, `[tag_names]` and `[[mappings]]`, that came or went among them. What changed in a
    /// file that a write key is in is not seen here.
    pub fn takes_effect(&self, new: &Self) -> Vec<Change> {
        let mut changes = self.changed(new, true);
        let (old_keys, new_keys) = (&self.write_key_entries, &new.write_key_entries);
        changes.extend(write_keys(old_keys, new_keys));
        changes.extend(pairs("event_names", &self.event_names, &new.event_names));
        changes.extend(pairs("tag_names", &self.tag_names, &new.tag_names));
        changes.extend(pairs("mappings", &self.mappings, &new.mappings));
        changes.extend(texts(
            "filters",
            &shown(&self.filters),
            &shown(&new.filters),
        ));
        // Of both the order counts.
        let orders = [
            ("mappings", self.mappings() != new.mappings()),
            ("filters", shown(&self.filters) != shown(&new.filters)),
        ];
        for (key, _) in orders.into_iter().filter(|(_, differ)| *differ) {
            if !changes.iter().any(|change| change.key == key) {
                changes.push(Change {
                    key: key.into(),
                    old: Some("one order".into()),
                    new: Some("another".into()),
                });
            }
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
        set.map_or(key.default, |(text, _)| text)
    }

    fn mappings(&self) -> Vec<(&str, &str)> {
        let pairs = self.mappings.iter();
        pairs.map(|p| (p.from.as_str(), p.to.as_str())).collect()
    }
}

/// Those that went or were changed, then those that came.
fn write_keys(old: &[WriteKeyEntry], new: &[WriteKeyEntry]) -> Vec<Change> {
    let named = |of: &[WriteKeyEntry], name: &str| of.iter().find(|e| e.name == name).cloned();
    let shown = |entry: &WriteKeyEntry| match &entry.source {
        WriteKeySource::Config(_) => format!("`{}`", entry.name),
        WriteKeySource::File(file) => format!("`{}` in {}", entry.name, file.display()),
    };
    let change = |old: Option<String>, new: Option<String>| Change {
        key: "ingest.write_keys".to_owned(),
        old,
        new,
    };
    let went = old.iter().filter_map(|old| match named(new, &old.name) {
        Some(new) if new.source == old.source => None,
        Some(new) if shown(&new) == shown(old) => Some(change(
            Some(shown(old)),
            Some("another key of this name".into()),
        )),
        new => Some(change(Some(shown(old)), new.as_ref().map(shown))),
    });
    let came = new.iter().filter(|new| named(old, &new.name).is_none());
    went.chain(came.map(|new| change(None, Some(shown(new)))))
        .collect()
}

fn pairs(key: &str, old: &[Pair], new: &[Pair]) -> Vec<Change> {
    let shown = |pairs: &[Pair]| -> Vec<String> {
        let shown = pairs
            .iter()
            .map(|pair| format!("{:?} = {:?}", pair.from, pair.to));
        shown.collect()
    };
    texts(key, &shown(old), &shown(new))
}

fn shown(filters: &[FilterEntry]) -> Vec<String> {
    filters
        .iter()
        .map(|entry| show_filter(&entry.filter))
        .collect()
}

/// What went, then what came.
fn texts(key: &str, old: &[String], new: &[String]) -> Vec<Change> {
    let missing = |from: &[String], of: &[String]| -> Vec<String> {
        let gone = from.iter().filter(|text| !of.contains(text));
        gone.cloned().collect()
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
    #[test]
    fn write_keys_are_told_by_name_and_never_shown() {
        let key =
            |name: &str, what: &str| format!("[[ingest.write_keys]]\nname = \"{name}\"\n{what}\n");
        let old = config(
            &[
                key("same", "key = \"SECRET-1\""),
                key("turned", "key = \"SECRET-2\""),
                key("moved", "key = \"SECRET-3\""),
                key("gone", "key_file = \"/keys/gone\""),
            ]
            .concat(),
        );
        let new = config(
            &[
                key("new", "key = \"SECRET-5\""),
                key("moved", "key_file = \"/keys/moved\""),
                key("turned", "key = \"SECRET-4\""),
                key("same", "key = \"SECRET-1\""),
            ]
            .concat(),
        );
        assert_eq!(
            lines(&old.takes_effect(&new)),
            [
                "ingest.write_keys: `turned` → another key of this name",
                "ingest.write_keys: `moved` → `moved` in /keys/moved",
                "ingest.write_keys: `gone` in /keys/gone → not set",
                "ingest.write_keys: not set → `new`",
            ]
        );
        assert_eq!(old.needs_restart(&new), []);
        assert_eq!(new.takes_effect(&new), []);
        assert!(!format!("{old:?}{new:?}").contains("SECRET"));
    }
}
