//! `queue.max_bytes`: at the quota reading stops, nothing is dropped, and it goes on by itself.

use std::fs;
use std::sync::atomic::AtomicUsize;

use serde_json::json;

use crate::support::{Client, Daemon, Process, Site, StandIn, deliver_all, ms, s, samples, within};

/// Sends events one by one in turn over a connection until there is no answer any more; those
/// that were answered.
fn fill(daemon: &Daemon<'_>, series: &str) -> usize {
    let mut client = Client::connect(&daemon.socket());
    client.patience(s(3));
    for n in 0.. {
        let line = &samples(series, n..n + 1)[0].line;
        if client.write(format!("{line}\n").as_bytes()).is_err() {
            return n;
        }
        match client.answer() {
            Ok(answer) => assert_eq!(answer.status(), "queued"),
            Err(_) => return n,
        }
        assert!(n < 100_000, "the quota was never reached");
    }
    unreachable!("it returns")
}

fn full(log: &str) -> bool {
    log.contains("reached queue.max_bytes")
}

fn accepts_again(daemon: &Daemon<'_>) {
    within(s(30), "acceptance", || {
        daemon
            .log()
            .contains("the queue has room again: accepting")
            .then_some(())
    });
}

/// The smallest quota that the config takes. What is in the last generation, which is not full,
/// must not hold it for good.
#[test]
fn at_the_quota_reading_stops_and_goes_on_when_pinterest_is_back() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let sent = fill(&daemon, "quota");
    assert!(full(&daemon.log()), "{}", daemon.log());
    // What was written and not answered may be stored or not: it is sent again below.
    let all = samples("quota", 0..sent + 500);
    let due = daemon.status()["ledger"]["accepted"]
        .as_u64()
        .expect("a count");
    assert!(due >= sent as u64, "{due} accepted, {sent} answered");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let answered = AtomicUsize::new(0);
            deliver_all(&daemon.socket(), &all[sent..], 50, &answered, s(90))
        });
        std::thread::sleep(s(2));
        assert!(!waiting.is_finished(), "nothing is taken while it is full");
        stand_in.well();
        accepts_again(&daemon);
        waiting.join().expect("all are taken");
    });
    stand_in.takes(all.len() as u64, s(60));
    stand_in.holds(&all);
    let status = daemon.shows(s(10), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

/// The same over a kill: what the last generation holds is measured anew at the start.
#[test]
fn a_full_queue_recovers_over_a_kill() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let sent = fill(&daemon, "killed");
    daemon.kill();
    let daemon = site.start();
    within(s(10), "still full", || full(&daemon.log()).then_some(()));
    stand_in.well();
    accepts_again(&daemon);
    let all = samples("killed", 0..sent + 100);
    let answered = AtomicUsize::new(0);
    deliver_all(&daemon.socket(), &all[sent..], 50, &answered, s(30));
    stand_in.takes(all.len() as u64, s(60));
    stand_in.holds(&all);
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

/// Large events, many at once: one commit alone is more than the quota.
#[test]
fn one_commit_beyond_the_quota_does_not_end_acceptance() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let sent = crate::support::noisy("large", 0..40, 100_000);
    // More than the quota, in one go; then it is full.
    Client::queue(&daemon.socket(), &sent[..30]);
    within(s(10), "a full queue", || full(&daemon.log()).then_some(()));
    stand_in.well();
    accepts_again(&daemon);
    Client::queue(&daemon.socket(), &sent[30..]);
    stand_in.takes(40, s(60));
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

/// Clients that leave while the queue is full were noticed only when it was not any more: their
/// connections, and a descriptor each, piled up for as long as an outage lasts.
#[test]
fn who_leaves_while_the_queue_is_full_is_let_go_and_who_waits_is_answered() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let process = Process::start(&mut site.run());
    let pid = process.pid();
    let daemon = site.ready(process);
    let descriptors = || {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        open.count()
    };
    fill(&daemon, "leaves");
    within(s(10), "a full queue", || full(&daemon.log()).then_some(()));
    // This one says that it has no more to say, and waits for its answer.
    let line = samples("waits", 0..1)[0].line.clone();
    let mut waits = Client::connect(&site.socket());
    waits
        .write(format!("{line}\n").as_bytes())
        .expect("written");
    let waiting = std::thread::spawn(move || waits.finish());
    std::thread::sleep(ms(500));
    let before = descriptors();
    let leaving: Vec<_> = (0..100)
        .map(|n| {
            let mut client = Client::connect(&site.socket());
            let line = samples("left", n..n + 1)[0].line.clone();
            client
                .write(format!("{line}\n").as_bytes())
                .expect("written");
            client
        })
        .collect();
    within(s(10), "a hundred clients", || {
        (descriptors() >= before + 100).then_some(())
    });
    // They stay while they stay. (One of `before` was the one that filled the queue.)
    std::thread::sleep(s(2));
    assert!(descriptors() >= before + 95, "{before}: {}", descriptors());
    drop(leaving);
    within(s(10), "that they are let go", || {
        (descriptors() < before + 20).then_some(())
    });
    assert!(!waiting.is_finished());
    stand_in.well();
    accepts_again(&daemon);
    let answers = waiting.join().expect("it got its answer");
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].status(), "queued");
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}
