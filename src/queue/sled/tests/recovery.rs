//! Damage met twice: a kill in the middle of what a start mends, a repair of fresh damage, and
//! the system's errors, which are no damage.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::damage::*;
use super::prelude::*;
use super::support::{block_on, copy, put_in_place, until, wipe};
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;
use crate::queue::contract::{LetterNumber, LossKind, Outcome, Seq};
use crate::queue::record::chunk;
use crate::queue::record::codec;
use crate::queue::sled::account::{Found, HighFile, Mending, high_water, ledger, rows};
use crate::queue::sled::dead::DeadLetters;
use crate::queue::sled::disk::{Evidence, batch, generation_folder, layout, store};
use crate::queue::sled::recovery::rebuild;
use crate::queue::sled::repair::repair;

/// What a start does until the account is open, and then a kill.
fn begin_to_open(path: &Path) {
    let (_, found) = HighFile::open(&path.join("high")).unwrap();
    let high = match found {
        Found::High(high) => high,
        _ => high_water::High::default(),
    };
    let evidence = Evidence::new(path, &|_| {}, false);
    let account = rebuild::open(&evidence, &high).unwrap();
    assert!(account.is_rebuilt);
}

/// The second start took the half-made account for a whole one, and deleted the folders of the
/// dead letters that it did not name.
#[test]
fn a_start_killed_while_the_account_is_made_anew_is_made_good_by_the_next() {
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    for lost in ["meta", "meta and high", "meta's end"] {
        let path = home.path().join("queue");
        let from = match lost {
            "meta's end" => "made",
            _ => "killed",
        };
        copy(&home.path().join(from), &path);
        std::fs::remove_dir_all(path.join("meta")).unwrap();
        match lost {
            "meta's end" => copy(&home.path().join("killed/meta"), &path.join("meta")),
            "meta and high" => std::fs::remove_file(path.join("high")).unwrap(),
            _ => {}
        }
        begin_to_open(&path);
        let verdict = check(&path).unwrap();
        assert!(!verdict.findings.is_empty(), "{lost}: it is half made");
        begin_to_open(&path);
        let came = open_and_hold(&path, &known, lost);
        let Came::Opened { set_aside, .. } = came else {
            panic!("{lost}: {came:?}");
        };
        match lost {
            // Nothing is left that shows what was delivered.
            "meta and high" => {
                let delivered = known.delivered.len() as u64;
                assert!(
                    (1..=delivered).contains(&set_aside),
                    "{set_aside} of {delivered}"
                );
            }
            _ => assert_eq!(set_aside, 0, "{lost}"),
        }
        wipe(&path);
    }
}

/// A file of remembered ids was damaged; its generation, the newest that held anything, became
/// the one that is written to, and was deleted under the writer when what had been in it then
/// was settled.
#[test]
fn a_generation_whose_ids_were_lost_is_not_sealed_any_more() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("queue");
    let ids = path.join("seen/0000000001-0000000001.ids");
    let known = block_on(async {
        let clock = Clock::manual(START);
        let mut known = Known::default();
        let queue = Queue::sled(SledEngine::open(options(&path), clock.clone()).unwrap());
        send(&queue, 0..30, 0, &mut known).await;
        send(&queue, 30..50, 0, &mut known).await;
        // Rolled, sealed, and that noted: a moment after the file is there.
        let begun = Instant::now();
        let is_noted = || begun.elapsed() > Duration::from_millis(500);
        until(&queue, "sealed", || ids.exists() && is_noted()).await;
        queue.close().await.unwrap();
        std::fs::remove_file(&ids).unwrap();

        let queue = Queue::sled(SledEngine::open(options(&path), clock.clone()).unwrap());
        send(&queue, 50..60, 0, &mut known).await;
        end(&queue, 50, &mut known, |_| Outcome::Delivered).await;
        queue.barrier().await.unwrap();
        queue.close().await.unwrap();
        known
    });
    let came = open_and_hold(&path, &known, "after the restart");
    assert!(
        matches!(came, Came::Opened { set_aside: 0, .. }),
        "{came:?}"
    );
}

/// Harms one file, then repairs at once, without a start in between.
#[test]
fn a_repair_gives_up_no_more_than_a_start_does() {
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    for seed in seeds(10) {
        let (path, what, _) = harmed(home.path(), seed);
        let started = home.path().join("started");
        copy(&path, &started);
        let by_start = open_and_hold(&started, &known, &what);
        std::fs::remove_dir_all(&started).unwrap();
        match repair(options(&path), Clock::manual(START), &mut |_| {}) {
            Err(error) => assert!(
                matches!(by_start, Came::Refused(_)),
                "{what}: {error} where a start is not refused"
            ),
            Ok((_, after)) => {
                assert_eq!(after.findings, vec![], "{what}");
                let by_repair = open_and_hold(&path, &known, &what);
                let (
                    Came::Opened {
                        set_aside: repaired,
                        ..
                    },
                    Came::Opened {
                        set_aside: started, ..
                    },
                ) = (&by_repair, &by_start)
                else {
                    continue;
                };
                assert!(repaired <= started, "{what}: {repaired} > {started}");
            }
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// Changes the stored value of a key, so that its checksum does not hold.
fn spoil(store: &Path, key: &[u8]) {
    let db = sled::Config::new()
        .path(store)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    value[20] ^= 1;
    db.insert(key, value).unwrap();
    db.flush().unwrap();
}

/// The stretch that the last chunk of a generation left unreadable was taken to reach to the end
/// of the line, where the generation was not noted as sealed: the repair gave up all that the
/// next ones held.
#[test]
fn a_repair_gives_up_nothing_of_the_next_generation() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("queue");
    let mut known = Known::default();
    block_on(async {
        let clock = Clock::manual(START);
        let queue = Queue::sled(SledEngine::open(options(&path), clock).unwrap());
        for at in 0..3 {
            send(&queue, at * 10..at * 10 + 10, 0, &mut known).await;
        }
        let hasher = queue.hasher();
        queue.close().await.unwrap();
        // Killed after a roll: what the next generation, made ahead, would hold then.
        let next = store::Store::open(&path, &generation_folder(&path, Generation(2))).unwrap();
        let mut builder = BlockBuilder::new(hasher, START);
        for id in 30..40 {
            builder.push(&format!("m{id}"), START / 1000, body(id, 0).as_bytes());
            known.accepted.insert(id, body(id, 0));
        }
        let block = builder.finish();
        let chunk = chunk::Chunk {
            first_seq: Seq(31),
            accepted_at: START,
            totals: chunk::AcceptTotals {
                accepted: 40,
                ..Default::default()
            },
            queued: (0..10).collect(),
            packed_count: 10,
            ids: block.ids.clone(),
            retried: Vec::new(),
            plain_len: block.plain_len as u32,
            packed: block.packed,
        };
        let mut batch = batch::Batch::default();
        batch.put_parts(&chunk::key(Seq(31)), &chunk.encode());
        next.commit(batch).unwrap();
        let (mut file, Found::High(mut high)) = HighFile::open(&path.join("high")).unwrap() else {
            panic!("no high");
        };
        high.state.last_seq = Seq(40);
        file.write(&high).unwrap();
    });
    spoil(
        &path.join("gen/0000000001"),
        &batch::part_key(&chunk::key(Seq(21)), 0),
    );
    let verdict = check(&path).unwrap();
    let told: Vec<_> = verdict.findings.iter().map(|f| f.object.as_str()).collect();
    assert_eq!(told, ["gen/0000000001", "events 21 to 30"], "{verdict}");
    let told = &verdict.findings[1];
    assert!(told.what.starts_with("10 events were"), "{told:?}");
    let (_, after) = repair(options(&path), Clock::manual(START), &mut |_| {}).unwrap();
    assert_eq!(after.findings, vec![]);
    let came = open_and_hold(&path, &known, "repaired");
    assert!(
        matches!(came, Came::Opened { set_aside: 10, .. }),
        "{came:?}"
    );
}

/// A letter had come back with other bytes, a kill kept the account from noting it, and its
/// period was damaged: it was set aside as a letter and delivered as an event, one too many.
#[test]
fn a_letter_that_came_back_is_not_set_aside_with_its_period() {
    let home = TempDir::new().unwrap();
    for harm in ["the period is gone", "its group is spoiled"] {
        let path = home.path().join("queue");
        let mut known = Known::default();
        block_on(async {
            let clock = Clock::manual(START);
            let queue = Queue::sled(SledEngine::open(options(&path), clock).unwrap());
            send(&queue, 0..10, 0, &mut known).await;
            end(&queue, 10, &mut known, |_| refused()).await;
            queue.barrier().await.unwrap();
            copy(&path.join("meta"), &home.path().join("meta"));
            send(&queue, 3..5, 1, &mut known).await;
            let killed = home.path().join("killed");
            copy(&path, &killed);
            queue.close().await.unwrap();
            put_in_place(&killed, &path);
        });
        // As if the kill had come before the account took note of it.
        std::fs::remove_dir_all(path.join("meta")).unwrap();
        std::fs::rename(home.path().join("meta"), path.join("meta")).unwrap();
        let (mut file, Found::High(mut high)) = HighFile::open(&path.join("high")).unwrap() else {
            panic!("no high");
        };
        high.state.settle_no = 0;
        file.write(&high).unwrap();
        drop(file);
        let verdict = check(&path).unwrap();
        assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
        let period = path.join("dead/0000000001");
        match harm {
            "the period is gone" => std::fs::remove_dir_all(&period).unwrap(),
            _ => spoil(&period, &batch::part_key(&1u64.to_be_bytes(), 0)),
        }
        let engine = SledEngine::open(options(&path), Clock::manual(START)).unwrap();
        let census = engine.census();
        assert_eq!(
            (census.imbalance(), census.set_aside, census.queued),
            (0, 8, 2),
            "{harm}: {census:?}"
        );
        engine.close_blocking().unwrap();
        wipe(&path);
    }
}

/// With no remembered ids each generation is read at the start.
fn unseal(queue: &Path) {
    std::fs::remove_dir_all(queue.join("seen")).unwrap();
    std::fs::create_dir(queue.join("seen")).unwrap();
}

/// The newest thing in a folder of the queue that ever held something.
fn newest(queue: &Path, dir: &str) -> String {
    let entries = std::fs::read_dir(queue.join(dir)).unwrap();
    let born = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| !store::Store::was_never_committed(&entry.path()).unwrap());
    let names = born.map(|entry| entry.file_name().into_string().unwrap());
    format!("{dir}/{}", names.max().unwrap())
}

/// What the system refuses is not damaged: nothing is moved, set aside or deleted for it. Here it
/// refuses with ELOOP, which it does for root as well.
#[test]
fn an_error_of_the_systems_is_no_damage() {
    let home = TempDir::new().unwrap();
    rich(home.path());
    let from = home.path().join("killed");
    for file in [
        "meta/db".into(),
        "meta/conf".into(),
        newest(&from, "gen") + "/db",
        newest(&from, "dead") + "/db",
        newest(&from, "seen"),
    ] {
        let path = home.path().join("queue");
        copy(&from, &path);
        if file.starts_with("gen") {
            unseal(&path);
        }
        let before = files(&path);
        let aside = home.path().join("aside");
        std::fs::rename(path.join(&file), &aside).unwrap();
        // A store without a snapshot could be taken for one whose making was cut short.
        let folder = path.join(&file);
        for entry in std::fs::read_dir(folder.parent().unwrap()).unwrap() {
            let entry = entry.unwrap().path();
            if entry.to_string_lossy().contains("/snap.") {
                std::fs::remove_file(entry).unwrap();
            }
        }
        symlink("db", path.join(&file)).unwrap();
        if file.ends_with("ids") || file.ends_with("conf") {
            std::fs::remove_file(path.join(&file)).unwrap();
            symlink(Path::new(&file).file_name().unwrap(), path.join(&file)).unwrap();
        }
        for _ in 0..2 {
            match SledEngine::open(options(&path), Clock::manual(START)) {
                Ok(_) => panic!("{file}: it opened"),
                Err(OpenError::Io(why)) => {
                    let name = Path::new(&file).file_name().unwrap().to_str().unwrap();
                    assert!(why.contains(name), "{file}: {why}");
                }
                Err(other) => panic!("{file}: {other:?}"),
            }
        }
        assert!(check(&path).is_err(), "{file}");
        std::fs::remove_file(path.join(&file)).unwrap();
        std::fs::rename(&aside, path.join(&file)).unwrap();
        let after = files(&path);
        let gone = before.iter().filter(|f| !after.contains(f));
        let gone: Vec<_> = gone
            .filter(|f| !f.to_string_lossy().contains("snap."))
            .filter(|f| f.extension().is_none_or(|e| e != "tmp"))
            .filter(|f| !store::Store::was_never_committed(from.join(f).parent().unwrap()).unwrap())
            .collect();
        assert_eq!(gone, Vec::<&std::path::PathBuf>::new(), "{file}");
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// A newer release wrote it: refused with 78 and left alone, wherever it stands.
#[test]
fn a_newer_value_is_refused_wherever_it_stands() {
    let home = TempDir::new().unwrap();
    rich(home.path());
    let from = home.path().join("killed");
    for store in ["meta".into(), newest(&from, "gen"), newest(&from, "dead")] {
        let path = home.path().join("queue");
        copy(&from, &path);
        if store.starts_with("gen") {
            unseal(&path);
        }
        let db = sled::Config::new()
            .path(path.join(&store))
            .flush_every_ms(None)
            .open()
            .unwrap();
        // Of the account the state record, which is written with every other row.
        let row = db.iter().find(|row| match store.as_str() {
            "meta" => row.as_ref().unwrap().0 == b"s",
            _ => true,
        });
        let (key, value) = row.unwrap().unwrap();
        let mut payload = codec::verify_checksum(&key, &value).unwrap().to_vec();
        payload[0] = codec::FORMAT_VERSION + 1;
        db.insert(&key, codec::append_checksum(&key, payload))
            .unwrap();
        db.flush().unwrap();
        drop(db);
        let refused = SledEngine::open(options(&path), Clock::manual(START));
        match refused.map(drop) {
            Err(OpenError::Newer(_)) => {}
            other => panic!("{store}: {other:?}"),
        }
        match check(&path) {
            Err(OpenError::Newer(_)) => {}
            other => panic!("{store}: {other:?}"),
        }
        assert!(path.join(&store).join("db").exists(), "{store}: moved");
        std::fs::remove_dir_all(&path).unwrap();
    }
}

/// `verify` in the daemon reads a period while a claim goes from it to another and back: a store
/// cannot be opened twice, so the claim waited, and with it every commit, and then it failed.
#[test]
fn a_period_that_is_being_read_can_be_read_by_others() {
    let home = TempDir::new().unwrap();
    rich(home.path());
    let path = home.path().join("killed");
    let mut ledger = ledger::Ledger::default();
    let mut batch = batch::Batch::default();
    for period in 1..=3u64 {
        let folder = layout::period_folder(&path, PeriodNumber(period));
        if period > 1 {
            drop(store::Store::create(&folder).unwrap());
        }
        let numbers = rows::Period {
            first: LetterNumber(period * 100),
            last: LetterNumber(period * 100),
            opened: START,
            newest: START,
            dead: Default::default(),
        };
        ledger.put_period(&mut batch, PeriodNumber(period), numbers);
    }
    let evidence = Evidence::new(&path, &|_| {}, false);
    let mut mending = Mending {
        evidence: &evidence,
        ledger: &mut ledger,
        batch: &mut batch,
        now: START,
    };
    let mut dead = DeadLetters::open(&mut mending, 1 << 20).unwrap();
    let being_read = dead.store(PeriodNumber(1)).unwrap();
    dead.store(PeriodNumber(2)).unwrap();
    let begun = Instant::now();
    assert!(dead.store(PeriodNumber(1)).is_ok());
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(being_read);
}

/// A kill in the first start leaves nothing that could have been promised.
#[test]
fn a_first_start_cut_short_is_no_damage() {
    let home = TempDir::new().unwrap();
    let whole = home.path().join("whole");
    block_on(async {
        let engine = SledEngine::open(options(&whole), Clock::manual(START)).unwrap();
        Queue::sled(engine).close().await.unwrap();
    });
    let path = home.path().join("queue");
    std::fs::create_dir(&path).unwrap();
    let hold = |step: &str| {
        let verdict = check(&path).unwrap();
        assert_eq!(verdict.findings, vec![], "{step}");
    };
    hold("nothing");
    std::fs::copy(whole.join("format"), path.join("format")).unwrap();
    hold("its identity");
    for dir in ["gen", "seen", "quarantine", "dead"] {
        std::fs::create_dir_all(path.join(dir)).unwrap();
    }
    hold("its folders");
    std::fs::write(path.join("high"), b"").unwrap();
    hold("an empty high");
    let (mut file, _) = HighFile::open(&path.join("high")).unwrap();
    file.write(&high_water::High::default()).unwrap();
    hold("high");
    std::fs::create_dir(path.join("meta")).unwrap();
    hold("a folder for the account");
    drop(store::Store::create(&path.join("meta")).unwrap());
    hold("a store for the account");
    block_on(async {
        let engine = SledEngine::open(options(&path), Clock::manual(START)).unwrap();
        Queue::sled(engine).close().await.unwrap();
    });
    hold("all of it");
}

/// `verify` in a daemon that rolls, seals, merges, deletes, buries, retries and purges meanwhile
/// finds nothing. `PINRELAY_BUSY_SECONDS` asks for more than usual.
#[test]
fn verify_finds_nothing_in_a_busy_queue() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("queue");
    let seconds = std::env::var("PINRELAY_BUSY_SECONDS").map_or(2, |n| n.parse().unwrap());
    block_on(async {
        let busy = Options {
            dead_max_bytes: 4 << 20,
            ..options(&path)
        };
        let engine = SledEngine::open(busy, Clock::manual(START)).unwrap();
        let queue = Queue::sled(engine.clone());
        let end_at = Instant::now() + Duration::from_secs(seconds);
        let sender = tokio::spawn({
            let queue = queue.clone();
            async move {
                let mut known = Known::default();
                let mut id = 0;
                while Instant::now() < end_at {
                    send(&queue, id..id + 20, 0, &mut known).await;
                    // Some come back with other bytes: those that are dead by now are retried.
                    let old = id.saturating_sub(200);
                    send(&queue, old..old + 5, 1, &mut known).await;
                    id += 20;
                }
            }
        });
        let deliverer = tokio::spawn({
            let queue = queue.clone();
            async move {
                let turn = queue.turn().await.unwrap();
                while let Ok(claimed) = turn.claim(30, 1 << 20).await {
                    let events = claimed.iter().map(|e| (e.id, "checkout".into())).collect();
                    let _ = turn.mark(Mark { events }).await;
                    let settlements = claimed.into_iter().map(|entry| {
                        let outcome = match id_of(&entry.body) % 7 {
                            0 | 1 => refused(),
                            2 if entry.failures == 0 => Outcome::Deferred { failures: 8 },
                            _ => Outcome::Delivered,
                        };
                        Settlement { entry, outcome }
                    });
                    let _ = turn.settle(settlements.collect()).await;
                }
            }
        });
        let mut walks = 0;
        while Instant::now() < end_at {
            engine.tick();
            let verdict = queue.verify().await.unwrap();
            assert_eq!(verdict.findings, vec![], "walk {walks}");
            walks += 1;
        }
        sender.await.unwrap();
        println!("{walks} walks; {:?}", queue.census());
        queue.close().await.unwrap();
        deliverer.await.unwrap();
    });
    let verdict = check(&path).unwrap();
    assert_eq!(verdict.findings, vec![]);
}

/// The account was lost; an event that had died and come back stood in the line twice, with the
/// bytes it died with and with its new ones, and the ledger was off for good.
#[test]
fn an_event_that_came_back_stands_once_in_an_account_made_anew() {
    let home = TempDir::new().unwrap();
    for lost in ["meta", "meta and high"] {
        let path = home.path().join("queue");
        let killed = home.path().join("killed");
        let mut known = Known::default();
        block_on(async {
            let clock = Clock::manual(START);
            let queue = Queue::sled(SledEngine::open(options(&path), clock).unwrap());
            send(&queue, 0..10, 0, &mut known).await;
            let turn = queue.turn().await.unwrap();
            let claimed = turn.claim(10, 1 << 20).await.unwrap();
            let dying = claimed
                .into_iter()
                .filter(|e| (3..5).contains(&id_of(&e.body)));
            let settlements = dying.map(|entry| Settlement {
                entry,
                outcome: refused(),
            });
            turn.settle(settlements.collect()).await.unwrap();
            send(&queue, 3..5, 1, &mut known).await;
            queue.barrier().await.unwrap();
            copy(&path, &killed);
            queue.close().await.unwrap();
        });
        std::fs::remove_dir_all(killed.join("meta")).unwrap();
        if lost == "meta and high" {
            std::fs::remove_file(killed.join("high")).unwrap();
        }
        let came = open_and_hold(&killed, &known, lost);
        assert!(
            matches!(came, Came::Opened { set_aside: 0, .. }),
            "{lost}: {came:?}"
        );
        wipe(&path);
        wipe(&killed);
    }
}

#[test]
fn a_folder_without_a_queue_is_not_adopted() {
    let home = TempDir::new().unwrap();
    let adopting = Options {
        adopt: true,
        ..options(home.path())
    };
    match SledEngine::open(adopting, Clock::manual(START)).map(drop) {
        Err(OpenError::Io(why)) => assert!(why.contains("holds no queue"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(!home.path().join("format").exists());
}

/// Letters that had gone in order, purged or sent again, were told as lost when the account alone
/// was lost beside a backlog.
#[test]
fn letters_that_went_in_order_are_no_loss_of_an_account_made_anew() {
    for went in ["purged", "retried", "come back"] {
        block_on(async {
            let home = TempDir::new().unwrap();
            let path = home.path().join("queue");
            let clock = Clock::manual(START);
            let mut known = Known::default();
            let engine = SledEngine::open(options(&path), clock.clone()).unwrap();
            let queue = Queue::sled(engine.clone());
            send(&queue, 0..30, 0, &mut known).await;
            end(&queue, 30, &mut known, |_| refused()).await;
            let page = queue
                .dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), Arc::new(|_| true))
                .await;
            let keys = page.unwrap().letters.into_iter().map(|letter| letter.key);
            match went {
                "purged" => assert_eq!(queue.purge(keys.collect()).await.unwrap(), 30),
                "retried" => {
                    assert_eq!(queue.retry(keys.collect()).await.unwrap(), 30);
                    end(&queue, 30, &mut known, |_| Outcome::Delivered).await;
                }
                _ => {
                    send(&queue, 0..30, 1, &mut known).await;
                    end(&queue, 30, &mut known, |_| Outcome::Delivered).await;
                }
            }
            // After a minute the period of which nothing is left goes.
            clock.advance(Duration::from_secs(61));
            engine.tick();
            until(&queue, "no period is left", || {
                std::fs::read_dir(path.join("dead")).unwrap().count() == 0
            })
            .await;
            send(&queue, 100..200, 0, &mut known).await;
            end(&queue, 50, &mut known, |_| Outcome::Delivered).await;
            queue.close().await.unwrap();
            std::fs::remove_dir_all(path.join("meta")).unwrap();
            let engine = SledEngine::open(options(&path), clock).unwrap();
            let census = engine.census();
            assert_eq!((census.set_aside, census.imbalance()), (0, 0), "{went}");
            let events = engine.losses().iter().any(|l| l.kind == LossKind::Events);
            assert!(!events, "{went}: {:?}", engine.losses());
            engine.close().await.unwrap();
        });
    }
}
