//! Starts that were cut short leave nothing that the next one raises an alarm about, and nothing
//! that the operator cannot explain.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::prelude::*;
use super::support::{block_on, copy};
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;
use crate::queue::sled::tests::damage::check;

/// What is logged while `run` runs, on this thread.
pub fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(lock(&log.0).clone()).unwrap()
}

fn open(path: &Path) -> Queue {
    let options = Options {
        min_free: 0,
        ..Options::new(path)
    };
    Queue::sled(SledEngine::open(options, Clock::manual(1_800_000_000_000)).unwrap())
}

fn starts_and_stops(path: &Path) -> String {
    logged(|| block_on(async { open(path).close().await.unwrap() }))
}

/// A queue with one event.
fn one_event(path: &Path) {
    block_on(async {
        let queue = open(path);
        let mut block = BlockBuilder::new(queue.hasher(), 0);
        block.push("a", 0, b"{}");
        let receipts = queue
            .enqueue(block.finish())
            .await
            .unwrap()
            .receipts()
            .await;
        assert_eq!(receipts.unwrap(), [crate::queue::Receipt::Queued]);
        queue.close().await.unwrap();
    });
}

#[test]
fn a_first_start_that_was_cut_short_at_any_file_is_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let made = home.path().join("made");
    starts_and_stops(&made);
    let format = std::fs::read(made.join("format")).unwrap();
    // `high` missing, empty or torn; `meta` not there or unborn.
    for turn in 0..4 {
        let path = home.path().join(turn.to_string());
        std::fs::create_dir_all(path.join("gen")).unwrap();
        std::fs::write(path.join("format"), &format).unwrap();
        if turn < 3 {
            std::fs::write(path.join("high"), vec![0; 700 * turn]).unwrap();
        }
        if turn > 1 {
            std::fs::create_dir(path.join("meta")).unwrap();
            std::fs::write(path.join("meta/db"), vec![0; 100]).unwrap();
        }
        let verdict = check(&path).unwrap();
        assert!(verdict.findings.is_empty(), "{turn}: {verdict}");
        assert!(verdict.notes[0].contains("cut short"), "{turn}: {verdict}");
        let log = starts_and_stops(&path);
        assert!(
            !log.contains("ERROR") && log.contains("holds"),
            "{turn}: {log}"
        );
        let verdict = check(&path).unwrap();
        assert!(
            verdict.findings.is_empty() && verdict.notes.is_empty(),
            "{turn}: {verdict}"
        );
    }
}

#[test]
fn a_torn_high_beside_an_event_is_damage() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("queue");
    one_event(&path);
    std::fs::write(path.join("high"), vec![0; 700]).unwrap();
    std::fs::remove_dir_all(path.join("meta")).unwrap();
    let verdict = check(&path).unwrap();
    assert!(
        verdict.findings.iter().any(|f| f.object == "high"),
        "{verdict}"
    );
    assert!(
        verdict.findings.iter().any(|f| f.object == "meta"),
        "{verdict}"
    );
    let log = starts_and_stops(&path);
    assert!(
        log.contains("ERROR") && log.contains("high: it is damaged"),
        "{log}"
    );
}

#[test]
fn a_copy_whose_store_is_gone_is_removed_or_kept_by_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("queue");
    one_event(&path);
    let copies = |path: &Path| -> Vec<String> {
        let names = std::fs::read_dir(path.join("quarantine")).unwrap();
        let mut names: Vec<_> = names
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let stale = path.join("quarantine/gen-0000000007.copy");
    copy(&path.join("gen/0000000001"), &stale);
    let other = home.path().join("other");
    copy(&path, &other);
    let log = starts_and_stops(&path);
    assert!(
        !log.contains("ERROR") && log.contains("not needed any more"),
        "{log}"
    );
    assert_eq!(copies(&path), [""; 0]);
    // The same where something is missing.
    std::fs::remove_dir_all(other.join("gen/0000000001")).unwrap();
    let log = starts_and_stops(&other);
    assert!(
        log.contains("gen-0000000007.copy: a store as") && log.contains("gen-0000000007.copy.1"),
        "{log}"
    );
    assert_eq!(copies(&other), ["gen-0000000007.copy.1"]);
}
