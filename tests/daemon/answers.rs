//! Every class of Pinterest's answers, and what becomes of the events.

use serde_json::json;

use crate::support::{Client, Daemon, Site, StandIn, s, samples};

fn delivered(daemon: &Daemon<'_>, delivered: u64, dead: u64) -> serde_json::Value {
    let status = daemon.shows(s(30), "everything settled", |status| {
        status["delivered"] == delivered && status["dead_total"] == dead
    });
    assert_eq!(status["ledger"]["accepted"], delivered + dead);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    assert_eq!(status["in_doubt"], 0);
    status
}

#[test]
fn a_mixed_list_settles_by_position_under_200_and_422() {
    for mixed in [200, 422] {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let daemon = site.start();
        let bad = ["mixed-000003", "mixed-000042", "mixed-000099"];
        stand_in.mode(json!({"mixed_status": mixed, "refuse_event_ids": bad,
            "refuse_message": "The price is odd"}));
        let samples = samples("mixed", 0..100);
        Client::queue(&daemon.socket(), &samples);
        let status = delivered(&daemon, 97, 3);
        assert_eq!(status["dead"]["refused"], 3);
        let good: Vec<_> = (samples.into_iter())
            .filter(|s| !bad.contains(&s.id.as_str()))
            .collect();
        stand_in.holds(&good);
        let totals = stand_in.totals();
        assert_eq!((totals.duplicates, totals.failed), (0, 3), "{mixed}");
    }
}

#[test]
fn all_failed_is_settled_by_position_too() {
    for status in [200, 422] {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let daemon = site.start();
        stand_in.mode(json!({"refuse_all": true, "all_failed_status": status}));
        Client::queue(&daemon.socket(), &samples("failed", 0..20));
        delivered(&daemon, 0, 20);
        // One verdict each is enough.
        assert_eq!(stand_in.totals().failed, 20);
    }
}

#[test]
fn one_bad_event_among_a_thousand_under_400_costs_at_most_25_requests() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "linger", "1s");
    let daemon = site.start();
    stand_in.mode(
        json!({"refuse_as": "request", "refuse_event_ids": ["bad-000617"],
        "refuse_message": "'oops' is too odd"}),
    );
    let mut samples = samples("bad", 0..1000);
    Client::queue(&daemon.socket(), &samples);
    let status = delivered(&daemon, 999, 1);
    assert_eq!(status["dead"]["refused"], 1);
    samples.remove(617);
    stand_in.holds(&samples);
    let totals = stand_in.totals();
    assert!(totals.requests <= 25, "{totals:?}");
    assert_eq!(totals.duplicates, 0);
}

#[test]
fn too_large_a_body_is_split_and_a_lone_one_is_dead() {
    let stand_in = StandIn::with(&["--max-body-bytes", "20000"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut samples = samples("large", 0..200);
    let name = "x".repeat(40_000);
    samples[77].line = samples[77].line.replacen("Stoneware mug", &name, 1);
    assert!(samples[77].line.len() > 40_000);
    Client::queue(&daemon.socket(), &samples);
    let status = delivered(&daemon, 199, 1);
    assert_eq!(status["dead"]["too_large"], 1);
    samples.remove(77);
    stand_in.holds(&samples);
    assert_eq!(stand_in.totals().duplicates, 0);
}

#[test]
fn auth_trouble_parks_and_loses_nothing() {
    for status in ["401", "403", "404"] {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let daemon = site.start();
        stand_in.mode(json!({"fault": status}));
        let samples = samples("auth", 0..1500);
        Client::queue(&daemon.socket(), &samples);
        let shown = daemon.shows(s(10), "parked", |status| {
            status["gate"]["state"] == "parked"
        });
        assert_eq!(shown["gate"]["reason"], "auth");
        assert_eq!(shown["state"], "parked");
        // Small probes, and few.
        let before = stand_in.totals().requests;
        std::thread::sleep(s(3));
        let requests = stand_in.requests();
        assert!(requests.len() as u64 - before <= 20, "{}", requests.len());
        let probe = requests.last().expect("a request");
        assert!(probe.events <= 1, "{probe:?}");
        stand_in.well();
        delivered(&daemon, 1500, 0);
        stand_in.holds(&samples);
        assert_eq!(stand_in.totals().duplicates, 0);
    }
}

#[test]
fn a_429_waits_as_long_as_it_is_told() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "max_in_flight", "1");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "429", "fault_first": 1, "retry_after": 3}));
    Client::queue(&daemon.socket(), &samples("limited", 0..500));
    let shown = daemon.shows(s(5), "shut", |status| status["gate"]["state"] == "shut");
    assert_eq!(shown["gate"]["reason"], "rate_limited");
    delivered(&daemon, 500, 0);
    let requests = stand_in.requests();
    assert_eq!(requests[0].status, "429");
    let waited = requests[1].at - requests[0].at;
    assert!((3000..9000).contains(&waited), "{waited}");
    assert_eq!(stand_in.totals().duplicates, 0);
}

#[test]
fn a_503_for_a_while_is_backed_off_then_all_is_delivered() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "backoff_max", "1s");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "503"}));
    let samples = samples("away", 0..2000);
    Client::queue(&daemon.socket(), &samples);
    daemon.shows(s(10), "backing off", |status| {
        status["gate"]["reason"] == "unavailable"
    });
    std::thread::sleep(s(5));
    let asked = stand_in.totals().requests;
    assert!(asked <= 60, "{asked} requests in 5 s are no backing off");
    stand_in.well();
    delivered(&daemon, 2000, 0);
    stand_in.holds(&samples);
}

/// Outcomes that nobody knows: sent again under the same id and name, and counted.
#[test]
fn unknown_outcomes_are_sent_again_as_they_were() {
    for fault in [
        "500",
        "408",
        "reset",
        "close",
        "unreadable",
        "short-list",
        "long-list",
    ] {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in);
        let daemon = site.start();
        stand_in.mode(json!({"fault": fault, "fault_first": 3, "fault_processed": true}));
        let samples = samples("unknown", 0..400);
        Client::queue(&daemon.socket(), &samples);
        let status = delivered(&daemon, 400, 0);
        stand_in.holds(&samples);
        let totals = stand_in.totals();
        assert_eq!((totals.renamed, totals.changed), (0, 0), "{fault}");
        assert!(totals.duplicates > 0, "{fault}: nothing was sent again");
        let resent = status["ledger"]["resent"].as_u64().unwrap_or_default();
        assert!(resent >= totals.duplicates, "{fault}: {resent} {totals:?}");
    }
}

#[test]
fn a_silent_or_slow_answer_times_out_and_is_sent_again() {
    for mode in [
        json!({"fault": "silent", "fault_first": 1, "fault_processed": true}),
        json!({"fault": "trickle", "fault_first": 1, "trickle_ms": 200}),
        json!({"latency_ms": 1500}),
    ] {
        let stand_in = StandIn::start();
        let site = Site::new(&stand_in).set("delivery", "request_timeout", "500ms");
        let daemon = site.start();
        stand_in.mode(mode.clone());
        let samples = samples("slow", 0..50);
        Client::queue(&daemon.socket(), &samples);
        stand_in.asked(2, s(10));
        stand_in.well();
        delivered(&daemon, 50, 0);
        stand_in.holds(&samples);
        let totals = stand_in.totals();
        assert!(totals.duplicates > 0, "{mode}");
        assert_eq!((totals.renamed, totals.changed), (0, 0));
    }
}

#[test]
fn a_redirect_is_not_followed_and_loses_nothing() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"fault": "302"}));
    Client::queue(&daemon.socket(), &samples("moved", 0..100));
    let shown = daemon.shows(s(10), "parked", |status| {
        status["gate"]["state"] == "parked"
    });
    assert_eq!(shown["gate"]["reason"], "unexpected");
    assert_eq!(stand_in.totals().stray_requests, 0);
    stand_in.well();
    delivered(&daemon, 100, 0);
}

#[test]
fn nobody_there_costs_nothing() {
    let mut stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.kill();
    let samples = samples("gone", 0..300);
    Client::queue(&daemon.socket(), &samples);
    let shown = daemon.shows(s(10), "backing off", |s| {
        s["gate"]["reason"] == "unavailable"
    });
    assert_eq!(shown["dead_total"], 0);
    stand_in.restart();
    delivered(&daemon, 300, 0);
    stand_in.holds(&samples);
    assert_eq!(stand_in.totals().duplicates, 0);
}
