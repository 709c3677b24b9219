//! Kill -9 at random instants, under load from clients that resend: of the primary, whose standby
//! takes its place, and of the daemon. What was answered is delivered, and nothing twice but what was
//! in doubt by name. `PINRELAY_PG_KILLS` sets how often (2).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shop::{Answered, Pair, all_delivered, resend, site, verify};
use super::support::{Client, Daemon, Sample, Site, StandIn, ms, s, samples, within};

const CLIENTS: usize = 2;
/// Written and awaited at once by one client.
const WINDOW: usize = 50;
/// Between two pieces of a client's, so that many rounds do not end in millions of events.
const REST: Duration = ms(40);

fn rounds() -> u64 {
    let rounds = std::env::var("PINRELAY_PG_KILLS");
    rounds.map_or(2, |rounds| rounds.parse().expect("a number"))
}

/// Moments: xorshift, begun differently in each run.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = u64::from(std::process::id()) * 0x9e37_79b9 + 1;
        println!("moments from {seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the clients do until it is told to end.
struct Load {
    end: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    fn new() -> Self {
        Self {
            end: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
        }
    }

    /// All that one client sent, each of which is in; and what it was told.
    fn client(&self, site: &Site, at: usize) -> (Vec<Sample>, Answered) {
        let (mut sent, mut told) = (Vec::new(), Answered::default());
        while !self.end.load(Ordering::Relaxed) {
            let more = samples(&format!("client-{at}"), sent.len()..sent.len() + 2 * WINDOW);
            let of_these = resend(&site.socket(), &more, WINDOW, &self.answered);
            told.queued += of_these.queued;
            told.duplicate += of_these.duplicate;
            told.unavailable += of_these.unavailable;
            sent.extend(more);
            std::thread::sleep(REST);
        }
        (sent, told)
    }

    /// Waits until more is answered than now.
    fn goes_on(&self) {
        let now = self.answered.load(Ordering::Relaxed);
        within(s(60), "answers that come again", || {
            (self.answered.load(Ordering::Relaxed) > now).then_some(())
        });
    }
}

/// So that a test that fails does not wait for clients that go on.
struct EndsWith<'a>(&'a Load);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

fn told(what: &str, rounds: u64, told: &[Answered], slowest: Duration) {
    let sum = |of: fn(&Answered) -> usize| told.iter().map(of).sum::<usize>();
    println!(
        "{rounds} kills of {what}: {} queued, {} duplicate (stored, and the answer lost), {} \
         unavailable and sent again; the longest without an answer {slowest:?}",
        sum(|told| told.queued),
        sum(|told| told.duplicate),
        sum(|told| told.unavailable),
    );
}

fn resolved(daemon: &Daemon<'_>, status: &Value, stand_in: &StandIn) {
    println!(
        "{} sent again in doubt, {} of them taken twice; the last daemon found at least {} commits \
         of unknown outcome to have happened",
        status["ledger"]["resent"],
        stand_in.totals().duplicates,
        daemon.log().matches("found to have happened").count()
    );
}

fn delivering(stand_in: &StandIn, url: &str) -> Site {
    // Requests are on their way when the kill comes.
    stand_in.mode(json!({"latency_ms": 60}));
    site(stand_in, url, "replicated")
        .set("delivery", "max_batch_events", "20")
        .set("delivery", "max_in_flight", "8")
}

#[test]
fn a_primary_that_is_lost_costs_no_answer_and_nothing_comes_twice_unnamed() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let stand_in = StandIn::start();
    let site = delivering(&stand_in, &pair.url());
    let daemon = site.start();
    let (load, rounds, mut moments) = (Load::new(), rounds(), Moments::new());
    let mut slowest = Duration::ZERO;
    let clients = std::thread::scope(|scope| {
        let ends = EndsWith(&load);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                scope.spawn({
                    let (load, site) = (&load, &site);
                    move || load.client(site, at)
                })
            })
            .collect();
        for _ in 0..rounds {
            load.goes_on();
            std::thread::sleep(ms(moments.below(1000)));
            let killed = Instant::now();
            pair.fail_over();
            // Nobody is waited for there yet, so nothing is acknowledged.
            let before = load.answered.load(Ordering::Relaxed);
            let names = pair.primary().value("SHOW synchronous_standby_names");
            assert_eq!(names, "");
            std::thread::sleep(ms(moments.below(300)));
            let after = load.answered.load(Ordering::Relaxed);
            // Answers that were on their way count.
            assert!(after - before <= CLIENTS * WINDOW, "{before} {after}");
            pair.mend();
            load.goes_on();
            slowest = slowest.max(killed.elapsed());
        }
        drop(ends);
        let clients = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        clients.collect::<Vec<_>>()
    });
    let (sent, answered): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
    let sent = sent.concat();
    told("the primary", rounds, &answered, slowest);
    resolved(
        &daemon,
        &all_delivered(&daemon, &stand_in, &sent),
        &stand_in,
    );
    verify(&site, "running");
    // Everything is remembered, too.
    let again = Client::send(&site.socket(), &sent[sent.len() - WINDOW..]);
    assert!(again.iter().all(|answer| answer.status() == "duplicate"));
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    verify(&site, "in the end");
}

#[test]
fn a_daemon_that_is_killed_costs_no_answer_and_nothing_comes_twice_unnamed() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let stand_in = StandIn::start();
    let site = delivering(&stand_in, &pair.url());
    let (load, rounds, mut moments) = (Load::new(), rounds(), Moments::new());
    let mut slowest = Duration::ZERO;
    let (clients, daemon) = std::thread::scope(|scope| {
        let ends = EndsWith(&load);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                scope.spawn({
                    let (load, site) = (&load, &site);
                    move || load.client(site, at)
                })
            })
            .collect();
        let mut daemon = site.start();
        for _ in 0..rounds {
            load.goes_on();
            std::thread::sleep(ms(moments.below(1000)));
            let killed = Instant::now();
            daemon.kill();
            daemon = site.start();
            load.goes_on();
            slowest = slowest.max(killed.elapsed());
        }
        drop(ends);
        let clients = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        (clients.collect::<Vec<_>>(), daemon)
    });
    let (sent, answered): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
    let sent = sent.concat();
    told("the daemon", rounds, &answered, slowest);
    resolved(
        &daemon,
        &all_delivered(&daemon, &stand_in, &sent),
        &stand_in,
    );
    verify(&site, "running");
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    verify(&site, "in the end");
}
