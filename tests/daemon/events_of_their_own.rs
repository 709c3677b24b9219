//! Events that need more than the common way: custom properties, names that are refused, old
//! ones.

use serde_json::json;

use crate::support::{Client, Site, StandIn, s, samples};

const MAPPED: &str = "[[mappings]]\nsource = \"properties.brand\"\n\
    destination = \"properties.house\"\n";

#[test]
fn a_refused_custom_property_costs_the_property_and_no_event() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(MAPPED);
    let daemon = site.start();
    let samples = samples("custom", 0..1000);
    Client::queue(&daemon.socket(), &samples);
    stand_in.takes(1000, s(20));
    stand_in.holds(&samples);
    let status = daemon.shows(s(5), "settled", |status| status["delivered"] == 1000);
    assert_eq!(status["dead_total"], 0);
    let stripped = status["delivery"]["stripped"]["house"].as_u64();
    assert!(stripped >= Some(1), "{status:#}");
    let totals = stand_in.totals();
    assert_eq!(totals.duplicates, 0);
    assert!(totals.requests < 40, "{totals:?}");
}

#[test]
fn under_dead_letter_only_the_events_with_the_property_are_kept_back() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("custom_properties", "on_refused", "dead_letter");
    site.config(MAPPED);
    let daemon = site.start();
    let samples = samples("kept", 0..50);
    Client::queue(&daemon.socket(), &samples);
    // Product Viewed and Product Added carry a brand at the top: two of five.
    let status = daemon.shows(s(10), "settled", |status| status["delivered"] == 30);
    let status = match status["dead_total"].as_u64() {
        Some(20) => status,
        _ => daemon.shows(s(10), "dead letters", |status| status["dead_total"] == 20),
    };
    assert_eq!(status["dead"]["custom_refused"], 20);
}

#[test]
fn a_refused_name_is_no_reason_to_park() {
    let stand_in = StandIn::with(&["--nonstandard-names", "failed"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    for n in 0..300 {
        let line = json!({"messageId": format!("odd-{n}"), "type": "track", "event": "Quiz Taken",
            "context": {"traits": {"email": "a@b.example"}}});
        assert_eq!(client.ask(&line.to_string()).status(), "queued");
    }
    let samples = samples("common", 0..300);
    Client::queue(&daemon.socket(), &samples);
    let status = daemon.shows(s(10), "settled", |status| status["delivered"] == 300);
    let status = match status["dead_total"].as_u64() {
        Some(300) => status,
        _ => daemon.shows(s(10), "dead letters", |status| status["dead_total"] == 300),
    };
    assert_eq!(status["dead"]["refused"], 300);
    // Told once, with the line that cures it.
    let log = daemon.log();
    let told = "Pinterest refuses the event name \\\"Quiz Taken\\\"";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(log.contains("[event_names]"), "{log}");
}

#[test]
fn what_is_too_old_is_dead_and_not_sent() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    for (id, age) in [
        ("fresh", 0),
        ("week", 7 * 86_400 - 3600),
        ("old", 7 * 86_400 - 60),
    ] {
        let line = json!({"messageId": id, "type": "page", "timestamp": now - age,
            "context": {"traits": {"email": "a@b.example"}}});
        assert_eq!(client.ask(&line.to_string()).status(), "queued");
        // Nothing expires by the clock of a new queue before an answer has confirmed it.
        daemon.shows(s(10), "a clock that is believed", |status| {
            status["clock"]["believed"] == true
        });
    }
    let status = daemon.shows(s(10), "settled", |s| {
        s["delivered"] == 2 && s["dead_total"] == 1
    });
    assert_eq!(status["dead"]["expired"], 1);
    assert!(
        stand_in
            .events()
            .iter()
            .all(|event| &*event.event_id != "old")
    );
}

#[test]
fn test_mode_sends_small_batches_slowly_and_records_nothing() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("pinterest", "test", "true");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("try", 0..300));
    let status = daemon.shows(s(20), "settled", |status| status["delivered_test"] == 300);
    assert_eq!(status["test_mode"], true);
    let totals = stand_in.totals();
    assert_eq!(
        (totals.test_events, totals.events_processed),
        (300, 0),
        "{totals:?}"
    );
    assert!(stand_in.requests().iter().all(|r| r.test && r.events <= 20));
}
