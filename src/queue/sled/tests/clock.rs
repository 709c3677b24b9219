//! What goes by age while the wall clock is not believed, and what is stamped by one that was
//! behind.

use tempfile::TempDir;

use super::prelude::*;
use super::support::block_on;
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;
use crate::queue::contract::{DeadReason, Outcome};
use crate::queue::sled::account::meta;
use crate::queue::sled::disk::store;

const START: Millis = 1_800_000_000_000;
const MONTH: Millis = 31 * 86_400_000;

struct Bench {
    clock: Clock,
    engine: SledEngine,
    queue: Queue,
}

impl Bench {
    fn open(home: &TempDir, clock: &Clock, dead_max_bytes: u64) -> Self {
        let options = Options {
            min_free: 0,
            dead_max_bytes,
            ..Options::new(home.path().join("queue"))
        };
        let engine = SledEngine::open(options, clock.clone()).unwrap();
        Self {
            clock: clock.clone(),
            queue: Queue::sled(engine.clone()),
            engine,
        }
    }

    /// Three events come in, and two of them die.
    async fn fill(&self) -> Entry {
        let mut block = BlockBuilder::new(self.queue.hasher(), self.clock.now());
        for id in ["a", "b", "c"] {
            block.push(id, START / 1000, b"{}");
        }
        let pending = self.queue.enqueue(block.finish()).await.unwrap();
        pending.receipts().await.unwrap();
        let turn = self.queue.turn().await.unwrap();
        let mut claimed = turn.claim(3, 1 << 20).await.unwrap();
        let kept = claimed.pop().unwrap();
        let dead = claimed.into_iter().map(|entry| Settlement {
            entry,
            outcome: Outcome::Dead {
                reason: DeadReason::Refused,
                message: "no".into(),
            },
        });
        turn.settle(dead.collect()).await.unwrap();
        kept
    }

    /// How many are purged after a look at what is due.
    async fn purged(&self) -> u64 {
        self.engine.tick();
        self.queue.barrier().await.unwrap();
        assert_eq!(self.queue.census().imbalance(), 0);
        self.queue.census().purged
    }
}

#[test]
fn nothing_is_purged_by_age_before_something_agrees_and_all_of_it_after() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let bench = Bench::open(&home, &clock, 1 << 30);
        bench.fill().await;
        clock.advance(Duration::from_millis(MONTH.unsigned_abs()));
        assert_eq!(bench.purged().await, 0, "the queue is new");
        bench.engine.trust().observe_date(clock.now());
        assert_eq!(bench.purged().await, 2);
    });
}

/// A quota has nothing to do with the time.
#[test]
fn the_quota_purges_whatever_the_clock_says() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let bench = Bench::open(&home, &Clock::manual(START), 0);
        bench.fill().await;
        assert!(!bench.engine.trust().believed());
        assert_eq!(bench.purged().await, 2);
    });
}

/// What came in or died under a clock a month behind would look a month old when it is mended.
#[test]
fn what_was_stamped_by_a_clock_that_was_behind_is_not_old_when_it_is_mended() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let bench = Bench::open(&home, &clock, 1 << 30);
        bench.engine.trust().observe_date(START);
        clock.set_wall(START - MONTH);
        let waits = bench.fill().await;
        assert_eq!(waits.accepted_at, START);
        clock.set_wall(START);
        assert!(bench.engine.trust().believed());
        assert_eq!(bench.purged().await, 0);
    });
}

/// The row is written with other changes once a minute, by itself every five, and at a stop; and
/// never while the clock is not believed.
#[test]
fn the_clocks_are_noted_for_the_next_start() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let folder = home.path().join("queue");
        // The store is read once the queue has let go of it.
        let noted = || {
            let store = store::Store::open(&folder, &meta::Meta::folder(&folder)).unwrap();
            let (meta, ..) = meta::Meta::of(store).unwrap();
            meta.clocks().unwrap()
        };
        let bench = Bench::open(&home, &clock, 1 << 30);
        bench.queue.close().await.unwrap();
        drop(bench);
        assert_eq!(noted(), None, "nothing agreed");
        let bench = Bench::open(&home, &clock, 1 << 30);
        bench.engine.trust().observe_date(START);
        clock.advance(Duration::from_secs(7));
        bench.queue.close().await.unwrap();
        drop(bench);
        assert_eq!(noted(), Some(clock.read()));
        // Another four days of the same boot, known exactly; then a leap of as many.
        clock.advance(Duration::from_secs(4 * 86_400));
        let bench = Bench::open(&home, &clock, 1 << 30);
        assert!(bench.engine.trust().believed());
        let before = clock.read();
        clock.set_wall(before.wall + 4 * 86_400_000);
        bench.queue.close().await.unwrap();
        drop(bench);
        assert_eq!(noted(), Some(before));
        let bench = Bench::open(&home, &clock, 1 << 30);
        assert!(!bench.engine.trust().believed());
        bench.queue.close().await.unwrap();
    });
}

/// A new queue whose clock was a month behind before anything vouched for it: what it had
/// remembered was forgotten as soon as the clock was right, and sent again.
#[test]
fn what_a_clock_stamped_that_nothing_vouched_for_is_not_old_once_it_is_right() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let behind = Clock::manual(START - MONTH);
        let bench = Bench::open(&home, &behind, 1 << 30);
        bench.fill().await;
        bench.queue.close().await.unwrap();
        drop(bench);
        let clock = Clock::manual(START);
        let bench = Bench::open(&home, &clock, 1 << 30);
        let trust = bench.engine.trust();
        assert!(!trust.believed());
        trust.observe_date(START);
        assert!(trust.believed());
        assert_eq!(bench.purged().await, 0, "nobody knows how old they are");
        let mut block = BlockBuilder::new(bench.queue.hasher(), START);
        block.push("c", START / 1000, b"{}");
        let pending = bench.queue.enqueue(block.finish()).await.unwrap();
        let receipts = pending.receipts().await.unwrap();
        assert_eq!(receipts, [crate::queue::Receipt::Duplicate]);
        let unproven = trust.unproven().expect("what is from before");
        assert_eq!((unproven.line, unproven.since), (3, START));
        // It is remembered, and what is stamped from now on goes by its age.
        bench.queue.close().await.unwrap();
        drop(bench);
        let bench = Bench::open(&home, &clock, 1 << 30);
        assert_eq!(bench.engine.trust().unproven(), Some(unproven));
        clock.advance(Duration::from_millis(MONTH.unsigned_abs()));
        bench.engine.trust().observe_date(clock.now());
        assert_eq!(bench.purged().await, 2);
    });
}
