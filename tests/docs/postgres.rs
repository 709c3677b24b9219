//! docs/postgres.md: its config is one, and the roles of its connections are those that are asked
//! for. What it quotes and names is looked at with the operator's page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pinrelay::config::load_other;

use super::{blocks, code, read, rows, section};

#[test]
fn its_config_is_taken() {
    let page = read("docs/postgres.md");
    let shown = blocks(&page, "toml");
    assert_eq!(shown.len(), 1, "{shown:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pinrelay.toml");
    fs::write(&file, shown[0]).expect("written");
    let config = load_other(&file).expect("a config");
    let set = config.settings(None).into_iter();
    let set: BTreeSet<_> = set
        .filter(|setting| setting.value != setting.key.default)
        .map(|setting| format!("{}.{}", setting.key.section, setting.key.name))
        .collect();
    let due = ["postgres.url_file", "queue.engine"].map(str::to_owned);
    assert_eq!(set, BTreeSet::from(due));
}

#[test]
fn its_connections_are_those_of_the_source() {
    let page = read("docs/postgres.md");
    let told = rows(section(&page, "## Connections")).into_iter();
    let told: BTreeSet<_> = told.flat_map(|row| code(&row[0])).collect();
    let mut opened = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue/postgres");
    for entry in fs::read_dir(folder).expect("the engine") {
        let path = entry.expect("an entry").path();
        let name = path.to_string_lossy();
        if path.is_dir() || name.contains("_tests") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        for call in [
            ".connect(\"",
            "Link::open(place, \"",
            "Link::open(&place, \"",
            "ask_all(place, \"",
        ] {
            let calls = source.split(call).skip(1);
            opened.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    assert_eq!(told, opened);
}
