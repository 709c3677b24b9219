//! Events that leave later than `delivery.late_after` after they happened.

use serde_json::json;

use crate::support::{Client, Site, StandIn, s, samples, within};

/// An event that happened so many seconds ago.
fn happened(id: &str, seconds_ago: i64, url: &str) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
    json!({
        "messageId": id, "type": "track", "event": "Product Viewed", "timestamp": at.to_string(),
        "context": {"traits": {"email": "a@b.example"}, "page": {"url": url}},
    })
    .to_string()
}

const SHOP: &str = "https://shop.example/";

#[test]
fn late_events_go_by_default_and_are_counted() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    for (id, ago) in [("young", 3000), ("late", 3700), ("later", 80_000)] {
        assert_eq!(client.ask(&happened(id, ago, SHOP)).status(), "queued");
    }
    let status = daemon.shows(s(10), "delivered", |status| status["delivered"] == 3);
    assert_eq!(
        (&status["late"], &status["dead_total"]),
        (&json!(2), &json!(0))
    );
    let shown = site.command(&["status"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let late = shown
        .lines()
        .find(|line| line.trim_start().starts_with("late "));
    assert!(late.is_some_and(|line| line.ends_with(" 2")), "{shown}");
}

#[test]
fn late_events_become_dead_letters_where_they_are_to_until_they_are_retried() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "on_late", "dead_letter");
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    // Nothing dies by the clock of a new queue before an answer has confirmed it.
    let young = happened("young", 3000, SHOP);
    assert_eq!(client.ask(&young).status(), "queued");
    daemon.shows(s(10), "a clock that is believed", |status| {
        status["clock"]["believed"] == true
    });
    assert_eq!(client.ask(&happened("late", 3700, SHOP)).status(), "queued");
    let status = daemon.shows(s(10), "settled", |status| {
        status["delivered"] == 1 && status["dead_total"] == 1
    });
    assert_eq!(status["dead"]["late"], 1);
    assert_eq!(status["late"], 0);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    // The operator's retry is not late a second time.
    let mut retry = site.command(&["dead", "retry", "--reason", "late", "--json"]);
    let out = retry.output().expect("it runs");
    assert!(out.status.success(), "{out:?}");
    let status = daemon.shows(s(10), "delivered", |status| status["delivered"] == 2);
    assert_eq!(
        (&status["late"], &status["dead_total"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn a_reload_changes_what_late_is() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    client.ask(&happened("before", 600, SHOP));
    daemon.shows(s(10), "delivered", |status| status["delivered"] == 1);
    site.config("[delivery]\nlate_after = \"5m\"\n");
    let reloaded = site.command(&["reload"]).output().expect("it runs");
    assert!(reloaded.status.success());
    client.ask(&happened("after", 600, SHOP));
    let status = daemon.shows(s(10), "delivered", |status| status["delivered"] == 2);
    assert_eq!(status["late"], 1);
}

#[test]
fn what_waits_and_is_soon_late_is_told_and_so_is_its_end() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "late_after", "4s");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "401"}));
    Client::queue(&daemon.socket(), &samples("wait", 0..5));
    let told = |what: &str| {
        // The look comes every ten seconds.
        within(s(25), what, || {
            let log = daemon.log();
            log.contains(what).then_some(log)
        })
    };
    let log = told("the oldest waiting event is soon late");
    assert!(log.contains("`pinrelay status` says why"), "{log}");
    stand_in.well();
    stand_in.takes(5, s(20));
    let log = told("waiting events are in time again");
    assert_eq!(log.matches("is soon late").count(), 1, "{log}");
}
