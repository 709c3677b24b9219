//! The longer runs of CONTRIBUTING.md: what they ask for by name is there, for `cargo test` passes where no
//! test has that name.

use std::fs;
use std::path::{Path, PathBuf};

use super::read;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the package") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// Whether a test's path, `queue::sled::tests::damage::name`, would hold `filter`: by the names of
/// files and of functions.
fn is_there(filter: &str) -> bool {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    files.iter().any(|file| {
        let path = file.with_extension("").to_string_lossy().replace('/', "::");
        let text = fs::read_to_string(file).expect("a source");
        let has_tests = text.contains("#[test]") || text.contains("#[tokio::test");
        let functions = text.split("fn ").skip(1);
        let mut names = functions.map(|rest| rest.split(['(', '<']).next().unwrap_or_default());
        has_tests && (path.contains(filter) || names.any(|name| name.contains(filter)))
    })
}

#[test]
fn what_the_longer_runs_ask_for_by_name_is_there() {
    let page = read("CONTRIBUTING.md");
    let runs = page
        .lines()
        .filter(|line| line.contains("cargo test") && line.contains("--lib "));
    let mut count = 0;
    for run in runs {
        let (_, rest) = run.split_once("--lib ").expect("it was looked for");
        let filter = rest.split_whitespace().next().unwrap_or("--");
        if !filter.starts_with("--") {
            count += 1;
            assert!(is_there(filter), "no test is called {filter}: {run}");
        }
    }
    assert!(count >= 4, "the longer runs are not where they were");
    assert!(!is_there("damage_tests"), "what is found by nothing");
}
