//! A config or an API change that makes Pinterest refuse everything must not kill the stream.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Daemon, Site, StandIn, s, samples};

const EVENTS: u64 = 5000;
/// What the log says of those that had died.
const REVIVED: &str = "before it was clear that every event is refused alike is queued again";

/// Refuses everything for 20 s; the parts of the promise that hold meanwhile.
fn refused<'a>(stand_in: &StandIn, site: &'a Site, mode: Value) -> Daemon<'a> {
    let daemon = site.start();
    stand_in.mode(mode);
    let samples = samples("all", 0..EVENTS as usize);
    for some in samples.chunks(1000) {
        Client::queue(&daemon.socket(), some);
    }
    let status = daemon.shows(s(10), "parked", |s| s["gate"]["reason"] == "refused_all");
    assert_eq!(status["gate"]["state"], "parked");
    let detail = status["gate"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("changed its mind"), "{detail}");
    std::thread::sleep(s(20));
    let status = daemon.status();
    assert_eq!(status["gate"]["reason"], "refused_all");
    // Those that died before it was clear are queued again.
    assert_eq!(status["dead_total"], 0);
    assert_eq!(status["queued"].as_u64(), Some(EVENTS));
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    assert_eq!(stand_in.totals().events_processed, 0);
    let log = daemon.log();
    assert!(log.contains(REVIVED), "{log}");
    daemon
}

fn over(stand_in: &StandIn, daemon: &Daemon<'_>, limit: std::time::Duration) {
    let status = daemon.shows(limit, "all the rest delivered", |s| {
        let count = |key: &str| s[key].as_u64().unwrap_or_default();
        count("delivered") + count("dead_total") == EVENTS
    });
    assert_eq!(status["dead_total"], 0, "{status:#}");
    let totals = stand_in.totals();
    assert_eq!(totals.distinct_event_ids, EVENTS);
    assert_eq!(totals.duplicates, 0);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    println!("{} requests", totals.requests);
    assert!(totals.requests < 400, "{totals:?}");
}

#[test]
fn refused_as_requests_parks_and_goes_on_by_itself() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let mode = json!({"refuse_all": true, "refuse_as": "request",
        "refuse_message": "the API changed its mind"});
    let daemon = refused(&stand_in, &site, mode);
    stand_in.well();
    // The next probe finds out, a minute after the last one.
    over(&stand_in, &daemon, s(75));
}

#[test]
fn refused_one_by_one_parks_and_goes_on_after_a_reload() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let mode = json!({"refuse_all": true, "refuse_message": "the API changed its mind"});
    let daemon = refused(&stand_in, &site, mode);
    stand_in.well();
    daemon.signal(Signal::SIGHUP);
    over(&stand_in, &daemon, s(10));
}

#[test]
fn refused_all_costs_nothing_over_a_crash() {
    for is_cured in [false, true] {
        over_a_crash(is_cured);
    }
}

/// Killed as soon as it is recognised, with the cure in place at the next start or after it.
fn over_a_crash(is_cured: bool) {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let mode = json!({"refuse_all": true, "refuse_as": "request",
        "refuse_message": "the API changed its mind"});
    let daemon = site.start();
    stand_in.mode(mode);
    Client::queue(&daemon.socket(), &samples("all", 0..EVENTS as usize));
    daemon.shows(s(10), "parked", |s| s["gate"]["reason"] == "refused_all");
    daemon.kill();
    if is_cured {
        stand_in.well();
    }
    let daemon = site.start();
    if !is_cured {
        daemon.shows(s(10), "parked", |s| s["gate"]["reason"] == "refused_all");
        stand_in.well();
        daemon.signal(Signal::SIGHUP);
    }
    let status = daemon.shows(s(10), "all the rest delivered", |s| {
        let count = |key: &str| s[key].as_u64().unwrap_or_default();
        count("delivered") + count("dead_total") == EVENTS
    });
    assert_eq!(status["dead_total"], 0, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    assert_eq!(stand_in.totals().distinct_event_ids, EVENTS);
}
