//! Kill -9 at random moments, again and again, under load: the promise as a client and Pinterest
//! see it. `PINRELAY_TORTURE_KILLS` sets how often (20), `PINRELAY_TORTURE_SEED` repeats a run's
//! moments (as far as moments can be repeated).

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "daemon/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use support::{Client, Sample, Site, StandIn, deliver_all, ms, s, samples};

/// Written and awaited at once by one client.
const WINDOW: usize = 300;
const CLIENTS: usize = 3;

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
    }
    sent
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_repeats_only_what_is_in_doubt() {
    let kills = number("PINRELAY_TORTURE_KILLS").unwrap_or(20);
    let seed = number("PINRELAY_TORTURE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    println!("PINRELAY_TORTURE_SEED={seed} PINRELAY_TORTURE_KILLS={kills}");
    let mut moments = Moments(seed);
    let stand_in = StandIn::start();
    // Requests are on their way when the kill comes.
    stand_in.mode(json!({"latency_ms": 15}));
    let site = Site::new(&stand_in);
    let (end, answered) = (AtomicBool::new(false), AtomicUsize::new(0));

    let sent: Vec<Sample> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                scope.spawn({
                    let (site, end, answered) = (&site, &end, &answered);
                    move || client(site, at, end, answered)
                })
            })
            .collect();
        for _ in 0..kills {
            if moments.below(4) == 0 {
                // While it opens, recovers, or has just begun.
                let mut process = support::Process::start(&mut site.run());
                std::thread::sleep(ms(moments.below(120)));
                assert!(process.running(), "it ended: {}", process.output());
                process.kill();
                continue;
            }
            let daemon = site.start();
            let status = daemon.status();
            assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
            std::thread::sleep(ms(moments.below(500)));
            let status = daemon.status();
            assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
            assert_eq!(status["ledger"]["set_aside"], 0, "{status:#}");
            assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
            daemon.kill();
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
        assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
        assert_eq!(status["ledger"]["accepted"], sent.len(), "{status:#}");
        assert_eq!(status["ledger"]["delivered"], sent.len(), "{status:#}");
        let totals = stand_in.totals();
        let resent = status["ledger"]["resent"].as_u64().expect("a count");
        assert!(totals.duplicates <= resent, "{totals:?} {status:#}");
        assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
        println!(
            "{} events, {} answers, {resent} resent, {} of them taken twice",
            sent.len(),
            answered.load(Ordering::Relaxed),
            totals.duplicates
        );
        // Everything is remembered, too.
        let again = Client::send(&site.socket(), &sent[sent.len() - WINDOW..]);
        assert!(again.iter().all(|answer| answer.status() == "duplicate"));
        assert_eq!(daemon.stop(s(30)).code, Some(0));
        sent
    });
    stand_in.holds(&sent);
}
