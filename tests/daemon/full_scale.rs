//! What the other files show in small, at full scale and with the shipped values:
//! `cargo test --release --test daemon -- --ignored`, about four minutes.

use serde_json::json;

use crate::support::{Client, Site, StandIn, s, samples};

/// With the values that a config without a `[delivery]` has.
fn shipped(stand_in: &StandIn) -> Site {
    (Site::new(stand_in).unset("delivery", "backoff_initial"))
        .unset("delivery", "backoff_max")
        .unset("delivery", "linger")
}

#[test]
#[ignore = "takes four minutes"]
fn everything_refused_for_two_minutes_costs_under_400_requests_and_100_events() {
    const EVENTS: u64 = 50_000;
    for refuse_as in ["request", "failed"] {
        let stand_in = StandIn::start();
        let site = shipped(&stand_in);
        let daemon = site.start();
        stand_in.mode(json!({"refuse_all": true, "refuse_as": refuse_as}));
        let begun = std::time::Instant::now();
        Client::queue(&daemon.socket(), &samples("all", 0..EVENTS as usize));
        std::thread::sleep(s(120).saturating_sub(begun.elapsed()));
        let refused = stand_in.totals();
        assert_eq!(refused.events_processed, 0);
        assert!(refused.requests < 400, "{refused:?}");
        stand_in.well();
        let status = daemon.shows(s(90), "all the rest delivered", |s| {
            let count = |key: &str| s[key].as_u64().unwrap_or_default();
            count("delivered") + count("dead_total") == EVENTS
        });
        let dead = status["dead_total"].as_u64().expect("a count");
        assert!(dead <= 100, "{dead}");
        let totals = stand_in.totals();
        assert_eq!(totals.distinct_event_ids, EVENTS - dead);
        assert_eq!(totals.duplicates, 0);
        println!(
            "{refuse_as}: {} requests while refused, {dead} dead",
            refused.requests
        );
        assert!(totals.requests < 400, "{totals:?}");
    }
}

#[test]
#[ignore = "takes two minutes"]
fn a_401_for_a_minute_costs_nothing() {
    let stand_in = StandIn::start();
    let site = shipped(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"fault": "401"}));
    let samples = samples("auth", 0..20_000);
    Client::queue(&daemon.socket(), &samples);
    std::thread::sleep(s(60));
    let asked = stand_in.totals().requests;
    stand_in.well();
    let status = daemon.shows(s(90), "all delivered", |s| s["delivered"] == 20_000);
    assert_eq!(status["dead_total"], 0);
    stand_in.holds(&samples);
    assert_eq!(stand_in.totals().duplicates, 0);
    println!("{asked} requests while refused");
}
