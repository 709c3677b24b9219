//! A queue that a release of format 1 left behind is read by every later one. The fixture was
//! made once, by the ignored test below; it holds queued, delivered and dead events, one set
//! apart, marks, sealed generations, and it was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pinrelay::clock::Clock;
use pinrelay::queue::{
    BlockBuilder, DeadReason, Entry, Folder, Mark, Options, Outcome, Queue, Receipt, Settlement,
    Storage, Turn, open, verify,
};

const START: i64 = 1_800_000_000_000;
const EVENTS: u64 = 300;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/queue-format-1")
}

fn options(path: &Path) -> Options {
    Options::new(Storage::Folder(Folder {
        min_free: 0,
        roll_events: 60,
        ..Folder::new(path)
    }))
}

fn body(id: u64) -> String {
    format!("{{\"messageId\":\"m{id}\",\"type\":\"track\",\"event\":\"Product Viewed\"}}")
}

async fn send(queue: &Queue, ids: std::ops::Range<u64>) -> Vec<Receipt> {
    let mut builder = BlockBuilder::new(queue.hasher(), START);
    for id in ids {
        builder.push(&format!("m{id}"), START / 1000, body(id).as_bytes());
    }
    let pending = queue.enqueue(builder.finish()).await.expect("taken");
    pending.receipts().await.expect("committed")
}

/// Of 20 events, one is dead and one set apart; the others are delivered.
fn outcome(seq: usize) -> Outcome {
    match seq % 20 {
        3 => Outcome::Dead {
            reason: DeadReason::Refused,
            message: "Invalid event".into(),
        },
        7 if seq < 20 => Outcome::Deferred { failures: 8 },
        _ => Outcome::Delivered,
    }
}

async fn mark(turn: &Turn, entries: &[Entry]) {
    let events = entries.iter().map(|e| (e.id, "view_content".into()));
    let mark = Mark {
        events: events.collect(),
    };
    turn.mark(mark).await.expect("marked");
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// The name and the bytes of a file as they are on the other side.
type Change<'a> = &'a dyn Fn(&Path, Vec<u8>) -> (String, Vec<u8>);

/// Every file below `from`, packed or unpacked by `change`, below `to`.
fn convert(from: &Path, to: &Path, change: Change<'_>) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_dir() {
            convert(&path, &to.join(name), change);
        } else {
            let (name, bytes) = change(&path, fs::read(&path).expect("a file"));
            fs::write(to.join(name), bytes).expect("written");
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

#[test]
#[ignore = "makes the fixture of a format; run it once for each, before its release"]
fn make_the_fixture() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("queue");
    block_on(async {
        let opened = open(&options(&path), Clock::manual(START)).expect("opened");
        let queue = opened.queue;
        for first in (0..EVENTS).step_by(10) {
            send(&queue, first..first + 10).await;
        }
        let turn = queue.turn().await.expect("ours");
        let mut ended = 0;
        while ended < 100 {
            let claimed = turn.claim(100 - ended, 1 << 20).await.expect("claimed");
            mark(&turn, &claimed).await;
            let settlements = (ended..).zip(claimed).map(|(seq, entry)| Settlement {
                entry,
                outcome: outcome(seq),
            });
            let settlements: Vec<_> = settlements.collect();
            ended += settlements.len();
            turn.settle(settlements).await.expect("settled");
        }
        queue.close().await.expect("closed");
        let opened = open(&options(&path), Clock::manual(START)).expect("opened");
        let queue = opened.queue;
        let turn = queue.turn().await.expect("ours");
        let claimed = turn.claim(30, 1 << 20).await.expect("claimed");
        mark(&turn, &claimed).await;
        // A kill: the files as they are.
        fs::remove_dir_all(fixture()).ok();
        convert(&path, &fixture(), &|path, bytes| {
            let packed = zstd::bulk::compress(&bytes, 19).expect("packed");
            (format!("{}.zst", name(path)), packed)
        });
        queue.close().await.expect("closed");
    });
}

#[test]
fn a_queue_of_format_1_is_read_delivered_and_remembered() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("queue");
    convert(&fixture(), &path, &|path, bytes| {
        let plain = zstd::bulk::decompress(&bytes, 64 << 20).expect("unpacked");
        (name(path).trim_end_matches(".zst").to_owned(), plain)
    });
    let verdict = verify(&options(&path), &Clock::manual(START), &mut |_| {}).expect("readable");
    assert_eq!(
        (verdict.findings.as_slice(), verdict.ledger_imbalance),
        (&[][..], 0)
    );
    block_on(async {
        let opened = open(&options(&path), Clock::manual(START)).expect("opened");
        let queue = opened.queue;
        let census = queue.census();
        assert_eq!(census.imbalance(), 0);
        assert_eq!((census.accepted, census.dead_total()), (EVENTS, 5));
        assert_eq!((census.delivered, census.set_aside), (94, 0));
        assert!(census.in_doubt > 0, "{census:?}");
        let turn = queue.turn().await.expect("ours");
        let mut bodies = BTreeSet::new();
        let mut doubted = 0;
        while bodies.len() < 201 {
            let claim = turn.claim(50, 1 << 20);
            let claimed = tokio::time::timeout(Duration::from_secs(20), claim).await;
            let claimed = claimed.expect("events are left").expect("claimed");
            let mut settlements = Vec::new();
            for entry in claimed {
                doubted += u64::from(entry.sent_as.as_deref() == Some("view_content"));
                bodies.insert(String::from_utf8(entry.body.to_vec()).expect("text"));
                settlements.push(Settlement {
                    entry,
                    outcome: Outcome::Delivered,
                });
            }
            turn.settle(settlements).await.expect("settled");
        }
        // The line from 100 on, and the one that was set apart.
        let due = (100..EVENTS).chain([7]).map(body);
        assert_eq!(bodies, due.collect());
        assert_eq!(doubted, census.in_doubt);
        // Every messageId is known: delivered, dead and queued ones alike.
        let again = send(&queue, 0..EVENTS).await;
        assert!(again.iter().all(|receipt| *receipt == Receipt::Duplicate));
        assert_eq!(queue.census().imbalance(), 0);
        queue.close().await.expect("closed");
    });
}
