//! What the tests of the durable engine share.

use super::prelude::*;
use crate::queue::sled::account::anchor;

pub const START: Millis = 1_800_000_000_000;
pub const DAY: Duration = Duration::from_secs(86_400);

pub fn options(path: &Path) -> Options {
    Options {
        min_free: 0,
        roll_events: 12,
        // A failure of storage is a failure of the test that asks.
        on_failure: Arc::new(|why| eprintln!("storage failed: {why}")),
        ..Options::new(path)
    }
}

pub fn open(options: Options, clock: &Clock) -> (SledEngine, Queue) {
    let engine = SledEngine::open(options, clock.clone())
        .unwrap()
        .confirmed();
    (engine.clone(), Queue::sled(engine))
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn block(queue: &Queue, ids: impl IntoIterator<Item = u64>, body: &str) -> Block {
    let mut builder = BlockBuilder::new(queue.hasher(), START);
    for id in ids {
        builder.push(&format!("m{id}"), START / 1000, body.as_bytes());
    }
    builder.finish()
}

pub async fn send(queue: &Queue, ids: std::ops::Range<u64>, body: &str) -> Vec<Receipt> {
    let pending = queue.enqueue(block(queue, ids, body)).await.unwrap();
    pending.receipts().await.unwrap()
}

/// Claims `n` events and ends them all so.
pub async fn end(queue: &Queue, n: usize, outcome: impl Fn() -> Outcome) {
    let turn = queue.turn().await.unwrap();
    let mut left = n;
    while left > 0 {
        let claimed = turn.claim(left, 1 << 20).await.unwrap();
        left -= claimed.len();
        let ended = claimed.into_iter().map(|entry| Settlement {
            entry,
            outcome: outcome(),
        });
        turn.settle(ended.collect()).await.unwrap();
    }
}

pub fn refused() -> Outcome {
    Outcome::Dead {
        reason: DeadReason::Refused,
        message: "no".into(),
    }
}

/// Until `is`, giving the committer something to do meanwhile; a bounded poll, for the
/// housekeeper tells nobody outside.
pub async fn until(queue: &Queue, what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        queue.barrier().await.unwrap();
    }
}

/// Removes a queue, with what stands beside its folder.
pub fn wipe(path: &Path) {
    let _ = std::fs::remove_file(anchor::path_of(path).unwrap());
    let _ = std::fs::remove_dir_all(path);
}

/// Moves a folder to where a queue is or was.
pub fn put_in_place(from: &Path, path: &Path) {
    wipe(path);
    std::fs::rename(from, path).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    // What stands beside a folder is of the queue that was there before.
    let _ = std::fs::remove_file(anchor::path_of(to).unwrap());
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), target) {
                // The housekeeper put it in place or removed it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

pub fn names(dir: &Path) -> HashSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
