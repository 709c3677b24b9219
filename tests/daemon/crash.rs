//! kill -9 under load: nothing that was answered is missing, nothing is queued twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Client, Process, Site, StandIn, deliver_all, ms, s, samples, within};

const EVENTS: usize = 10_000;
const CLIENTS: usize = 4;
const KILLS: usize = 20;
/// Of each client.
const WINDOW: usize = 100;
/// Of the daemon, in this test.
const BATCH: usize = 200;
const IN_FLIGHT: usize = 4;

#[test]
fn twenty_kills_under_load_lose_nothing_and_queue_nothing_twice() {
    let seed = std::env::var("PINRELAY_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("PINRELAY_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    // Some answers are still on their way at any kill.
    let stand_in = StandIn::with(&["--latency-ms", "15"]);
    let site = Site::new(&stand_in)
        .set("delivery", "max_batch_events", &BATCH.to_string())
        .set("delivery", "max_in_flight", &IN_FLIGHT.to_string())
        .set("delivery", "linger", "10ms");
    let samples = samples("crash", 0..EVENTS);
    let answered = AtomicUsize::new(0);
    let (daemon, in_doubt, again) = std::thread::scope(|scope| {
        let clients: Vec<_> = (samples.chunks(EVENTS / CLIENTS))
            .map(|samples| {
                let (socket, answered) = (site.socket(), &answered);
                scope.spawn(move || deliver_all(&socket, samples, WINDOW, answered, s(60)))
            })
            .collect();
        let mut in_doubt = 0;
        for kill in 0..KILLS {
            if kill % 5 == 4 {
                // Perhaps before it is ready, in the middle of its recovery.
                let mut process = Process::start(&mut site.run());
                std::thread::sleep(ms(dice.random_range(0..60)));
                process.kill();
                continue;
            }
            let daemon = site.start();
            if let Some(doubt) = daemon.try_status().and_then(|s| s["in_doubt"].as_u64()) {
                in_doubt = in_doubt.max(doubt);
            }
            // Load is spread over the kills by what is answered; the moment itself is random.
            let goal = EVENTS * (kill + 1) / (KILLS + 1);
            within(s(60), "answers", || {
                (answered.load(Ordering::Relaxed) >= goal).then_some(())
            });
            std::thread::sleep(Duration::from_micros(dice.random_range(0..60_000)));
            daemon.kill();
        }
        let daemon = site.start();
        let again: usize = clients
            .into_iter()
            .map(|c| c.join().expect("a client"))
            .sum();
        (daemon, in_doubt, again)
    });
    assert_eq!(answered.load(Ordering::Relaxed), EVENTS);
    let totals = stand_in.takes(EVENTS as u64, s(60));
    let status = daemon.shows(s(20), "all settled", |s| s["delivered"] == EVENTS as u64);
    // Each id under its one name, and none besides.
    stand_in.holds(&samples);
    assert_eq!((totals.renamed, totals.changed, totals.failed), (0, 0, 0));
    // Twice only what was in flight at a kill, and all of it is known by name.
    let resent = status["ledger"]["resent"].as_u64().expect("a count");
    println!(
        "{} sent twice, {resent} resent, at most {in_doubt} in doubt at once, {again} lines answered only the second time",
        totals.duplicates
    );
    assert!(totals.duplicates <= (BATCH * IN_FLIGHT * KILLS) as u64);
    assert!(totals.duplicates <= resent, "{totals:?}, {resent} resent");
    assert!(in_doubt <= (BATCH * IN_FLIGHT) as u64, "{in_doubt}");
    // Queued once each, however often it came.
    let ledger = &status["ledger"];
    assert_eq!(ledger["accepted"], EVENTS as u64);
    assert_eq!(ledger["ledger_imbalance"], 0);
    assert_eq!(ledger["set_aside"], 0);
    assert_eq!(status["dead_total"], 0);
    let ended = daemon.stop(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[test]
fn after_a_kill_exactly_those_in_flight_are_in_doubt() {
    let mut stand_in = StandIn::start();
    let site = Site::new(&stand_in)
        .set("delivery", "max_batch_events", "10")
        .set("delivery", "max_in_flight", "1");
    let daemon = site.start();
    stand_in.mode(serde_json::json!({"fault": "silent", "fault_processed": true}));
    let samples = samples("doubt", 0..30);
    Client::queue(&daemon.socket(), &samples);
    stand_in.asked(1, s(10));
    daemon.kill();
    stand_in.kill();
    let daemon = site.start();
    let ledger = &daemon.status()["ledger"];
    assert_eq!(daemon.status()["in_doubt"], 10, "{ledger:#}");
    assert_eq!(ledger["accepted"], 30, "{ledger:#}");
    daemon.kill();
    stand_in.restart();
    let daemon = site.start();
    let status = daemon.shows(s(20), "delivered", |status| status["delivered"] == 30);
    assert_eq!(status["in_doubt"], 0, "{status:#}");
    let resent = status["ledger"]["resent"].as_u64().expect("a count");
    assert!(resent >= 10 && resent.is_multiple_of(10), "{status:#}");
    stand_in.holds(&samples);
    // What the first, unanswered request brought is all that came twice.
    assert_eq!(stand_in.totals().duplicates, 10);
}
