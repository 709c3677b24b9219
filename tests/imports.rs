//! Imports go down only. The map is `lib.rs`; this keeps it true.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and all that it may name of this crate.
const MAY: &[(&str, &[&str])] = &[
    ("event", &[]),
    (
        "queue",
        &["event", "clock", "observe", "secret", "lifecycle"],
    ),
    // No clock: it is pure.
    ("transform", &["event"]),
    (
        "deliver",
        &[
            "event",
            "queue",
            "transform",
            "clock",
            "observe",
            "secret",
            "lifecycle",
        ],
    ),
    (
        "ingest",
        &[
            "event",
            "queue",
            "transform",
            "clock",
            "observe",
            "secret",
            "lifecycle",
        ],
    ),
    (
        "admin",
        &[
            "event",
            "queue",
            "deliver",
            "ingest",
            "transform",
            "clock",
            "observe",
            "secret",
            "lifecycle",
            "net",
        ],
    ),
    ("notify", &["clock"]),
    (
        "config",
        &[
            "notify",
            "ingest",
            "deliver",
            "admin",
            "queue",
            "transform",
            "event",
            "clock",
            "secret",
            "lifecycle",
        ],
    ),
    (
        "daemon",
        &[
            "notify",
            "config",
            "ingest",
            "deliver",
            "admin",
            "queue",
            "transform",
            "event",
            "clock",
            "observe",
            "secret",
            "lifecycle",
            "net",
        ],
    ),
    (
        "cli",
        &[
            "notify",
            "daemon",
            "config",
            "ingest",
            "deliver",
            "admin",
            "queue",
            "transform",
            "event",
            "clock",
            "observe",
            "secret",
            "lifecycle",
            "mock_pinterest",
        ],
    ),
    ("mock_pinterest", &["clock"]),
    // Holds the parts to their properties.
    (
        "fuzzing",
        &["config", "ingest", "deliver", "queue", "transform", "event"],
    ),
    // Beside the line. `Millis` is the unit of time.
    ("clock", &[]),
    ("observe", &["clock"]),
    ("secret", &[]),
    ("lifecycle", &[]),
    ("net", &[]),
];

/// Crates that only these parts may name.
const OWNERS: &[(&str, &[&str])] = &[
    (
        "reqwest",
        &[
            "src/deliver/client.rs",
            "src/notify/webhook.rs",
            "src/cli/daemon.rs",
        ],
    ),
    ("sled", &["src/queue/sled/"]),
    ("signal_hook", &["src/lifecycle/"]),
    ("sd_notify", &["src/lifecycle/"]),
    ("tracing_journald", &["src/lifecycle/"]),
    (
        "prometheus",
        &["src/observe/meters.rs", "src/admin/metrics/"],
    ),
    ("ratatui", &["src/cli/top/"]),
    ("crossterm", &["src/cli/top/"]),
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

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some((_, may)) = MAY.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!(
                "{}: `{module}` has no place in the map",
                file.display()
            ));
            continue;
        };
        for path in crate_paths(&code(&file)) {
            let own = path == module || path.starts_with(&format!("{module}::"));
            let allowed = may
                .iter()
                .any(|m| path == *m || path.starts_with(&format!("{m}::")));
            if !own && !allowed {
                wrong.push(format!("{}: crate::{path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn some_crates_have_one_owner() {
    let mut wrong = Vec::new();
    for file in sources() {
        let code = code(&file);
        for (name, owners) in OWNERS {
            let here = file.to_string_lossy().into_owned();
            // A module of ours has the name of the crate that it wraps.
            let ours =
                code.contains(&format!("queue::{name}")) || code.contains(&format!("mod {name};"));
            if !ours && names(&code, name) && !owners.iter().any(|owner| here.starts_with(owner)) {
                wrong.push(format!("{here}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_transform_is_pure() {
    let mut wrong = Vec::new();
    for file in sources()
        .iter()
        .filter(|file| file.starts_with("src/transform"))
    {
        let code = code(file);
        for name in IMPURE {
            if names(&code, name) {
                wrong.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_reader_of_imports_sees_them() {
    let code = "use crate::queue::{Millis, Entry};\nuse crate::{clock, event::Kind};\n\
                fn f() { crate::cli::main() }";
    let found = crate_paths(code);
    assert_eq!(
        found,
        [
            "queue::Millis",
            "queue::Entry",
            "clock",
            "event::Kind",
            "cli::main"
        ]
    );
    assert!(names("use sled::Db;", "sled") && names("let x: sled::Db;", "sled"));
    assert!(!names("use super::sled::Db;", "sled") && !names("pub mod sled;", "sled"));
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 40, "the sources are not where they were");
    files.sort();
    files
}

/// The first folder or file under `src`.
fn module_of(file: &Path) -> String {
    let first = file.components().nth(1).expect("under src");
    let name = first.as_os_str().to_string_lossy().into_owned();
    name.trim_end_matches(".rs").to_owned()
}

/// A file without comments and without what is compiled for its tests alone: those may use
/// what they like.
fn code(file: &Path) -> String {
    let name = file.to_string_lossy();
    if name.contains("tests") || name.ends_with("fixture.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).expect("a source");
    let text = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path after `crate::`, groups spread out; two parts deep.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        // `$crate::` and the like name the same, `my_crate::` would not.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        spread("", &code[at + start.len()..], &mut found);
    }
    found
}

fn spread(before: &str, rest: &str, found: &mut Vec<String>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0usize, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    if !group[start..i].trim().is_empty() {
                        spread(before, &group[start..i], found);
                    }
                    start = i + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let word: String = (rest.chars())
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let path = format!("{before}{word}");
    match rest[word.len()..].strip_prefix("::") {
        Some(more) if before.is_empty() => spread(&format!("{path}::"), more, found),
        _ => found.push(path),
    }
}

/// Whether `name` is named as a crate, and not as a part of ours.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}
