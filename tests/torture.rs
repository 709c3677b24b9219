//! Kill -9 at random moments, again and again, under load: while it opens and recovers, while
//! generations roll and go (they are small here), while events become dead letters, while it
//! drains. After each start `pinrelay verify` passes, and in the end the stand-in's account
//! agrees with the clients'. `PINRELAY_TORTURE_KILLS` sets how often (50), `PINRELAY_TORTURE_SEED`
//! repeats a run's moments (as far as moments can be repeated).

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "daemon/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{Client, Sample, Site, StandIn, deliver_all, ms, s, samples};

/// Written and awaited at once by one client.
const WINDOW: usize = 100;
const CLIENTS: usize = 3;
/// Each client rests between windows, so that a long run does not end in millions of events.
const REST: Duration = ms(300);
/// One event of 250 comes from this address, and the stand-in refuses those.
const REFUSED: &str = "\"203.0.113.77\"";

/// Moments: xorshift, so that a seed is all that a run needs.
struct Moments(u64);

impl Moments {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().expect(name))
}

/// Sends until it is told to end; all that it sent and that was acknowledged.
fn client(site: &Site, at: usize, end: &AtomicBool, answered: &AtomicUsize) -> Vec<Sample> {
    let mut sent = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let more = samples(&format!("client-{at}"), sent.len()..sent.len() + 2 * WINDOW);
        deliver_all(&site.socket(), &more, WINDOW, answered, s(60));
        sent.extend(more);
        std::thread::sleep(REST);
    }
    sent
}

/// `pinrelay verify`, of the stopped queue or the running daemon, finds nothing.
fn verify(site: &Site, when: &str) {
    let out = (site.command(&["verify"]).output()).expect("verify runs");
    let said = String::from_utf8_lossy(&out.stdout);
    let complained = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{when}: {said}{complained}");
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_repeats_only_what_is_in_doubt() {
    let kills = number("PINRELAY_TORTURE_KILLS").unwrap_or(50);
    let seed = number("PINRELAY_TORTURE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    println!("PINRELAY_TORTURE_SEED={seed} PINRELAY_TORTURE_KILLS={kills}");
    let mut moments = Moments(seed);
    let stand_in = StandIn::start();
    // Requests are on their way when the kill comes.
    stand_in.mode(json!({"latency_ms": 15, "refuse_containing": REFUSED}));
    let site = Site::new(&stand_in)
        .set("queue", "generation_events", "300")
        .set("delivery", "max_batch_events", "100")
        .set("delivery", "max_in_flight", "8")
        .set("delivery", "drain_deadline", "5s");
    let (end, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut opening, mut running, mut draining) = (0, 0, 0);

    let sent: Vec<Sample> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                scope.spawn({
                    let (site, end, answered) = (&site, &end, &answered);
                    move || client(site, at, end, answered)
                })
            })
            .collect();
        for kill in 0..kills {
            let kind = moments.below(8);
            if kind < 2 {
                // While it opens, recovers, or has just begun.
                let mut process = support::Process::start(&mut site.run());
                std::thread::sleep(ms(moments.below(120)));
                assert!(process.running(), "it ended: {}", process.output());
                process.kill();
                opening += 1;
                continue;
            }
            let daemon = site.start();
            verify(&site, "running");
            std::thread::sleep(ms(moments.below(400)));
            let status = daemon.status();
            assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
            assert_eq!(status["ledger"]["set_aside"], 0, "{status:#}");
            assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
            if kind == 2 {
                daemon.signal(Signal::SIGTERM);
                std::thread::sleep(ms(moments.below(80)));
                draining += 1;
            } else {
                running += 1;
            }
            daemon.kill();
            if kill % 5 == 0 {
                verify(&site, "after a kill");
            }
            if kill % 100 == 99 {
                println!(
                    "{} kills, {} answers",
                    kill + 1,
                    answered.load(Ordering::Relaxed)
                );
            }
        }
        end.store(true, Ordering::Relaxed);
        let daemon = site.start();
        let sent = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect::<Vec<_>>();
        let status = daemon.shows(s(60), "an empty queue", |status| {
            status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
        });
        let refused = sent.iter().filter(|sample| sample.line.contains(REFUSED));
        let refused = refused.count();
        assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
        assert_eq!(status["ledger"]["accepted"], sent.len(), "{status:#}");
        assert_eq!(
            status["ledger"]["delivered"],
            sent.len() - refused,
            "{status:#}"
        );
        assert_eq!(status["ledger"]["dead"], refused, "{status:#}");
        let totals = stand_in.totals();
        let resent = status["ledger"]["resent"].as_u64().expect("a count");
        assert!(totals.duplicates <= resent, "{totals:?} {status:#}");
        assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
        println!(
            "{kills} kills ({opening} opening, {running} running, {draining} draining): {} events \
             accepted, {} delivered, {refused} dead, 0 missing, imbalance 0; {resent} resent in \
             doubt, {} of them taken twice; {} answers",
            sent.len(),
            sent.len() - refused,
            totals.duplicates,
            answered.load(Ordering::Relaxed),
        );
        // Everything is remembered, too.
        let again = Client::send(&site.socket(), &sent[sent.len() - WINDOW..]);
        assert!(again.iter().all(|answer| answer.status() == "duplicate"));
        verify(&site, "in the end, running");
        assert_eq!(daemon.stop(s(30)).code, Some(0));
        verify(&site, "in the end");
        sent
    });
    let delivered: Vec<_> = (sent.into_iter())
        .filter(|sample| !sample.line.contains(REFUSED))
        .collect();
    stand_in.holds(&delivered);
}
