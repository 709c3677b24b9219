//! Bugs that were, each with its story, and what keeps them from coming back.

use super::prelude::*;
use super::support::*;
use crate::queue::sled::account::identity;

/// The oldest event was that of the claimed ones: with nothing claimed there was none, and a
/// backlog looked like an empty queue.
#[test]
fn the_oldest_event_is_known_before_it_is_claimed_and_until_it_is_settled() {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual(START + 60_000);
    let (_engine, queue) = open(options(dir.path()), &clock);
    block_on(async {
        assert_eq!(queue.census().oldest_accepted_at, None);
        send(&queue, 0..3, "{}").await;
        let oldest = || queue.census().oldest_accepted_at;
        until(&queue, "the oldest", || oldest() == Some(START)).await;
        let turn = queue.turn().await.unwrap();
        let claimed = turn.claim(3, 1 << 20).await.unwrap();
        assert_eq!(oldest(), Some(START));
        let settle = |entry| Settlement {
            entry,
            outcome: Outcome::Delivered,
        };
        turn.settle(claimed.into_iter().map(settle).collect())
            .await
            .unwrap();
        until(&queue, "no event any more", || oldest().is_none()).await;
        queue.close().await.unwrap();
    });
}

/// The clock leapt eight days ahead; the process did not believe it, but noted the wrong time as
/// its last. The next start compared the wrong time with itself, believed it, and would have
/// ended every queued event as expired.
#[test]
fn a_clock_that_is_not_believed_is_not_believed_after_a_restart_either() {
    block_on(async {
        let home = TempDir::new().unwrap();
        for back in [false, true] {
            let path = home.path().join(format!("queue-{back}"));
            let clock = Clock::manual(START);
            let (_, queue) = open(options(&path), &clock);
            queue.close().await.unwrap();

            let wrong = if back {
                -(DAY.as_millis() as i64)
            } else {
                8 * DAY.as_millis() as i64
            };
            let clock = Clock::manual(START + wrong);
            for start in 0..3 {
                let (engine, queue) = open(options(&path), &clock);
                assert!(!engine.trust().believed(), "start {start}, back: {back}");
                send(&queue, start..start + 1, "{}").await;
                end(&queue, 1, || Outcome::Delivered).await;
                queue.close().await.unwrap();
            }
            // A leap while it runs, likewise.
            let clock = Clock::manual(START + 1);
            let (engine, queue) = open(options(&path), &clock);
            assert!(engine.trust().believed());
            clock.set_wall(START + wrong);
            send(&queue, 10..11, "{}").await;
            end(&queue, 1, || Outcome::Delivered).await;
            assert!(!engine.trust().believed());
            queue.close().await.unwrap();
            let (engine, queue) = open(options(&path), &clock);
            assert!(!engine.trust().believed(), "after a leap, back: {back}");
            queue.close().await.unwrap();
        }
    });
}

/// A stop (or a kill) between writing a generation's ids and noting that it is sealed made the
/// next start seal it again: two entries for one file. When they were merged, or forgotten, the
/// second removal of the file failed, and that ended the process.
#[test]
fn a_generation_sealed_twice_is_merged_and_forgotten_once() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let large = Options {
            roll_events: 1000,
            ..options(&path)
        };
        let (_, queue) = open(large, &clock);
        send(&queue, 0..12, "{}").await;
        queue.close().await.unwrap();
        let sealed = home.path().join("sealed");
        copy(&path, &sealed);
        let (_, queue) = open(options(&sealed), &clock);
        let seen = |path: &Path| names(&path.join("seen"));
        until(&queue, "a file of ids", || {
            seen(&sealed).iter().any(|name| name.ends_with(".ids"))
        })
        .await;
        queue.close().await.unwrap();
        copy(&sealed.join("seen"), &path.join("seen"));

        let (engine, queue) = open(options(&path), &clock);
        // Small steps, so that each next store is there when it is needed.
        for step in 1..16 {
            send(&queue, step * 12..step * 12 + 12, "{}").await;
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                queue.barrier().await.unwrap();
            }
        }
        let merged =
            |name: &String| name.starts_with("0000000001-") && !name.contains("-0000000001");
        until(&queue, "a merged file", || {
            engine.shared().stopped.get().is_some() || seen(&path).iter().any(merged)
        })
        .await;
        // Its answer is behind the removals.
        queue.barrier().await.unwrap();
        assert_eq!(engine.shared().stopped.get(), None);
        let again = send(&queue, 0..12 * 8, "{}").await;
        assert!(again.iter().all(|receipt| *receipt == Receipt::Duplicate));
        assert_eq!(queue.census().imbalance(), 0);
        queue.close().await.unwrap();
        assert_eq!(
            engine.shared().stopped.get().map(String::as_str),
            Some("it was closed")
        );
    });
}

/// A generation was full after so many events, however large: of events of 100 KB the head alone
/// outgrew the quota, and with everything delivered nothing could be deleted. Acceptance stood
/// still for up to a day.
#[test]
fn large_events_roll_before_one_generation_is_the_whole_quota() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let limited = Options {
            roll_events: 200_000,
            max_bytes: 24 << 20,
            ..options(&path)
        };
        let (_, queue) = open(limited, &clock);
        let mut noise = 7u64;
        for id in 0..600 {
            // What does not compress.
            let body: String = (0..100_000)
                .map(|_| {
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    char::from(b' ' + ((noise >> 33) % 90) as u8)
                })
                .collect();
            let taken =
                tokio::time::timeout(Duration::from_secs(15), send(&queue, id..id + 1, &body));
            let receipts = taken
                .await
                .unwrap_or_else(|_| panic!("stands still at event {id}"));
            assert_eq!(receipts, [Receipt::Queued]);
            end(&queue, 1, || Outcome::Delivered).await;
        }
        queue.close().await.unwrap();
    });
}

/// The disk was looked at only after a second without a job. Under load generations roll more
/// often than that, and the quota and the reserve were never seen.
#[test]
fn the_disk_is_looked_at_while_there_is_work_too() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let limited = Options {
            max_bytes: 4 << 20,
            ..options(&home.path().join("queue"))
        };
        let (_, queue) = open(limited, &clock);
        for step in 0..80 {
            let sent = tokio::time::timeout(
                Duration::from_millis(1500),
                send(&queue, step * 6..step * 6 + 6, "{}"),
            );
            if sent.await.is_err() {
                return queue.close().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the quota was never seen");
    });
}

/// A kill between writing a dead letter and counting it leaves an orphan. It was overwritten if
/// the next letter came into the same period; if that came into a new one, the orphan stood for
/// the other's number: its id retried a stranger's letter, and the purge counted it twice.
#[test]
fn an_orphan_of_an_older_period_stands_for_no_letter() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let small = |path: &Path| Options {
            roll_events: 1000,
            ..options(path)
        };
        let (_, queue) = open(small(&path), &clock);
        send(&queue, 0..3, "{}").await;
        end(&queue, 1, refused).await;
        queue.close().await.unwrap();
        // The kill: `dead` as it is after the second letter, all else as before it.
        let later = home.path().join("later");
        copy(&path, &later);
        let (_, queue) = open(small(&later), &clock);
        end(&queue, 1, refused).await;
        queue.close().await.unwrap();
        std::fs::remove_dir_all(path.join("dead")).unwrap();
        copy(&later.join("dead"), &path.join("dead"));

        let (_, queue) = open(small(&path), &clock);
        assert_eq!(queue.census().dead_total(), 1);
        clock.advance(DAY + DAY / 2);
        // m1, whose orphan it is, is delivered now; m2 dies, as number 2, in a period of its own.
        end(&queue, 1, || Outcome::Delivered).await;
        end(&queue, 1, refused).await;
        queue.close().await.unwrap();

        let (_, queue) = open(small(&path), &clock);
        assert_eq!(
            send(&queue, 1..2, "{\"other\":1}").await,
            [Receipt::Duplicate]
        );
        assert_eq!(
            send(&queue, 2..3, "{\"other\":1}").await,
            [Receipt::Retried]
        );
        assert_eq!(queue.census().imbalance(), 0);
        assert_eq!(queue.census().dead_total(), 1);
        queue.close().await.unwrap();
    });
}

/// The head was damaged and moved away when every older generation was settled and gone: the
/// numbering began at 1 again, and the new generation 1 replaced the ids of the old one.
#[test]
fn generation_numbers_never_go_down() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let (_, queue) = open(options(&path), &clock);
        let sealed = || names(&path.join("seen")).len();
        let folders = || names(&path.join("gen"));
        for generation in 0..3u64 {
            send(&queue, generation * 12..generation * 12 + 12, "{}").await;
            until(&queue, "sealed", || sealed() > generation as usize).await;
        }
        end(&queue, 36, || Outcome::Delivered).await;
        until(&queue, "deleted", || !folders().contains("0000000003")).await;
        queue.close().await.unwrap();
        for head in folders() {
            std::fs::remove_file(path.join("gen").join(head).join("db")).unwrap();
        }
        let (_, queue) = open(options(&path), &clock);
        assert_eq!(queue.census().imbalance(), 0);
        send(&queue, 100..112, "{}").await;
        until(&queue, "sealed again", || {
            names(&path.join("seen")).len() != 3 || folders().len() > 1
        })
        .await;
        send(&queue, 112..113, "{}").await;
        queue.close().await.unwrap();
        let (_, queue) = open(options(&path), &clock);
        let again = send(&queue, 0..36, "{}").await;
        assert_eq!(again.iter().filter(|r| **r == Receipt::Queued).count(), 0);
        queue.close().await.unwrap();
    });
}

/// One flipped bit in a block of remembered ids ended the process whenever a messageId of that
/// block came again, and the client's next try ended the next one.
#[test]
fn a_damaged_block_of_remembered_ids_stops_nobody() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let (_, queue) = open(options(&path), &clock);
        send(&queue, 0..12, "{}").await;
        until(&queue, "sealed", || {
            names(&path.join("seen"))
                .iter()
                .any(|n| n.ends_with(".ids"))
        })
        .await;
        queue.close().await.unwrap();
        let file = path.join("seen/0000000001-0000000001.ids");
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        file.write_all_at(&[0xff; 4], 4096 + 50).unwrap();
        let (engine, queue) = open(options(&path), &clock);
        let again = queue.enqueue(block(&queue, 12..24, "{}")).await.unwrap();
        // Known to be damaged: they are taken for new, which is told.
        assert_eq!(again.receipts().await.unwrap(), [Receipt::Queued; 12]);
        assert_eq!(engine.shared().stopped.get(), None);
        assert_eq!(queue.census().imbalance(), 0);
        queue.close().await.unwrap();
    });
}

/// A kill while a store was being made left a folder without its files. As `meta`, on a first
/// start, it kept every later start from succeeding; as a generation it was told as damage and
/// kept in quarantine.
#[test]
fn a_store_whose_making_was_cut_short_is_made_anew() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        for cut in ["empty", "blobs", "conf", "db"] {
            let path = home.path().join(cut);
            let unborn = |name: &str| {
                let store = path.join(name);
                std::fs::create_dir_all(&store).unwrap();
                if cut != "empty" {
                    std::fs::create_dir(store.join("blobs")).unwrap();
                }
                if cut == "conf" {
                    std::fs::write(store.join("conf"), "segm").unwrap();
                }
                if cut == "db" {
                    // Synced by the probe, while `conf` was not yet.
                    std::fs::write(store.join("db"), [0xff; 150]).unwrap();
                }
            };
            let identity =
                identity::lock(&path).and_then(|_| Ok(identity::load_or_create(&path, None)?));
            identity.unwrap();
            unborn("meta");
            let (_, queue) = open(options(&path), &clock);
            send(&queue, 0..3, "{}").await;
            queue.close().await.unwrap();
            for generation in 2..5 {
                unborn(&format!("gen/{generation:010}"));
            }
            let (_, queue) = open(options(&path), &clock);
            assert_eq!(queue.census().queued, 3);
            assert_eq!(queue.census().set_aside, 0);
            send(&queue, 3..6, "{}").await;
            end(&queue, 6, || Outcome::Delivered).await;
            queue.close().await.unwrap();
            assert_eq!(names(&path.join("quarantine")), HashSet::new(), "{cut}");
        }
    });
}

/// A panic on the committer's thread ended that thread alone: no event was taken or sent any
/// more, and nobody restarted the process.
#[test]
fn a_panic_of_the_committer_is_a_failure_of_storage() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let told = Arc::new(Mutex::new(None));
        let failing = Options {
            on_failure: Arc::new({
                let told = told.clone();
                move |why| *told.lock().unwrap() = Some(why.to_owned())
            }),
            ..options(&home.path().join("queue"))
        };
        let (engine, queue) = open(failing, &clock);
        send(&queue, 0..1, "{}").await;
        // A bug, made: no clock can show this.
        clock.set_wall(Millis::MIN);
        engine.tick();
        engine.shared().ops.closed().await;
        let begun = Instant::now();
        while told.lock().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(5), "nobody was told");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(matches!(queue.barrier().await, Err(QueueError::Stopped(_))));
    });
}

/// A generation that could not be opened when it was its turn was set aside, and then deleted
/// like any that is settled: of one flipped bit all its events were gone for good.
#[test]
fn a_sealed_generation_that_is_damaged_is_kept_for_the_operator() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let good = home.path().join("good");
        let (_, queue) = open(options(&good), &clock);
        let noise = |n: u64| -> String {
            let mut n = n + 1;
            let letters = (0..3000).map(|_| {
                n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'a' + ((n >> 33) % 26) as u8)
            });
            letters.collect()
        };
        for generation in 1..4 {
            for id in generation * 12..generation * 12 + 12 {
                send(&queue, id..id + 1, &noise(id)).await;
            }
            let file = good.join(format!("seen/{generation:010}-{generation:010}.ids"));
            until(&queue, "sealed", || file.exists()).await;
        }
        queue.close().await.unwrap();
        let len = std::fs::metadata(good.join("gen/0000000001/db"))
            .unwrap()
            .len();
        for run in 0..8 {
            let path = home.path().join(format!("flipped-{run}"));
            copy(&good, &path);
            let db = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(path.join("gen/0000000001/db"))
                .unwrap();
            let at = 200 + run * (len.min(60_000) / 8);
            let mut byte = [0];
            db.read_exact_at(&mut byte, at).unwrap();
            db.write_all_at(&[byte[0] ^ 16], at).unwrap();
            let (engine, queue) = open(options(&path), &clock);
            let turn = queue.turn().await.unwrap();
            let mut claimed = 0;
            while claimed + (queue.census().set_aside as usize) < 36 {
                let claim = tokio::time::timeout(Duration::from_secs(5), turn.claim(5, 1 << 20));
                let Ok(Ok(entries)) = claim.await else {
                    // What is left was set aside, or the queue has stopped.
                    queue.barrier().await.unwrap();
                    assert_eq!(engine.shared().stopped.get(), None, "byte {at}");
                    break;
                };
                claimed += entries.len();
                let ended = entries.into_iter().map(|entry| Settlement {
                    entry,
                    outcome: Outcome::Delivered,
                });
                turn.settle(ended.collect()).await.unwrap();
            }
            let census = queue.census();
            let kept = names(&path.join("quarantine")).contains("gen-0000000001.1");
            assert_eq!(kept, census.set_aside == 12, "byte {at}");
            assert_eq!(
                (census.imbalance(), census.delivered + census.set_aside),
                (0, 36),
                "byte {at}"
            );
            queue.close().await.unwrap();
        }
    });
}

/// After an unclean stop the copies were judged by the last event alone: an older generation that
/// sled had truncated was opened, found short, and its copy, the only whole one, deleted.
#[test]
fn copies_are_kept_when_an_older_store_is_short() {
    block_on(async {
        let home = TempDir::new().unwrap();
        let clock = Clock::manual(START);
        let path = home.path().join("queue");
        let large = Options {
            roll_events: 1000,
            ..options(&path)
        };
        let (_, queue) = open(large, &clock);
        for id in 0..12 {
            send(&queue, id..id + 1, "{}").await;
        }
        queue.close().await.unwrap();
        // A kill right after the roll: the older generation is whole and not sealed.
        let rolled = home.path().join("rolled");
        copy(&path, &rolled);
        let (_, queue) = open(options(&rolled), &clock);
        until(&queue, "a roll", || {
            rolled.join("seen/0000000001-0000000001.ids").exists()
        })
        .await;
        send(&queue, 12..15, "{}").await;
        queue.close().await.unwrap();
        copy(&rolled.join("gen/0000000002"), &path.join("gen/0000000002"));
        std::fs::write(path.join("high"), "torn").unwrap();
        // Cut the older one's log; without its snapshot sled reopens it shorter without a word.
        let store = path.join("gen/0000000001");
        for name in names(&store).iter().filter(|name| name.starts_with("snap")) {
            std::fs::remove_file(store.join(name)).unwrap();
        }
        let bytes = std::fs::read(store.join("db")).unwrap();
        let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
        let db = std::fs::OpenOptions::new()
            .write(true)
            .open(store.join("db"))
            .unwrap();
        db.set_len((used / 2) as u64).unwrap();

        let (_, queue) = open(options(&path), &clock);
        let census = queue.census();
        assert_eq!((census.accepted, census.imbalance()), (15, 0));
        assert!(census.set_aside > 0, "{census:?}");
        assert!(names(&path.join("quarantine")).contains("gen-0000000001.copy.1"));
        queue.close().await.unwrap();
    });
}
