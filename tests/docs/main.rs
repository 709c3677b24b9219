//! What the documentation says is so.

mod blocks;
mod config;
mod examples;
mod first_hour;
mod help;
mod http;
mod mapping;
mod operations;
#[cfg(feature = "postgres")]
mod postgres;
mod protocol;
mod readme;
mod soaks;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "../daemon/support/mod.rs"]
mod support;
mod try_it;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file of the repository.
fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Whether this program is on the machine.
fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    command.output().is_ok_and(|out| out.status.success())
}

/// The rows of a page's tables whose first cell is code: their cells, as written.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| {
        let inner = line.trim_matches(['|', ' ']);
        // A bar within a cell is written \|.
        let cells = inner.replace("\\|", "\u{0}");
        let cells = cells
            .split('|')
            .map(|cell| cell.trim().replace('\u{0}', "|"));
        cells.collect()
    };
    lines.map(cells).collect()
}

/// The part of a page below this heading, up to the next of its rank or above; `title` is how
/// the heading's line begins.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let at = page.find(&format!("\n{title}"));
    let at = at.unwrap_or_else(|| panic!("there is no {title}")) + 1;
    let rank = title.bytes().take_while(|b| *b == b'#').count();
    let rest = &page[at..];
    let ends = (1..=rank).filter_map(|rank| rest.find(&format!("\n{} ", "#".repeat(rank))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// What stands in backticks, in its order.
fn code(text: &str) -> Vec<String> {
    let pieces = text.split('`').skip(1).step_by(2);
    pieces.map(str::to_owned).collect()
}

/// The fenced blocks of this language, without their fences.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let pieces = page.split("\n```").skip(1).step_by(2);
    let of = |piece: &'a str| piece.strip_prefix(language)?.strip_prefix('\n');
    pieces.filter_map(of).collect()
}
