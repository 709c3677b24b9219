//! docs/config.md against the table of keys.

use std::collections::BTreeMap;

use pinrelay::config::{KEYS, Kind};

use super::{read, rows};

#[test]
fn every_key_is_documented_as_it_is_and_no_other() {
    let page = read("docs/config.md");
    let mut section = String::new();
    let mut told = BTreeMap::new();
    for part in page.split("\n## ").skip(1) {
        let title = part.lines().next().unwrap_or_default();
        let in_brackets = title
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        if let Some((name, _)) = in_brackets {
            name.clone_into(&mut section);
        }
        for cells in rows(part) {
            let [name, kind, default, when, ..] = &cells[..] else {
                panic!("[{section}] {cells:?}: key, type, default, when and text are needed");
            };
            let row = [kind, default, when].map(|cell| cell.trim_matches('`').to_owned());
            let key = (section.clone(), name.trim_matches('`').to_owned());
            assert!(
                told.insert(key, row).is_none(),
                "[{section}] {name} stands twice"
            );
        }
    }
    for key in KEYS {
        let row = told.remove(&(key.section.to_owned(), key.name.to_owned()));
        let row = row.unwrap_or_else(|| panic!("[{}] {} is missing", key.section, key.name));
        let when = if key.reloadable { "reload" } else { "restart" };
        let default = match (key.default, key.kind) {
            ("", Kind::List) => "[]",
            ("", _) => "\"\"",
            (default, _) => default,
        };
        assert_eq!(
            row,
            [key.kind.name(), default, when],
            "[{}] {}",
            key.section,
            key.name
        );
        let range = key
            .doc
            .split("From ")
            .nth(1)
            .and_then(|rest| rest.split('.').next());
        if let Some(range) = range {
            let text = page
                .lines()
                .find(|l| l.starts_with(&format!("| `{}` ", key.name)) && l.contains(range));
            assert!(
                text.is_some(),
                "[{}] {}: from {range}",
                key.section,
                key.name
            );
        }
    }
    told.retain(|(section, _), _| {
        !["event_names", "tag_names", "[mappings", "[filters"].contains(&section.as_str())
    });
    assert_eq!(told, BTreeMap::new(), "documented, and not there");
}
