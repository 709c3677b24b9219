//! One suite for every engine: random operations, reopening included, in lockstep with the
//! reference engine; and what only the one in a folder can show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::bench_tests::{
    Bench, Memory, Pairs, Rules, START, Sled, Subject, block_on, claimable, crash_image, seen,
    shown, whereabouts,
};
#[cfg(feature = "postgres")]
use super::postgres_bench_tests::{Postgres, block_on_postgres};
use super::sled::{Options, SledEngine};
use super::*;
use crate::clock::Clock;

#[derive(Debug, Clone)]
enum Op {
    /// Ids from a small pool, so that duplicates are common, with one of a few bodies.
    Enqueue(Vec<(u8, u8)>),
    Claim {
        events: usize,
        bytes: usize,
    },
    Mark(Vec<usize>, u8),
    Doubt(Vec<usize>),
    Release(Vec<usize>),
    Settle(Vec<(usize, u8)>),
    /// Of the dead letters, by their place among them.
    Revive(Vec<usize>),
    Purge(Vec<usize>),
    /// The operator has the last dead stay dead.
    KeepDead,
    /// Ids of the pool, wherever they are, also in hand.
    Forget(Vec<u8>, bool),
    /// One id of the pool, wherever its event is.
    Drop(u8),
    /// Ids of the pool, whatever became of them, with one of a few bodies.
    Import(Vec<(u8, u8)>),
    /// The right to deliver goes to another. Whoever had it goes on for a while: before the other
    /// begins, or after.
    Turn {
        late: bool,
    },
    /// A stop in order.
    Reopen,
    /// Kill -9: the files as they are.
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let some = || prop::collection::vec(0usize..40, 1..6);
    let op = prop_oneof![
        4 => prop::collection::vec((0u8..60, 0u8..3), 1..9).prop_map(Op::Enqueue),
        3 => (1usize..8, prop_oneof![Just(40usize), Just(1 << 20)])
            .prop_map(|(events, bytes)| Op::Claim { events, bytes }),
        2 => (some(), 0u8..3).prop_map(|(at, name)| Op::Mark(at, name)),
        1 => some().prop_map(Op::Doubt),
        1 => some().prop_map(Op::Release),
        4 => prop::collection::vec((0usize..40, 0u8..6), 1..6).prop_map(Op::Settle),
        2 => some().prop_map(Op::Revive),
        2 => some().prop_map(Op::Purge),
        1 => Just(Op::KeepDead),
        2 => (prop::collection::vec(0u8..60, 1..20), any::<bool>())
            .prop_map(|(ids, is_dry_run)| Op::Forget(ids, is_dry_run)),
        2 => (0u8..60).prop_map(Op::Drop),
        2 => prop::collection::vec((0u8..60, 0u8..3), 1..6).prop_map(Op::Import),
        1 => any::<bool>().prop_map(|late| Op::Turn { late }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..40)
}

fn options(path: PathBuf) -> Options {
    Options {
        min_free: 0,
        roll_events: 12,
        ..Options::new(path)
    }
}

fn open(path: &Path, clock: &Clock) -> SledEngine {
    let engine = SledEngine::open(options(path.into()), clock.clone()).unwrap();
    engine.confirmed()
}

/// The usual memory, and pieces so small that there are several.
fn rules() -> Rules {
    Rules {
        dedup_window: Duration::from_secs(7 * 86_400),
        dead_retention: Duration::from_secs(30 * 86_400),
        piece_events: 12,
    }
}

async fn lockstep<B: Bench>(ops: Vec<Op>) {
    let clock = Clock::manual(START);
    let (mut reference, queue) = Memory::open(&clock, rules()).await;
    let mut model = Subject::new(queue).await;
    let (mut bench, queue) = B::open(&clock, rules()).await;
    let mut real = Subject::new(queue).await;
    let mut pairs = Pairs::default();
    for op in ops {
        clock.advance(Duration::from_millis(7));
        let now = clock.now();
        match &op {
            Op::Enqueue(events) => {
                let expected = model.enqueue(events, now).await;
                assert_eq!(real.enqueue(events, now).await, expected, "{op:?}");
            }
            Op::Claim { events, bytes } => {
                if !claimable(&model.queue.census(), model.held.len()) {
                    continue;
                }
                let expected = model.turn.claim(*events, *bytes).await.unwrap();
                let claimed = real.turn.claim(*events, *bytes).await.unwrap();
                assert_eq!(
                    claimed.iter().map(seen).collect::<Vec<_>>(),
                    expected.iter().map(seen).collect::<Vec<_>>(),
                    "{op:?}"
                );
                pairs.claimed(&expected, &claimed);
                model.held.extend(expected);
                real.held.extend(claimed);
            }
            Op::Mark(at, name) => {
                let name: Arc<str> = format!("name-{name}").into();
                let mut forgotten = Vec::new();
                for subject in [&model, &real] {
                    let named = |id: &EntryId| {
                        let held = subject.held.iter().find(|entry| entry.id == *id).unwrap();
                        (*id, held.sent_as.clone().unwrap_or_else(|| name.clone()))
                    };
                    let events = subject.ids(at).iter().map(named).collect();
                    let told = subject.turn.mark(Mark { events }).await.unwrap();
                    forgotten.push(told);
                }
                let paired = forgotten[0].iter().map(|id| pairs.of(*id).unwrap());
                assert_eq!(forgotten[1], paired.collect::<Vec<_>>(), "{op:?}");
            }
            Op::Doubt(at) => {
                model.turn.doubt(&model.ids(at));
                real.turn.doubt(&real.ids(at));
            }
            Op::Release(at) => {
                model.turn.release(&model.ids(at));
                real.turn.release(&real.ids(at));
            }
            Op::Settle(at) => {
                model.settle(at).await;
                real.settle(at).await;
            }
            Op::Revive(at) => {
                let expected = model.queue.retry(model.some_dead(at).await).await.unwrap();
                let retried = real.queue.retry(real.some_dead(at).await).await.unwrap();
                assert_eq!(retried, expected, "{op:?}");
            }
            Op::Purge(at) => {
                let expected = model.queue.purge(model.some_dead(at).await).await.unwrap();
                let purged = real.queue.purge(real.some_dead(at).await).await.unwrap();
                assert_eq!(purged, expected, "{op:?}");
            }
            Op::KeepDead => {
                model.queue.keep_dead().await.unwrap();
                real.queue.keep_dead().await.unwrap();
            }
            Op::Forget(ids, is_dry_run) => {
                let expected = model.forget(ids, *is_dry_run).await;
                assert_eq!(real.forget(ids, *is_dry_run).await, expected, "{op:?}");
            }
            Op::Drop(id) => {
                let id = format!("message-{id}");
                let expected = model.queue.drop_queued(&id).await.unwrap();
                let dropped = real.queue.drop_queued(&id).await.unwrap();
                match (&expected, &dropped) {
                    (Dropped::NotQueued(expected), Dropped::NotQueued(found)) => {
                        assert_eq!(whereabouts(found), whereabouts(expected), "{op:?}");
                    }
                    _ => assert_eq!(dropped, expected, "{op:?}"),
                }
            }
            Op::Import(events) => {
                let expected = model.import(events, now - 1000).await;
                assert_eq!(real.import(events, now - 1000).await, expected, "{op:?}");
            }
            Op::Turn { late } => {
                reference.take_away(&model.turn).await;
                bench.take_away(&real.turn).await;
                model = model.gives_way(*late).await;
                real = real.gives_way(*late).await;
            }
            Op::Reopen => {
                model = Subject::new(reference.reopen().await).await;
                real = Subject::new(bench.reopen().await).await;
            }
            Op::Crash => {
                model = Subject::new(reference.crash().await).await;
                real = Subject::new(bench.crash().await).await;
            }
        }
        // Doubt and release are not awaited; this is behind them.
        real.queue.barrier().await.unwrap();
        let (mut expected, mut census) = (model.queue.census(), real.queue.census());
        // The model knows the oldest event; the engine the oldest that is handed out.
        (expected.oldest_accepted_at, census.oldest_accepted_at) = (None, None);
        for id in [0, 7, 30] {
            let id = format!("message-{id}");
            let expected = model.queue.find(&id).await.unwrap();
            let found = real.queue.find(&id).await.unwrap();
            assert_eq!(
                whereabouts(&found),
                whereabouts(&expected),
                "{id} after {op:?}"
            );
            pairs.found(&expected, &found);
        }
        let waits = |events: Vec<Unsettled>| -> Vec<_> {
            let waits = |e: &Unsettled| (e.accepted_at, e.failures, e.body.clone());
            events
                .iter()
                .map(|e| (waits(e), e.sent.as_ref().map(|sent| sent.in_doubt)))
                .collect()
        };
        let oldest = waits(real.queue.oldest(1000).await.unwrap());
        let census_of = real.queue.census();
        assert_eq!(oldest.len() as u64, census_of.queued + census_of.sending);
        let mut expected_oldest = waits(model.queue.oldest(1000).await.unwrap());
        let mut all = oldest.clone();
        // Which of the same age comes first is each engine's own.
        all.sort();
        expected_oldest.sort();
        assert_eq!(all, expected_oldest, "after {op:?}");
        assert!(oldest.is_sorted_by_key(|(event, _)| event.0), "{oldest:?}");
        if matches!(op, Op::Crash) {
            // Counts of answers are saved with the next chunk; a crash may lose the last.
            expected.duplicate = census.duplicate;
            expected.ignored = census.ignored;
        }
        assert_eq!(census, expected, "after {op:?}");
        let since = |first: Option<LetterNumber>, dead: &[Letter]| -> Vec<_> {
            let since = (dead.iter()).filter(|l| first.is_some_and(|first| l.key.number >= first));
            since.map(|letter| letter.body.clone()).collect()
        };
        let (expected, dead) = (model.dead().await, real.dead().await);
        let of_model = model.queue.undelivered_letters().await.unwrap();
        let of_real = real.queue.undelivered_letters().await.unwrap();
        assert_eq!(
            since(of_real, &dead),
            since(of_model, &expected),
            "after {op:?}"
        );
        pairs.dead(&expected, &dead);
        let shown = |letters: Vec<Letter>| letters.iter().map(shown).collect::<Vec<_>>();
        assert_eq!(shown(dead), shown(expected), "after {op:?}");
        assert_eq!(census.imbalance(), 0);
    }
    real.queue.close().await.unwrap();
}

proptest! {
    // A fifth of the usual number (or of PROPTEST_CASES): each case opens stores.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 5))]
    #[test]
    fn the_durable_engine_does_what_the_reference_does(ops in ops()) {
        block_on(lockstep::<Sled>(ops));
    }

    /// Two of the same agree, or what compares them is wrong.
    #[test]
    fn the_reference_does_what_it_does(ops in ops()) {
        block_on(lockstep::<Memory>(ops));
    }
}

#[cfg(feature = "postgres")]
proptest! {
    // Each step asks the server dozens of times, and each case makes tables.
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(ProptestConfig::default().cases / 20)
    })]
    #[test]
    fn the_engine_on_postgres_does_what_the_reference_does(ops in ops()) {
        block_on_postgres(lockstep::<Postgres>(ops));
    }
}

/// Enqueues `n` fresh events, `per_block` in each.
async fn fill(queue: &Queue, from: u64, n: u64, per_block: u64) {
    let mut pending = Vec::new();
    for first in (from..from + n).step_by(per_block as usize) {
        let mut builder = BlockBuilder::new(queue.hasher(), START);
        for i in first..(first + per_block).min(from + n) {
            builder.push(
                &format!("m{i}"),
                START / 1000,
                format!("{{\"n\":{i}}}").as_bytes(),
            );
        }
        pending.push(queue.enqueue(builder.finish()).await.unwrap());
    }
    for pending in pending {
        let receipts = pending.receipts().await.unwrap();
        assert!(receipts.iter().all(|r| *r == Receipt::Queued));
    }
}

#[test]
fn generations_roll_and_go_and_their_ids_are_remembered() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let open = || {
            let options = Options {
                roll_events: 1000,
                ..options(path.clone())
            };
            Queue::sled(SledEngine::open(options, clock.clone()).unwrap())
        };
        let queue = open();
        let folders = || std::fs::read_dir(path.join("gen")).unwrap().count();
        // Small steps, so that each next store is there when it is needed.
        for step in 0..20 {
            fill(&queue, step * 500, 500, 100).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert!(folders() >= 4, "{} generations", folders());
        // A backlog is read back from disk, in order, across generations.
        let turn = queue.turn().await.unwrap();
        let mut expected = 1;
        while expected <= 10_000 {
            let claimed = turn.claim(700, 1 << 20).await.unwrap();
            let mut settlements = Vec::new();
            for entry in claimed {
                assert_eq!(entry.id, EntryId::line(Seq(expected)));
                assert_eq!(entry.body, format!("{{\"n\":{}}}", expected - 1));
                settlements.push(Settlement {
                    entry,
                    outcome: Outcome::Delivered,
                });
                expected += 1;
            }
            turn.settle(settlements).await.unwrap();
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while folders() > 3 {
            assert!(
                std::time::Instant::now() < deadline,
                "{} folders stay",
                folders()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
            queue.barrier().await.unwrap();
        }
        queue.close().await.unwrap();
        let queue = open();
        assert_eq!(queue.census().delivered, 10_000);
        let mut builder = BlockBuilder::new(queue.hasher(), START);
        for i in 0..10_000 {
            builder.push(&format!("m{i}"), 0, b"{}");
        }
        let receipts = queue
            .enqueue(builder.finish())
            .await
            .unwrap()
            .receipts()
            .await
            .unwrap();
        assert!(receipts.iter().all(|r| *r == Receipt::Duplicate));
        queue.close().await.unwrap();
    });
}

#[test]
fn a_truncated_store_is_told_and_counted() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let queue = Queue::sled(open(&path, &clock));
        for i in 0..8 {
            fill(&queue, i, 1, 1).await;
        }
        queue.barrier().await.unwrap();
        let crashed = home.path().join("crashed");
        crash_image(&path, &crashed);
        queue.close().await.unwrap();
        // Zero the tail of the generation's log: sled reopens it shorter without a word.
        let db = crashed.join("gen/0000000001/db");
        let bytes = std::fs::read(&db).unwrap();
        let cut = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
        let file = std::fs::OpenOptions::new().write(true).open(&db).unwrap();
        file.set_len((cut / 2) as u64).unwrap();
        drop(file);
        let queue = Queue::sled(open(&crashed, &clock));
        let census = queue.census();
        assert_eq!(census.accepted, 8);
        assert_eq!(census.imbalance(), 0);
        assert!(census.set_aside > 0, "{census:?}");
        assert!(
            std::fs::read_dir(crashed.join("quarantine"))
                .unwrap()
                .count()
                > 0
        );
        queue.close().await.unwrap();
    });
}

#[test]
fn dead_letters_past_retention_are_purged_and_counted() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let queue = Queue::sled(open(&path, &clock));
        fill(&queue, 0, 5, 5).await;
        let turn = queue.turn().await.unwrap();
        let claimed = turn.claim(5, 1 << 20).await.unwrap();
        let outcome = || Outcome::Dead {
            reason: DeadReason::Refused,
            message: "no".into(),
        };
        let dead = claimed.into_iter().map(|entry| Settlement {
            entry,
            outcome: outcome(),
        });
        turn.settle(dead.collect()).await.unwrap();
        assert_eq!(queue.census().dead_total(), 5);
        queue.close().await.unwrap();
        // Step by step: a leap of the clock would not be believed.
        for day in (0..).step_by(4) {
            let engine = open(&path, &clock);
            engine.tick();
            let queue = Queue::sled(engine);
            queue.barrier().await.unwrap();
            let census = queue.census();
            queue.close().await.unwrap();
            assert_eq!(census.imbalance(), 0);
            assert_eq!(census.purged, if day > 30 { 5 } else { 0 }, "day {day}");
            if day > 30 {
                assert_eq!(census.dead_total(), 0);
                assert_eq!(std::fs::read_dir(path.join("dead")).unwrap().count(), 0);
                return;
            }
            clock.advance(Duration::from_secs(4 * 86_400));
        }
    });
}

/// As many events as may be in hand at once, and one more.
async fn window<B: Bench>() {
    let clock = Clock::manual(START);
    let rules = Rules {
        piece_events: 30_000,
        ..rules()
    };
    let (_bench, queue) = B::open(&clock, rules).await;
    let most = usize::try_from(CLAIM_WINDOW_EVENTS).unwrap();
    fill(&queue, 0, CLAIM_WINDOW_EVENTS + 3, 4096).await;
    let turn = queue.turn().await.unwrap();
    let mut held = std::collections::VecDeque::new();
    while held.len() < most {
        held.extend(turn.claim(usize::MAX, usize::MAX).await.unwrap());
    }
    assert_eq!(held.len(), most);
    let waits = tokio::spawn({
        let turn = turn.clone();
        async move { turn.claim(10, 1 << 20).await.unwrap() }
    });
    let delivered = |entry| Settlement {
        entry,
        outcome: Outcome::Delivered,
    };
    // Room that is made behind the oldest is none.
    let second = held.remove(1).unwrap();
    turn.settle(vec![delivered(second)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waits.is_finished());
    // With the oldest both are: events that are settled count as long as an older one is not.
    let first = held.pop_front().unwrap();
    turn.settle(vec![delivered(first)]).await.unwrap();
    let more = tokio::time::timeout(Duration::from_secs(20), waits).await;
    let more = more.expect("it waits for ever").unwrap();
    assert_eq!(more.len(), 2);
    assert_eq!(more.last().unwrap().body, format!("{{\"n\":{}}}", most + 1));
    queue.close().await.unwrap();
}

#[test]
fn so_many_events_may_be_in_hand_and_no_more() {
    block_on(window::<Memory>());
    block_on(window::<Sled>());
    #[cfg(feature = "postgres")]
    block_on_postgres(window::<Postgres>());
}
