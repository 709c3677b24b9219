//! What whoever watches over the queue may go by: its heartbeat, and what an opening tells.

use std::sync::Mutex;

use tempfile::TempDir;

use super::prelude::*;
use super::support::block_on;
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;

const START: Millis = 1_800_000_000_000;

#[test]
fn a_queue_that_works_has_a_heartbeat_and_a_closed_one_has_none() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let options = Options::new(home.path().join("queue"));
        let queue = Queue::sled(SledEngine::open(options, Clock::manual(START)).unwrap());
        queue.heartbeat().await.unwrap();
        queue.close().await.unwrap();
        assert!(queue.heartbeat().await.is_err());
    });
}

#[test]
fn an_opening_tells_each_store_as_its_turn_comes() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let path = home.path().join("queue");
        let told = Arc::new(Mutex::new(Vec::new()));
        let open = || {
            let told = told.clone();
            let options = Options {
                min_free: 0,
                on_progress: Arc::new(move |what: &str| lock(&told).push(what.to_owned())),
                ..Options::new(&path)
            };
            Queue::sled(SledEngine::open(options, Clock::manual(START)).unwrap())
        };
        let queue = open();
        let mut builder = BlockBuilder::new(queue.hasher(), START);
        builder.push("m1", START / 1000, b"{}");
        let pending = queue.enqueue(builder.finish()).await.unwrap();
        pending.receipts().await.unwrap();
        queue.close().await.unwrap();
        assert_eq!(*lock(&told), Vec::<String>::new());
        open().close().await.unwrap();
        assert_eq!(*lock(&told), ["reading meta", "reading gen/0000000001"]);
    });
}
