//! Purged letters: that they stay away, that an import brings them back, and that what remembers
//! them goes in time.

use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::prelude::*;
use super::support::{block_on, copy, put_in_place};
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;
use crate::queue::contract::{
    DeadReason, Found, Import, Imported, LetterFilter, LetterNumber, Outcome, PAGE_BYTES,
    Settlement,
};
use crate::queue::sled::account::{ledger, meta};
use crate::queue::sled::disk::store;
use crate::queue::sled::repair::repair;
use crate::queue::sled::verify::verify;

const START: Millis = 1_800_000_000_000;
const WINDOW: Duration = Duration::from_secs(600);

struct Bench {
    home: TempDir,
    clock: Clock,
    engine: SledEngine,
    queue: Queue,
}

impl Bench {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let (engine, queue) = open(&home.path().join("queue"), &clock);
        Self {
            home,
            clock,
            engine,
            queue,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.home.path().join("queue")
    }

    /// Stops in order and starts again.
    async fn restart(&mut self) {
        self.queue.close().await.unwrap();
        (self.engine, self.queue) = open(&self.path(), &self.clock);
    }

    async fn send(&self, ids: std::ops::Range<u64>) -> Vec<Receipt> {
        let mut builder = BlockBuilder::new(self.queue.hasher(), self.clock.now());
        for id in ids {
            builder.push(&format!("m{id}"), START / 1000, body(id).as_bytes());
        }
        let pending = self.queue.enqueue(builder.finish()).await.unwrap();
        pending.receipts().await.unwrap()
    }

    async fn end(&self, n: usize, outcome: impl Fn() -> Outcome) {
        let turn = self.queue.turn().await.unwrap();
        let claimed = turn.claim(n, 1 << 20).await.unwrap();
        assert_eq!(claimed.len(), n);
        let settlements = claimed.into_iter().map(|entry| Settlement {
            entry,
            outcome: outcome(),
        });
        turn.settle(settlements.collect()).await.unwrap();
    }

    async fn purge_all(&self) -> u64 {
        let all: LetterFilter = Arc::new(|_| true);
        let page = self
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), all)
            .await
            .unwrap();
        let keys = page.letters.iter().map(|letter| letter.key).collect();
        self.queue.purge(keys).await.unwrap()
    }

    async fn import(&self, ids: std::ops::Range<u64>) -> Vec<Imported> {
        let hasher = self.queue.hasher();
        let import = |id: u64| {
            let event_time = START / 1000;
            Import::new(
                &hasher,
                &format!("m{id}"),
                START,
                event_time,
                body(id).into(),
            )
        };
        self.queue.import(ids.map(import).collect()).await.unwrap()
    }

    /// After a minute without a new letter, what is spent goes.
    async fn look(&self) {
        self.clock.advance(Duration::from_secs(61));
        self.engine.tick();
        self.queue.barrier().await.unwrap();
    }

    /// Lets time pass until this delivered event's id is forgotten.
    async fn forgets(&self, message_id: &str) {
        self.clock.advance(WINDOW);
        let last = Instant::now() + Duration::from_secs(20);
        while self.queue.find(message_id).await.unwrap() != Found::Unknown {
            assert!(Instant::now() < last, "its id is forgotten");
            self.look().await;
        }
    }

    async fn is_whole(&self) {
        assert_eq!(self.queue.census().imbalance(), 0);
        let verdict = self.queue.verify().await.unwrap();
        assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.path().join(folder)).unwrap().count()
    }
}

fn options(path: &Path) -> Options {
    Options {
        min_free: 0,
        roll_events: 12,
        dedup_window: WINDOW,
        ..Options::new(path)
    }
}

fn open(path: &Path, clock: &Clock) -> (SledEngine, Queue) {
    let engine = SledEngine::open(options(path), clock.clone())
        .unwrap()
        .confirmed();
    (engine.clone(), Queue::sled(engine))
}

fn body(id: u64) -> String {
    format!("{{\"id\":{id}}}")
}

fn refused() -> Outcome {
    Outcome::Dead {
        reason: DeadReason::Refused,
        message: "no".into(),
    }
}

/// 51 letters with messages of 7 MB were one answer of 350 MB.
#[test]
fn a_page_of_letters_is_bounded_in_bytes_messages_included() {
    block_on(async {
        let bench = Bench::new();
        bench.send(0..20).await;
        let long = || Outcome::Dead {
            reason: DeadReason::Refused,
            message: "n".repeat(1 << 20),
        };
        bench.end(20, long).await;
        let (mut from, mut seen, mut pages) = (LetterNumber(1), 0, 0);
        loop {
            let all: LetterFilter = Arc::new(|_| true);
            let range = from..=LetterNumber(u64::MAX);
            let page = bench.queue.dead_page(range, all).await.unwrap();
            let bytes: usize = page.letters.iter().map(|l| l.message.len()).sum();
            assert!(bytes <= PAGE_BYTES + (1 << 20), "{bytes}");
            for letter in &page.letters {
                seen += 1;
                assert_eq!(
                    letter.key.number(),
                    LetterNumber(seen),
                    "each once, in order"
                );
            }
            pages += 1;
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!((seen, pages), (20, 5));
    });
}

#[test]
fn a_period_of_which_all_is_purged_goes_at_once_and_its_list_brings_them_back() {
    block_on(async {
        let mut bench = Bench::new();
        bench.send(0..10).await;
        bench.end(10, refused).await;
        assert_eq!(bench.purge_all().await, 10);
        assert_eq!(bench.purge_all().await, 0);
        // Not while letters may still be coming in.
        bench.engine.tick();
        bench.queue.barrier().await.unwrap();
        assert_eq!((bench.count("dead"), bench.count("purged")), (1, 0));
        assert_eq!(bench.import(0..2).await, [Imported::Retried; 2]);
        bench.end(2, || Outcome::Delivered).await;
        bench.look().await;
        assert_eq!((bench.count("dead"), bench.count("purged")), (0, 1));
        bench.is_whole().await;
        for life in 0..2 {
            assert_eq!(bench.queue.census().purged, 8, "life {life}");
            let receipts = bench.send(0..10).await;
            assert_eq!(receipts, [Receipt::Duplicate; 10]);
            let found = bench.queue.find("m7").await.unwrap();
            assert!(matches!(found, Found::Purged { .. }), "{found:?}");
            bench.restart().await;
        }
        assert_eq!(bench.import(1..5).await[1..], [Imported::Retried; 3]);
        bench.restart().await;
        // Those are not to be had twice.
        assert_eq!(bench.import(2..5).await, [Imported::Duplicate; 3]);
        let census = bench.queue.census();
        assert_eq!((census.purged, census.queued, census.retried), (5, 3, 5));
        bench.is_whole().await;
        bench.end(3, || Outcome::Delivered).await;

        bench.clock.advance(WINDOW);
        bench.look().await;
        assert_eq!((bench.count("dead"), bench.count("purged")), (0, 0));
        bench.is_whole().await;
        bench.restart().await;
        bench.is_whole().await;
        assert_eq!(bench.queue.census().purged, 5);
        bench.queue.close().await.unwrap();
    });
}

/// A period past its retention goes with letters that are dead, purged, and delivered since.
#[test]
fn what_the_retention_purges_can_be_imported_as_well() {
    block_on(async {
        let mut bench = Bench::new();
        bench.send(0..10).await;
        bench.end(10, refused).await;
        let some = |from: u64, to: u64| -> LetterFilter {
            Arc::new(move |letter| (from..=to).contains(&letter.key.number().0))
        };
        let page = bench
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), some(1, 3))
            .await
            .unwrap();
        let keys = page.letters.iter().map(|letter| letter.key).collect();
        assert_eq!(bench.queue.purge(keys).await.unwrap(), 3);
        let page = bench
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), some(4, 5))
            .await
            .unwrap();
        let keys = page.letters.iter().map(|letter| letter.key).collect();
        assert_eq!(bench.queue.retry(keys).await.unwrap(), 2);
        bench.end(2, || Outcome::Delivered).await;
        // Step by step: a leap of the clock would not be believed.
        for _ in 0..8 {
            bench.clock.advance(Duration::from_secs(4 * 86_400));
            bench.restart().await;
        }
        bench.look().await;
        assert_eq!((bench.count("dead"), bench.count("purged")), (0, 1));
        assert_eq!(bench.queue.census().purged, 8);
        bench.is_whole().await;
        for purged in [0..3, 5..10] {
            let answers = bench.import(purged).await;
            assert!(
                answers.iter().all(|a| *a == Imported::Retried),
                "{answers:?}"
            );
        }
        bench.is_whole().await;
        // They were delivered a month ago, and are known for ten minutes.
        bench.forgets("m3").await;
        assert_eq!(bench.import(3..5).await, [Imported::Queued; 2]);
        bench.is_whole().await;
        bench.queue.close().await.unwrap();
    });
}

#[test]
fn a_damaged_or_missing_list_is_found_and_costs_the_imports_alone() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 3] = [
        ("missing", |list| std::fs::remove_file(list).unwrap()),
        ("damaged", |list| {
            let mut bytes = std::fs::read(list).unwrap();
            bytes[30] ^= 1;
            std::fs::write(list, bytes).unwrap();
        }),
        ("cut short", |list| {
            let bytes = std::fs::read(list).unwrap();
            std::fs::write(list, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (what, harm) in harms {
        for repairs in [false, true] {
            let mut bench = block_on(async {
                let bench = Bench::new();
                bench.send(0..10).await;
                bench.end(10, refused).await;
                bench.purge_all().await;
                bench.look().await;
                bench.queue.close().await.unwrap();
                bench
            });
            let mut lists = std::fs::read_dir(bench.path().join("purged")).unwrap();
            harm(&lists.next().unwrap().unwrap().path());
            let verdict = verify(&options(&bench.path()), &bench.clock, &mut |_| {}).unwrap();
            let found: Vec<_> = verdict.findings.iter().map(|f| &f.object).collect();
            assert!(
                found.len() == 1 && found[0].starts_with("purged/"),
                "{what}: {found:?}"
            );
            if repairs {
                let options = options(&bench.path());
                let (_, after) = repair(options, bench.clock.clone(), &mut |_| {}).unwrap();
                assert_eq!(after.findings, vec![], "{what}");
            }
            block_on(async {
                (bench.engine, bench.queue) = open(&bench.path(), &bench.clock);
                bench.is_whole().await;
                assert_eq!(bench.queue.census().purged, 10);
                assert_eq!(bench.import(0..1).await, [Imported::Duplicate], "{what}");
                bench.queue.close().await.unwrap();
            });
        }
    }
}

/// A crash between the list and the account: the period still stands, and is what counts.
#[test]
fn a_list_that_the_account_does_not_know_is_dropped() {
    block_on(async {
        let mut bench = Bench::new();
        bench.send(0..10).await;
        bench.end(10, refused).await;
        bench.purge_all().await;
        bench.queue.barrier().await.unwrap();
        let before = bench.home.path().join("before");
        copy(&bench.path(), &before);
        bench.look().await;
        assert_eq!(bench.count("purged"), 1);
        copy(&bench.path().join("purged"), &before.join("purged"));
        bench.queue.close().await.unwrap();
        put_in_place(&before, &bench.path());
        (bench.engine, bench.queue) = open(&bench.path(), &bench.clock);
        assert_eq!((bench.count("dead"), bench.count("purged")), (1, 0));
        assert_eq!(bench.import(0..10).await, [Imported::Retried; 10]);
        bench.is_whole().await;
        bench.queue.close().await.unwrap();
    });
}

/// An id that is forgotten is accepted as new; what was purged under it must not come back beside
/// that, also after a crash.
#[test]
fn an_event_that_was_accepted_anew_is_not_imported_beside_itself() {
    block_on(async {
        let mut bench = Bench::new();
        bench.send(0..12).await;
        bench.end(12, refused).await;
        // Full, and sealed at this.
        bench.restart().await;
        bench.send(100..112).await;
        bench.end(12, || Outcome::Delivered).await;
        bench.restart().await;
        // Of all of them: what is sealed after the clock has moved is young.
        let last = Instant::now() + Duration::from_secs(20);
        let is_sealed = |found: &Found| {
            matches!(
                found,
                Found::Settled {
                    accepted_by: Some(_),
                    ..
                }
            )
        };
        while !is_sealed(&bench.queue.find("m100").await.unwrap()) {
            assert!(Instant::now() < last, "sealed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.purge_all().await;
        bench.clock.advance(WINDOW);
        bench.look().await;
        let crashed = bench.home.path().join("crashed");
        copy(&bench.path(), &crashed);
        assert_eq!(bench.send(3..4).await, [Receipt::Queued]);
        // As a crash leaves it between the commitment and the account's note of it.
        copy(&bench.path().join("gen"), &crashed.join("gen"));
        for life in ["before", "after a crash"] {
            let answers = bench.import(3..4).await;
            assert_eq!(answers, [Imported::Duplicate], "{life}");
            bench.is_whole().await;
            bench.queue.close().await.unwrap();
            (bench.engine, bench.queue) = open(&crashed, &bench.clock);
        }
        assert_eq!(bench.import(4..5).await, [Imported::Retried]);
        bench.queue.close().await.unwrap();
    });
}

/// A letter that is on its way again is not sent a second time by a resend or an import, however
/// long ago its event was accepted.
#[test]
fn what_was_retried_is_a_duplicate_while_it_is_queued() {
    block_on(async {
        let mut bench = Bench::new();
        bench.send(0..12).await;
        bench.end(4, refused).await;
        bench.end(8, || Outcome::Delivered).await;
        bench.restart().await;
        bench.forgets("m11").await;
        let all: LetterFilter = Arc::new(|_| true);
        let page = bench
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), all)
            .await
            .unwrap();
        let keys = page.letters.iter().map(|letter| letter.key).collect();
        assert_eq!(bench.queue.retry(keys).await.unwrap(), 4);
        for life in 0..2 {
            assert_eq!(bench.import(0..2).await, [Imported::Duplicate; 2], "{life}");
            assert_eq!(bench.send(2..4).await, [Receipt::Duplicate; 2], "{life}");
            bench.restart().await;
        }
        bench.is_whole().await;
        bench.end(4, || Outcome::Delivered).await;
        // Its id was forgotten long ago, and is remembered from the delivery on.
        for life in 0..2 {
            assert_eq!(bench.send(2..3).await, [Receipt::Duplicate], "{life}");
            assert_eq!(bench.import(3..4).await, [Imported::Duplicate], "{life}");
            bench.restart().await;
        }
        bench.forgets("m2").await;
        assert_eq!(bench.send(2..3).await, [Receipt::Queued]);
        bench.is_whole().await;
        bench.queue.close().await.unwrap();
    });
}

/// An import that broke off is given again, and its letters, dead or purged, may have been accepted
/// longer ago than messageIds are remembered.
#[test]
fn what_was_imported_is_a_duplicate_also_when_its_id_had_been_forgotten() {
    block_on(async {
        for purged in [false, true] {
            let mut bench = Bench::new();
            bench.send(0..12).await;
            bench.end(8, refused).await;
            bench.end(4, || Outcome::Delivered).await;
            // Full, and sealed at this.
            bench.restart().await;
            bench.forgets("m11").await;
            if purged {
                assert_eq!(bench.purge_all().await, 8);
            }
            let taken = bench.import(0..4).await;
            assert_eq!(taken, [Imported::Retried; 4], "purged: {purged}");
            let crashed = bench.home.path().join("crashed");
            copy(&bench.path(), &crashed);
            bench.end(2, || Outcome::Delivered).await;
            assert_eq!(bench.import(0..4).await, [Imported::Duplicate; 4]);
            bench.is_whole().await;
            bench.queue.close().await.unwrap();
            (bench.engine, bench.queue) = open(&crashed, &bench.clock);
            assert_eq!(bench.import(0..4).await, [Imported::Duplicate; 4]);
            let census = bench.queue.census();
            let left = [census.dead_total(), census.purged];
            assert_eq!(left, if purged { [0, 4] } else { [4, 0] });
            assert_eq!((census.queued, census.retried), (4, 4));
            bench.is_whole().await;
            bench.queue.close().await.unwrap();
        }
    });
}

/// Every second letter goes: the account has a row for each, and takes them in pieces.
#[test]
fn thousands_of_scattered_letters_are_taken_out_and_swept_in_pieces() {
    block_on(async {
        let mut bench = Bench::new();
        for at in 0..6 {
            bench.send(at * 500..at * 500 + 500).await;
        }
        for _ in 0..6 {
            bench.end(500, refused).await;
        }
        let odd: LetterFilter = Arc::new(|letter| letter.key.number().0 % 2 == 1);
        let page = bench
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), odd)
            .await
            .unwrap();
        let keys: Vec<_> = page.letters.iter().map(|letter| letter.key).collect();
        assert_eq!(keys.len(), 1500);
        assert_eq!(bench.queue.purge(keys.clone()).await.unwrap(), 1500);
        assert_eq!(bench.queue.retry(keys).await.unwrap(), 0);
        bench.restart().await;
        assert_eq!(bench.queue.census().dead_total(), 1500);
        let all: LetterFilter = Arc::new(|_| true);
        let page = bench
            .queue
            .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), all)
            .await
            .unwrap();
        let keys: Vec<_> = page.letters.iter().map(|letter| letter.key).collect();
        assert_eq!(bench.queue.retry(keys).await.unwrap(), 1500);
        for _ in 0..3 {
            bench.end(500, || Outcome::Delivered).await;
        }
        bench.is_whole().await;
        bench.look().await;
        assert_eq!((bench.count("dead"), bench.count("purged")), (0, 1));
        bench.clock.advance(WINDOW);
        bench.look().await;
        bench.restart().await;
        let census = bench.queue.census();
        assert_eq!(
            (census.purged, census.delivered, census.retried),
            (1500, 1500, 1500)
        );
        bench.is_whole().await;
        // Nothing is left of them in the account but its counters.
        let path = bench.path().join("meta");
        bench.queue.close().await.unwrap();
        let store = store::Store::open(&bench.path(), &path).unwrap();
        let (meta, state, _) = meta::Meta::of(store).unwrap();
        let ledger = ledger::Ledger::load(&meta.store, state).unwrap();
        assert_eq!(
            (
                ledger.dead_gone.count(),
                ledger.dead_purged.count(),
                ledger.listed_back.count()
            ),
            (0, 0, 0)
        );
        assert_eq!(ledger.lists.len(), 0);
    });
}
