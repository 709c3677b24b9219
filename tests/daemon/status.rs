//! `pinrelay status`: one screen for people, everything for programs.

use std::fs;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::{Client, Site, StandIn, get, s, samples};

fn shown(site: &Site) -> String {
    let out = (site.command(&["status"]).env("TZ", "UTC").output()).expect("it runs");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

#[test]
fn one_screen_says_what_is_held_what_was_done_and_why_nothing_leaves() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("s", 0..1234));
    let status = daemon.shows(s(20), "all delivered", |status| {
        status["ledger"]["delivered"] == 1234
    });
    assert_eq!(status["since_start"]["accepted"], 1234);
    assert_eq!(status["since_start"]["delivered"], 1234);
    assert_eq!(status["not_accepting"], json!([]));
    assert!(status["disk"]["used"].as_u64() > Some(0), "{status:#}");
    assert!(
        status["rates"]["accepted"].as_f64() > Some(0.0),
        "{status:#}"
    );
    let text = shown(&site);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for says in [
        "delivering; up",
        "gate open",
        "queued 0; 0 sending, 0 in doubt",
        "accepted 1,234 1,234",
        "delivered 1,234 1,234",
        "ledger holds: 1,234 accepted",
    ] {
        assert!(words.contains(says), "{says}\n{text}");
    }
    daemon.stop(s(20));

    stand_in.mode(json!({"token": "another"}));
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("t", 0..3));
    let status = daemon.shows(s(20), "parked", |status| status["state"] == "parked");
    assert_eq!(status["gate"]["reason"], "auth");
    assert_eq!(status["since_start"]["accepted"], 3);
    assert_eq!(status["ledger"]["accepted"], 1237);
    let text = shown(&site);
    let parked = text
        .lines()
        .find(|line| line.starts_with("gate"))
        .expect("a gate");
    assert!(
        parked.contains("parked: credentials refused since "),
        "{text}"
    );
    assert!(parked.contains("next probe in "), "{text}");
    assert!(text.contains("HTTP 401"), "{text}");
    assert!(text.contains(", oldest "), "{text}");
    assert!(text.lines().count() <= 24, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    // No personal data and no token, whoever reads it.
    let (_, json) = get(
        UnixStream::connect(site.admin()).expect("a socket"),
        "/status",
    );
    for secret in ["mail.example", "pina_first", "203.0.113"] {
        assert!(!json.contains(secret) && !text.contains(secret), "{secret}");
    }
}

fn check(site: &Site) -> (Option<i32>, String) {
    let out = (site.command(&["status", "--check"]).output()).expect("it runs");
    let line = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(line.lines().count(), 1, "{line}");
    (out.status.code(), line)
}

/// Nobody knew from any screen that a variable of the environment sent events elsewhere.
#[test]
fn every_screen_says_where_events_go() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let to = format!(
        "POST {}/… for ad account 549755885175, config ",
        stand_in.url()
    );
    let variable = "PINRELAY_PINTEREST__BASE_URL";
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = words(shown(&site));
    assert!(text.contains(&to), "{text}");
    assert!(
        text.contains(&format!("NOT PINTEREST: base_url comes from {variable}")),
        "{text}"
    );
    let status = daemon.status();
    let destination = &status["destination"];
    let url = format!("{}/ad_accounts/549755885175/events", stand_in.url());
    assert_eq!(destination["url"], url);
    assert_eq!(destination["ad_account_id"], "549755885175");
    assert_eq!(destination["elsewhere"], variable);
    assert_eq!(destination["config"].as_str(), site.config_file().to_str());
    let out = site.command(&["check"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        text.contains(&to) && text.contains("EVENTS DO NOT GO TO PINTEREST"),
        "{text}"
    );
    let log = daemon.log();
    let ready = log
        .lines()
        .find(|line| line.contains("ready: taking"))
        .expect("ready");
    assert!(ready.contains(&to), "{ready}");
    assert!(
        log.contains("events do not go to Pinterest but to"),
        "{log}"
    );
    // Where the file says so, its line is named.
    daemon.stop(s(20));
    let site = site.unset("pinterest", "base_url");
    let text = fs::read_to_string(site.config_file()).expect("the config");
    let url = format!("app_name = \"ss-test\"\nbase_url = \"{}\"", stand_in.url());
    fs::write(
        site.config_file(),
        text.replace("app_name = \"ss-test\"", &url),
    )
    .expect("written");
    let daemon = site.start();
    let from = daemon.status()["destination"]["elsewhere"].to_string();
    assert!(from.contains("pinrelay.toml:4"), "{from}");
}

#[test]
fn status_says_what_to_do_and_check_is_for_cron() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    // A daemon that is not there is not healthy.
    let (code, line) = check(&site);
    assert!(
        code == Some(2) && line.starts_with("CRITICAL: admin socket"),
        "{line}"
    );
    let daemon = site.start();
    // Only that it is a stand-in is said of a healthy one.
    let (code, line) = check(&site);
    assert!(
        code == Some(1) && line.starts_with("WARNING: events do not go to Pinterest"),
        "{line}"
    );
    let next = |site: &Site| {
        let text = shown(site);
        let rows = text.split_once("next:").map(|(_, rows)| rows.to_owned());
        rows.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let paused = site.command(&["pause"]).output().expect("it runs");
    assert!(paused.status.success(), "{paused:?}");
    assert!(
        next(&site).contains("`pinrelay resume`, when whoever paused it agrees"),
        "{}",
        next(&site)
    );
    let (code, line) = check(&site);
    assert!(code == Some(1) && line.contains("paused"), "{line}");
    let resumed = site.command(&["resume"]).output().expect("it runs");
    assert!(resumed.status.success(), "{resumed:?}");
    stand_in.mode(json!({"token": "another"}));
    Client::queue(&daemon.socket(), &samples("n", 0..3));
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");
    assert!(
        next(&site).starts_with("write a new token (Pinterest: Ads, Conversions)"),
        "{}",
        next(&site)
    );
    let (code, line) = check(&site);
    assert!(
        code == Some(2) && line.starts_with("CRITICAL: parked (auth): HTTP 401"),
        "{line}"
    );
    // Whoever sends meanwhile is told why nothing leaves.
    let file = site.path("one");
    fs::write(&file, format!("{}\n", samples("f", 0..1)[0].line)).expect("a file");
    let follow = [
        "send",
        "--follow",
        "--timeout",
        "1",
        file.to_str().expect("a path"),
    ];
    let out = site.command(&follow).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains("nothing leaves now: parked (auth): HTTP 401"),
        "{said}"
    );
    assert!(said.contains("next: write a new token"), "{said}");
}

#[test]
fn a_kill_is_told_in_the_log_of_the_next_start() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.start().kill();
    let daemon = site.start();
    assert!(
        daemon.log().contains("did not end in order"),
        "{}",
        daemon.log()
    );
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let daemon = site.start();
    assert!(
        !daemon.log().contains("did not end in order"),
        "{}",
        daemon.log()
    );
}
