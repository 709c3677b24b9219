//! `pinrelay demo`, as a first-time reader meets it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::{Process, bare, s, within};

/// Processes of ours that name this folder.
fn left_in(folder: &Path) -> Vec<String> {
    let name = folder.to_string_lossy().into_owned();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").expect("a proc").flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(&name) {
            left.push(entry.path().display().to_string());
        }
    }
    left
}

fn start(folder: &Path, args: &[&str]) -> Process {
    let mut command = bare(Path::new(crate::support::PINRELAY));
    // What an operator has set does not concern it.
    command.env("PINRELAY_PINTEREST__TEST", "true");
    command.env("TMPDIR", folder).arg("demo").args(args);
    Process::start(&mut command)
}

#[test]
fn the_demo_adds_up_ends_by_itself_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let ended = start(folder.path(), &[]).ended(s(30));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(begun.elapsed() < s(30));
    for part in [
        "kill -9",
        "The account",
        "no_match_key",
        "refused",
        "It adds up",
    ] {
        assert!(ended.output.contains(part), "{part}: {}", ended.output);
    }
    assert_eq!(left_in(folder.path()), [""; 0]);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_kept_folder_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = start(folder.path(), &["--keep"]).ended(s(30));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let kept = ended
        .output
        .lines()
        .find_map(|line| line.strip_prefix("Kept in "));
    let kept = Path::new(kept.expect("the folder's name"));
    assert!(kept.join("queue").is_dir() && kept.join("log").is_file());
    assert_eq!(left_in(folder.path()), [""; 0]);
}

#[test]
fn a_demo_that_is_stopped_takes_its_processes_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = start(folder.path(), &[]);
    within(s(20), "the kill", || {
        demo.output().contains("kill -9").then_some(())
    });
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.ended(s(10)).code, Some(1));
    within(s(5), "the end of its processes", || {
        left_in(folder.path()).is_empty().then_some(())
    });
}
