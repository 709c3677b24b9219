//! The table of the promise in ARCHITECTURE.md: what keeps each sentence, and what shows it.

use std::fs;
use std::path::Path;

/// A row of the table: the number of the sentence, and what its two other cells name.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub sentence: u32,
    pub kept_in: Vec<String>,
    pub shown_by: Vec<String>,
}

/// The table `| promise | kept in | shown by |`. In its cells only what names a `.rs` file is a
/// path; behind `::` stands a test.
pub fn rows(page: &str) -> Vec<Row> {
    let lines = page
        .lines()
        .skip_while(|line| !line.starts_with("| promise |"));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, promise, kept_in, shown_by, _] = cells[..] else {
            panic!("a row of three cells: {line}");
        };
        let number = promise.split('.').next().unwrap_or_default();
        Row {
            sentence: number.parse().unwrap_or_else(|_| panic!("{line}")),
            kept_in: paths(kept_in),
            shown_by: paths(shown_by),
        }
    });
    rows.collect()
}

fn paths(cell: &str) -> Vec<String> {
    let ticked = cell.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| text.contains(".rs");
    ticked.filter(is_path).map(str::to_owned).collect()
}

/// How many sentences the promise has: the numbered list above the table.
pub fn sentences(page: &str) -> u32 {
    let lines = page.lines().skip_while(|line| *line != "## The promise");
    let lines = lines.take_while(|line| !line.starts_with("| promise |"));
    let first = |line: &str| line.split_once(". ")?.0.parse::<u32>().ok();
    lines.filter_map(first).count() as u32
}

/// What is wrong with the table: a sentence without a row, a row without a file or a test, a path
/// that is not there, a test that its file does not have.
pub fn wrong(page: &str, root: &Path) -> Vec<String> {
    let (mut wrong, rows) = (Vec::new(), rows(page));
    for sentence in 1..=sentences(page) {
        if !rows.iter().any(|row| row.sentence == sentence) {
            wrong.push(format!("sentence {sentence} has no row"));
        }
    }
    for row in rows {
        if row.kept_in.is_empty() || row.shown_by.is_empty() {
            wrong.push(format!("a row without a file or a test: {row:?}"));
        }
        for path in &row.kept_in {
            if source(root, path).is_none() {
                wrong.push(format!("there is no {path}"));
            }
        }
        for shown in &row.shown_by {
            let (path, test) = shown.split_once("::").unwrap_or((shown, ""));
            match source(root, path) {
                None => wrong.push(format!("there is no {path}")),
                Some(text) if !text.contains(&format!("fn {test}(")) => {
                    wrong.push(format!("{path} has no test {test}"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// The file, at the repository or below `src/`.
fn source(root: &Path, path: &str) -> Option<String> {
    let files = [root.join(path), root.join("src").join(path)];
    files.iter().find_map(|file| fs::read_to_string(file).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
## The promise

1. Kept.
2. Not kept.

| promise | kept in | shown by |
|---|---|---|
| 1. kept | `queue/mod.rs`, no `word` | `tests/imports.rs::no_circle_of_files` |
| 1. … | `queue/gone.rs` | `tests/imports.rs::is_not_there`, `tests/gone.rs::x` |
| 1. … | nowhere | `lib.rs::x` |
";

    #[test]
    fn what_the_table_names_is_looked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wrong = wrong(PAGE, root);
        let expected = [
            "sentence 2 has no row",
            "there is no queue/gone.rs",
            "tests/imports.rs has no test is_not_there",
            "there is no tests/gone.rs",
            "a row without a file or a test",
            "lib.rs has no test x",
        ];
        assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
        for (wrong, expected) in wrong.iter().zip(expected) {
            assert!(wrong.starts_with(expected), "{wrong}, not {expected}");
        }
    }
}
