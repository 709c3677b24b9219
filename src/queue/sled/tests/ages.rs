//! How long bytes and ids stay: by the age of what is stored, never by that of a process.

use super::prelude::*;
use super::support::*;
use crate::queue::sled::disk::{DEAD, GENERATIONS, SEEN};

/// A day as a daemon lives it that is restarted once a day: it never gets to be a day old.
const LIFE: Duration = Duration::from_secs(86_400 - 60);

/// What is planted in the event of a day. Alone in its chunk it is stored as it is.
fn planted(day: u64) -> String {
    format!("person-{day}-of-the-days@example.com")
}

/// Every file below `dir`, with its bytes.
pub fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            // Deleted since it was listed.
            _ => found.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes))),
        }
    }
    found
}

/// Whether `needle` stands in any file below the folder.
pub fn is_on_disk(dir: &Path, needle: &[u8]) -> bool {
    let holds = |(_, bytes): &(_, Vec<u8>)| memchr::memmem::find(bytes, needle).is_some();
    files(dir).iter().any(holds)
}

/// Has the committer look at what is due until that is so.
pub async fn comes(engine: &SledEngine, queue: &Queue, what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        engine.tick();
        queue.barrier().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is due is done, and what is due by that. The walk of `verify` is behind the jobs that the
/// housekeeper was given before.
async fn do_what_is_due(engine: &SledEngine, queue: &Queue) {
    for _ in 0..3 {
        engine.tick();
        queue.barrier().await.unwrap();
        is_whole(queue).await;
        queue.barrier().await.unwrap();
    }
}

async fn send_one(queue: &Queue, clock: &Clock, id: &str, body: &str) {
    let mut builder = BlockBuilder::new(queue.hasher(), clock.now());
    builder.push(id, clock.now() / 1000, body.as_bytes());
    let pending = queue.enqueue(builder.finish()).await.unwrap();
    assert_eq!(pending.receipts().await.unwrap(), [Receipt::Queued]);
}

/// Which days bring an event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Traffic {
    OneADay,
    TheFirstDayOnly,
}

/// Lives through `days`, with an event on those that bring one, each delivered at once; after each
/// day `look` is asked what must be gone by then.
async fn live(
    (traffic, is_restarted): (Traffic, bool),
    days: u64,
    window: Duration,
    look: impl AsyncFn(&SledEngine, &Queue, &Path, u64),
) {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual(START);
    let options = Options {
        dedup_window: window,
        ..options(dir.path())
    };
    let (mut engine, mut queue) = open(options.clone(), &clock);
    for day in 0..days {
        if traffic == Traffic::OneADay || day == 0 {
            let body = format!("{{\"email\":\"{}\"}}", planted(day));
            send_one(&queue, &clock, &format!("m{day}"), &body).await;
            assert!(is_on_disk(dir.path(), planted(day).as_bytes()), "day {day}");
            end(&queue, 1, || Outcome::Delivered).await;
        }
        do_what_is_due(&engine, &queue).await;
        look(&engine, &queue, dir.path(), day).await;
        if is_restarted {
            queue.close().await.unwrap();
            clock.advance(LIFE);
            (engine, queue) = open(options.clone(), &clock);
        } else {
            for _ in 0..6 {
                clock.advance(LIFE / 6);
                do_what_is_due(&engine, &queue).await;
            }
        }
    }
    queue.close().await.unwrap();
}

const LIVES: [(Traffic, bool); 4] = [
    (Traffic::OneADay, true),
    (Traffic::TheFirstDayOnly, true),
    (Traffic::OneADay, false),
    (Traffic::TheFirstDayOnly, false),
];

/// The open generation's age began anew at each start: a daemon with little traffic that was
/// restarted once a day kept its first event for good.
#[test]
fn what_was_delivered_is_off_the_disk_within_two_days_however_often_it_is_restarted() {
    for life in LIVES {
        block_on(live(life, 20, 7 * DAY, async |engine, queue, dir, day| {
            let gone = |day: u64| !is_on_disk(dir, planted(day).as_bytes());
            let what = format!("{life:?}: on day {day}, what is two days old is gone");
            comes(engine, queue, &what, || {
                (0..day.saturating_sub(1)).all(gone)
            })
            .await;
        }));
    }
}

/// Likewise ids; and small files were merged however far apart they were, so that the oldest ids
/// got the age of the newest again and again.
#[test]
fn an_id_is_off_the_disk_within_two_days_of_its_window() {
    const WINDOW: u64 = 10;
    for life in LIVES {
        block_on(live(
            life,
            40,
            WINDOW as u32 * DAY,
            async |engine, queue, dir, day| {
                let id = |day: u64| queue.hasher().hash(&format!("m{day}")).to_le_bytes();
                let is_there = |day: u64| {
                    let folders = [SEEN, GENERATIONS, DEAD];
                    folders.iter().any(|of| is_on_disk(&dir.join(of), &id(day)))
                };
                if life.0 == Traffic::OneADay {
                    let recent = day.saturating_sub(WINDOW - 1)..=day;
                    assert!(
                        recent.clone().all(is_there),
                        "{life:?}: {day} has {recent:?}"
                    );
                }
                let what = format!("{life:?}: on day {day}, what is past the window is gone");
                let old = 0..day.saturating_sub(WINDOW + 1);
                comes(engine, queue, &what, || !old.clone().any(is_there)).await;
            },
        ));
    }
}

/// Events of one chunk, each with what is planted in it.
async fn send_together(queue: &Queue, clock: &Clock, ids: &[&str]) {
    let mut builder = BlockBuilder::new(queue.hasher(), clock.now());
    for id in ids {
        builder.push(id, clock.now() / 1000, &planted_as(id));
    }
    let pending = queue.enqueue(builder.finish()).await.unwrap();
    let receipts = pending.receipts().await.unwrap();
    assert!(receipts.iter().all(|receipt| *receipt == Receipt::Queued));
}

/// So unlike any other that nothing of it is packed away.
fn planted_as(id: &str) -> Vec<u8> {
    let salt = crate::queue::id_hash::IdHasher::new(*b"nothing is alike");
    let parts = (0..4).flat_map(|part| salt.hash(&format!("{id}{part}")).to_le_bytes());
    parts.collect()
}

fn delivered(entry: Entry) -> Settlement {
    Settlement {
        entry,
        outcome: Outcome::Delivered,
    }
}

async fn dead_bodies(queue: &Queue) -> Vec<bytes::Bytes> {
    let all: crate::queue::LetterFilter = Arc::new(|_| true);
    let numbers = crate::queue::LetterNumber(1)..=crate::queue::LetterNumber(u64::MAX);
    let page = queue.dead_page(numbers, all).await.unwrap();
    let bodies = page.letters.into_iter();
    bodies.map(|letter| letter.body).collect()
}

async fn is_whole(queue: &Queue) {
    let verdict = queue.verify().await.unwrap();
    assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
}

/// A generation stays while one event of it waits; the others' bytes do not.
#[test]
fn an_event_that_waits_for_days_does_not_keep_its_neighbours_bytes() {
    for is_restarted in [true, false] {
        block_on(async {
            let dir = TempDir::new().unwrap();
            let clock = Clock::manual(START);
            let (mut engine, mut queue) = open(options(dir.path()), &clock);
            send_together(&queue, &clock, &["a", "b", "c"]).await;
            send_together(&queue, &clock, &["d"]).await;
            for id in ["a", "b", "c", "d"] {
                assert!(is_on_disk(dir.path(), &planted_as(id)), "{id}");
            }
            let mut turn = queue.turn().await.unwrap();
            let mut held = turn.claim(4, 1 << 20).await.unwrap();
            while held.len() < 4 {
                held.extend(turn.claim(4, 1 << 20).await.unwrap());
            }
            let waits = held.remove(1);
            turn.settle(held.into_iter().map(delivered).collect())
                .await
                .unwrap();
            let mut waits = Some(waits);
            // Two days are not over.
            for hours in [23, 7, 7, 7] {
                clock.advance(Duration::from_secs(hours * 3600));
                if is_restarted {
                    (waits, turn) = (None, turn);
                    turn.end().await;
                    queue.close().await.unwrap();
                    (engine, queue) = open(options(dir.path()), &clock);
                    turn = queue.turn().await.unwrap();
                }
                do_what_is_due(&engine, &queue).await;
            }
            let gone = |ids: &[&str]| {
                let is_gone = |id: &&str| !is_on_disk(dir.path(), &planted_as(id));
                ids.iter().all(is_gone)
            };
            let what = format!("the neighbours are gone, restarted: {is_restarted}");
            comes(&engine, &queue, &what, || gone(&["a", "c", "d"])).await;
            is_whole(&queue).await;
            let entry = match waits {
                Some(entry) => entry,
                None => turn.claim(4, 1 << 20).await.unwrap().remove(0),
            };
            assert_eq!(entry.body, planted_as("b"));
            turn.settle(vec![delivered(entry)]).await.unwrap();
            comes(&engine, &queue, "all is gone", || {
                gone(&["a", "b", "c", "d"])
            })
            .await;
            assert_eq!(queue.census().delivered, 4);
            // Their ids are known, whatever became of the bytes.
            let again = send(&queue, 100..101, "{}").await;
            assert_eq!(again, [Receipt::Queued]);
            for id in ["a", "b", "c", "d"] {
                assert!(engine.remembers(id).await, "{id}");
            }
            turn.end().await;
            queue.close().await.unwrap();
        });
    }
}

/// A dead letter that was retried and delivered left its bytes in its period for as long as any
/// other letter of it was there: up to the whole retention.
#[test]
fn a_letter_that_was_delivered_is_off_the_disk_within_two_days_beside_those_that_stay() {
    block_on(async {
        let dir = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let (mut engine, mut queue) = open(options(dir.path()), &clock);
        send_together(&queue, &clock, &["x", "y", "z"]).await;
        end(&queue, 3, refused).await;
        assert!(is_on_disk(&dir.path().join(DEAD), &planted_as("x")));
        let all: crate::queue::LetterFilter = Arc::new(|_| true);
        let numbers = crate::queue::LetterNumber(1)..=crate::queue::LetterNumber(u64::MAX);
        let page = queue.dead_page(numbers, all).await.unwrap();
        queue.retry(vec![page.letters[0].key]).await.unwrap();
        end(&queue, 1, || Outcome::Delivered).await;
        for _day in 0..2 {
            queue.close().await.unwrap();
            clock.advance(LIFE);
            (engine, queue) = open(options(dir.path()), &clock);
            engine.tick();
            queue.barrier().await.unwrap();
        }
        let gone = |id: &str| !is_on_disk(dir.path(), &planted_as(id));
        comes(&engine, &queue, "x is gone", || gone("x")).await;
        let left = dead_bodies(&queue).await;
        assert_eq!(left, [planted_as("y"), planted_as("z")]);
        is_whole(&queue).await;
        queue.close().await.unwrap();
        let (_, queue) = open(options(dir.path()), &clock);
        assert_eq!(dead_bodies(&queue).await, left);
        queue.close().await.unwrap();
    });
}

/// What the operator gives up is to be gone, not only from the lists.
#[test]
fn a_purged_letter_is_off_the_disk_at_once_and_may_be_imported_all_the_same() {
    block_on(async {
        let dir = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let (engine, queue) = open(options(dir.path()), &clock);
        send_together(&queue, &clock, &["x", "y", "z"]).await;
        end(&queue, 3, refused).await;
        assert!(is_on_disk(&dir.path().join(DEAD), &planted_as("y")));
        let all: crate::queue::LetterFilter = Arc::new(|_| true);
        let numbers = crate::queue::LetterNumber(1)..=crate::queue::LetterNumber(u64::MAX);
        let page = queue.dead_page(numbers, all).await.unwrap();
        assert_eq!(queue.purge(vec![page.letters[1].key]).await.unwrap(), 1);
        let gone = |id: &str| !is_on_disk(&dir.path().join(DEAD), &planted_as(id));
        // No clock goes on, and nothing else is done.
        until(&queue, "y is gone", || gone("y")).await;
        assert!(!gone("x") && !gone("z"));
        let left = dead_bodies(&queue).await;
        assert_eq!(left, [planted_as("x"), planted_as("z")]);
        is_whole(&queue).await;
        queue.close().await.unwrap();
        let (_, queue) = open(options(dir.path()), &clock);
        assert_eq!(dead_bodies(&queue).await, left);
        let back =
            crate::queue::Import::new(&queue.hasher(), "y", START, START / 1000, "{}".into());
        let taken = queue.import(vec![back.clone(), back]).await.unwrap();
        use crate::queue::Imported::{Duplicate, Retried};
        assert_eq!(taken, [Retried, Duplicate]);
        assert_eq!(queue.census().imbalance(), 0);
        assert_eq!(queue.census().purged, 0);
        is_whole(&queue).await;
        drop(engine);
        queue.close().await.unwrap();
    });
}

/// Where the account is made anew, what was taken out of the stores was settled before: it is not
/// sent again, and no letter without its bytes comes back.
#[test]
fn what_was_erased_stays_settled_when_the_account_is_lost() {
    block_on(async {
        let dir = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let (engine, queue) = open(options(dir.path()), &clock);
        send_together(&queue, &clock, &["x", "y", "z"]).await;
        end(&queue, 3, refused).await;
        send_together(&queue, &clock, &["a", "b", "c"]).await;
        let turn = queue.turn().await.unwrap();
        let mut held = turn.claim(3, 1 << 20).await.unwrap();
        drop(held.remove(0));
        turn.settle(held.into_iter().map(delivered).collect())
            .await
            .unwrap();
        let all: crate::queue::LetterFilter = Arc::new(|_| true);
        let numbers = crate::queue::LetterNumber(1)..=crate::queue::LetterNumber(u64::MAX);
        let page = queue.dead_page(numbers, all).await.unwrap();
        assert_eq!(queue.purge(vec![page.letters[1].key]).await.unwrap(), 1);
        for _ in 0..6 {
            clock.advance(Duration::from_secs(7 * 3600));
            do_what_is_due(&engine, &queue).await;
        }
        let is_there = |id: &str| is_on_disk(dir.path(), &planted_as(id));
        comes(&engine, &queue, "they are erased", || {
            !["b", "c", "y"].into_iter().any(is_there)
        })
        .await;
        turn.end().await;
        queue.close().await.unwrap();
        std::fs::remove_dir_all(dir.path().join("meta")).unwrap();
        let (_, queue) = open(options(dir.path()), &clock);
        let census = queue.census();
        assert_eq!(
            (
                census.accepted,
                census.queued,
                census.delivered,
                census.purged,
                census.set_aside
            ),
            (6, 1, 2, 1, 0)
        );
        assert_eq!((census.dead_total(), census.imbalance()), (2, 0));
        assert_eq!(
            dead_bodies(&queue).await,
            [planted_as("x"), planted_as("z")]
        );
        let turn = queue.turn().await.unwrap();
        let claimed = turn.claim(10, 1 << 20).await.unwrap();
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].body, planted_as("a"));
        turn.end().await;
        queue.close().await.unwrap();
    });
}
