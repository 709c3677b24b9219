//! Imports go down only, within a folder as between the modules. The map is `lib.rs`, the list is
//! ARCHITECTURE.md; this keeps both true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[path = "imports/code.rs"]
mod code;
#[path = "imports/graph.rs"]
mod graph;
#[path = "imports/paths.rs"]
mod paths;
#[path = "imports/promise.rs"]
mod promise;
#[path = "imports/tables.rs"]
mod tables;

use code::{sources, with_texts, without_tests, without_texts};

/// Crates that only these parts may name.
const OWNERS: &[(&str, &[&str])] = &[
    (
        "reqwest",
        &[
            "deliver/pinterest/client.rs",
            "notify/webhook.rs",
            "cli/daemon.rs",
            "cli/send/http/mod.rs",
        ],
    ),
    ("sled", &["queue/sled/"]),
    ("tokio_postgres", &["queue/postgres/"]),
    ("tokio_postgres_rustls", &["queue/postgres/"]),
    ("signal_hook", &["lifecycle/"]),
    ("sd_notify", &["lifecycle/"]),
    ("tracing_journald", &["lifecycle/"]),
    ("prometheus", &["observe/meters.rs", "admin/metrics/"]),
    ("ratatui", &["cli/top/"]),
    ("crossterm", &["cli/top/", "cli/screen.rs"]),
    ("hyper", &["ingest/http/server.rs"]),
    ("tokio_rustls", &["ingest/http/server.rs"]),
    ("flate2", &["ingest/http/", "cli/source.rs"]),
];

/// How a command reaches stdout and stderr: through one file, which keeps what others wrote from
/// steering a terminal, and knows a reader that has gone from a failure.
const PRINTING: &[&str] = &[
    "stdout().lock",
    "println!",
    "eprintln!",
    "print!(",
    "eprint!(",
];

/// What the transform must do without.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::io",
    "std::env",
    "std::time",
    "tracing",
];

/// Folders that know no destination by its name, and within them the one that does, with the page
/// that names that folder.
const NAMELESS: &[&str] = &[
    "queue/",
    "ingest/",
    "observe/",
    "lifecycle/",
    "net/",
    "deliver/",
];
const NAMED: &[&str] = &["deliver/pinterest/", "deliver/mod.rs"];

/// The table of the modules is exactly what they import of each other, and each imports only
/// from the rows above its own.
#[test]
fn imports_go_down_only() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, imports) in graph::graph(&without_tests(&sources())) {
        if file == "lib.rs" {
            continue;
        }
        let own = module_of(&file);
        let others = used.entry(own.clone()).or_default();
        let imports = imports.keys().map(|to| module_of(to));
        others.extend(imports.filter(|module| *module != own));
    }
    let mut wrong = Vec::new();
    let mut above = BTreeSet::new();
    for tables::Row { module, imports } in tables::modules(&tables::page()) {
        let used = used.remove(&module).unwrap_or_else(|| {
            wrong.push(format!("there is no module {module}"));
            BTreeSet::new()
        });
        for more in used.difference(&imports) {
            wrong.push(format!(
                "{module} imports {more}, which its row does not say"
            ));
        }
        for less in imports.difference(&used) {
            wrong.push(format!("{module} does not import {less}, as its row says"));
        }
        for below in imports.difference(&above) {
            wrong.push(format!("{module} imports {below}, which stands below it"));
        }
        above.insert(module);
    }
    wrong.extend(used.keys().map(|module| format!("{module} has no row")));
    assert!(
        wrong.is_empty(),
        "ARCHITECTURE.md, its table of modules: {wrong:#?}"
    );
}

/// A circle is one file in several pieces: none of them is understood without the others.
#[test]
fn no_circle_of_files() {
    let graph = graph::graph(&without_tests(&sources()));
    let circles = graph::circles(&graph).into_iter();
    let told: Vec<_> = circles.map(|circle| graph::told(&graph, &circle)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// The layers that ARCHITECTURE.md draws within folders.
#[test]
fn imports_go_down_the_layers_of_a_folder() {
    let sources = without_tests(&sources());
    let graph = graph::graph(&sources);
    let layers = tables::layers(&tables::page());
    let wrong: Vec<_> = (layers.iter())
        .flat_map(|layers| layers.wrong(&sources, &graph))
        .collect();
    assert!(!layers.is_empty(), "the layers are not where they were");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each sentence of the promise names the files that keep it and the tests that show it.
#[test]
fn what_the_promise_names_is_there() {
    let page = tables::page();
    assert!(
        promise::sentences(&page) > 0,
        "the promise is not where it was"
    );
    let wrong = promise::wrong(&page, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(wrong.is_empty(), "ARCHITECTURE.md, the promise: {wrong:#?}");
}

/// Another destination is another folder beside `deliver/pinterest`, and a change nowhere else.
#[test]
fn few_know_the_destination_by_its_name() {
    let mut wrong = Vec::new();
    for (file, source) in without_tests(&sources()) {
        let is_nameless = NAMELESS.iter().any(|folder| file.starts_with(folder));
        if !is_nameless || NAMED.iter().any(|named| file.starts_with(named)) {
            continue;
        }
        let code = with_texts(&source).to_lowercase();
        let lines = code.lines().zip(1..);
        let lines = lines.filter(|(line, _)| line.contains("pinterest"));
        wrong.extend(lines.map(|(line, number)| format!("{file}:{number}: {}", line.trim())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn some_crates_have_one_owner() {
    let mut wrong = Vec::new();
    for (file, source) in without_tests(&sources()) {
        let code = without_texts(&source);
        for (name, owners) in OWNERS {
            // A module of ours has the name of the crate that it wraps.
            let ours =
                code.contains(&format!("queue::{name}")) || code.contains(&format!("mod {name};"));
            if !ours && names(&code, name) && !owners.iter().any(|owner| file.starts_with(owner)) {
                wrong.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn people_are_spoken_to_through_one_file() {
    let mut wrong = Vec::new();
    for (file, source) in without_tests(&sources()) {
        if ["cli/text.rs", "cli/stdout.rs"].contains(&file.as_str()) {
            continue;
        }
        let code = without_texts(&source);
        let found = PRINTING.iter().filter(|call| code.contains(**call));
        wrong.extend(found.map(|call| format!("{file}: {call}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_transform_is_pure() {
    let mut wrong = Vec::new();
    for (file, source) in without_tests(&sources()) {
        if !file.starts_with("transform/") {
            continue;
        }
        let code = without_texts(&source);
        let impure = IMPURE.iter().filter(|name| names(&code, name));
        wrong.extend(impure.map(|name| format!("{file}: {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_are_told_from_parts_of_ours() {
    assert!(names("use sled::Db;", "sled") && names("let x: sled::Db;", "sled"));
    assert!(!names("use super::sled::Db;", "sled") && !names("pub mod sled;", "sled"));
}

/// The first folder or file under `src`.
fn module_of(file: &str) -> String {
    let first = file.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// Whether `name` is named as a crate, and not as a part of ours.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}
