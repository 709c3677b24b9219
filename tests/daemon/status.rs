//! `pinrelay status`: one screen for people, everything for programs.

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
