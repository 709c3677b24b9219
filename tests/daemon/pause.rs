//! `pinrelay pause` and `resume`: events come in, nothing goes out, whatever happens between.

use std::fs;
use std::process::Output;

use serde_json::json;

use crate::support::{Client, Daemon, Site, StandIn, ms, s, samples};

/// Runs a command that has to end with this code; what it printed.
fn ran(site: &Site, args: &[&str], code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = site.command(args).output().expect("it runs");
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{args:?}: {said}");
    said.into_owned()
}

/// Events are taken and gather for a batch that does not leave.
fn holds_back(daemon: &Daemon<'_>, stand_in: &StandIn, series: &str) {
    let before = stand_in.totals().requests;
    Client::queue(&daemon.socket(), &samples(series, 0..50));
    daemon.shows(s(10), "events that gather", |status| {
        status["state"] == "paused" && status["delivery"]["ready"].as_u64() >= Some(50)
    });
    // Six times the linger: they would have left by now.
    std::thread::sleep(ms(300));
    assert_eq!(stand_in.totals().requests, before);
}

#[test]
fn nothing_leaves_until_it_is_resumed_and_everybody_is_told() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let said = ran(&site, &["pause", "--for", "2h", "--reason", "a move"], 0);
    assert!(said.contains("delivery is paused until 20"), "{said}");
    holds_back(&daemon, &stand_in, "held");
    let gate = daemon.status()["gate"].clone();
    assert_eq!(
        (&gate["state"], &gate["reason"], &gate["detail"]),
        (&json!("paused"), &json!("paused"), &json!("a move"))
    );
    let length = gate["until"].as_i64().expect("an end") - gate["since"].as_i64().expect("a start");
    assert_eq!(length, 7_200_000);
    let shown = ran(&site, &["status"], 0);
    assert!(
        shown.contains("paused") && shown.contains("a move"),
        "{shown}"
    );
    assert!(daemon.log().contains("delivery is paused until"));
    // Said again: another end, the same beginning.
    let again = ran(&site, &["pause", "--json"], 0);
    let again: serde_json::Value = serde_json::from_str(&again).expect(&again);
    assert_eq!(
        (&again["since"], &again["until"]),
        (&gate["since"], &json!(null))
    );
    let said = ran(&site, &["resume"], 0);
    assert!(said.contains("the gate was paused"), "{said}");
    stand_in.takes(50, s(10));
    stand_in.holds(&samples("held", 0..50));
    assert_eq!(daemon.status()["gate"]["state"], "open");
    assert!(!site.path("queue").join("pause").exists());
}

#[test]
fn it_outlives_a_stop_and_a_kill_and_then_ends_by_itself() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    ran(&site, &["pause", "--reason", "slow"], 0);
    daemon.kill();
    let daemon = site.start();
    assert!(daemon.log().contains("delivery is still paused"));
    holds_back(&daemon, &stand_in, "killed");
    // A drain does not wait for what may not leave.
    let ended = daemon.stop(s(5));
    assert_eq!(ended.code, Some(0));
    let last = ended.output.lines().last().unwrap_or_default();
    assert!(last.contains("50 still queued"), "{last}");
    let daemon = site.start();
    holds_back(&daemon, &stand_in, "stopped");
    ran(&site, &["pause", "--for", "1500ms"], 0);
    holds_back(&daemon, &stand_in, "shorter");
    stand_in.takes(150, s(10));
    assert!(daemon.log().contains("the pause is over"));
    daemon.kill();
    let daemon = site.start();
    assert_eq!(daemon.status()["state"], "delivering");
}

#[test]
fn answers_to_what_had_left_are_still_taken() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"latency_ms": 1500}));
    Client::queue(&daemon.socket(), &samples("flight", 0..20));
    daemon.shows(s(10), "a request under way", |status| {
        status["delivery"]["in_flight"] == 1
    });
    let said = ran(&site, &["pause"], 0);
    assert!(said.contains("1 requests had left before"), "{said}");
    let status = daemon.shows(s(10), "settled", |status| status["delivered"] == 20);
    assert_eq!(
        (&status["state"], &status["in_doubt"]),
        (&json!("paused"), &json!(0))
    );
}

#[test]
fn a_file_that_cannot_be_read_pauses_until_it_is_resumed() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.start().kill();
    fs::write(site.path("queue").join("pause"), "since yesterday").expect("written");
    let daemon = site.start();
    holds_back(&daemon, &stand_in, "odd");
    let detail = daemon.status()["gate"]["detail"].clone();
    assert!(
        detail
            .as_str()
            .is_some_and(|d| d.contains("cannot be read")),
        "{detail}"
    );
    ran(&site, &["verify"], 0);
    ran(&site, &["resume"], 0);
    stand_in.takes(50, s(10));
    daemon.kill();
    assert_eq!(site.start().status()["state"], "delivering");
}

#[test]
fn resume_isolates_where_it_is_told_to() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"refuse_all": true}));
    Client::queue(&daemon.socket(), &samples("bad", 0..600));
    daemon.shows(s(20), "parked", |status| {
        status["gate"]["reason"] == "refused_all"
    });
    let said = ran(&site, &["resume", "--isolate"], 0);
    assert!(said.contains("the gate was parked"), "{said}");
    daemon.shows(s(20), "dead", |status| status["dead_total"] == 600);
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let said = ran(&site, &["pause"], 69);
    assert!(said.contains("admin socket"), "{said}");
    ran(&site, &["pause", "--for", "soon"], 64);
    ran(&site, &["pause", "--for", "0s"], 64);
    let daemon = site.start();
    ran(&site, &["pause", "--reason", "two\nlines"], 65);
    ran(&site, &["pause", "--for", "4000d"], 65);
    assert_eq!(daemon.status()["state"], "delivering");
}
