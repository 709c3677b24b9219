//! `pinrelay forget`: one person's events are gone, wherever they were, and nobody else's.

use std::io::Write as _;

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Client, Sample, Site, StandIn, is_stored, s, within};

/// Whom it is about.
const ADDRESS: &str = "ada.lovelace@mail.example";

fn event(id: &str, more: Value) -> Sample {
    let now = jiff::Timestamp::now().to_string();
    let mut event = json!({
        "messageId": id, "type": "track", "event": "Product Viewed", "timestamp": now,
        "context": {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0"},
    });
    for (key, value) in more.as_object().expect("an object") {
        event[key] = value.clone();
    }
    Sample {
        id: id.to_owned(),
        event_name: "view_content",
        line: event.to_string(),
    }
}

/// Hers, each by another source, and others'.
fn events(series: &str) -> Vec<Sample> {
    let id = |n: u32| format!("{series}-{n}");
    vec![
        event(
            &id(0),
            json!({"properties": {"email": " Ada.Lovelace@MAIL.example"}}),
        ),
        event(&id(1), json!({"context": {"traits": {"email": ADDRESS}}})),
        event(&id(2), json!({"contact": {"mail": ADDRESS}})),
        event(&id(3), json!({"properties": {"email": "eve@mail.example"}})),
        event(
            &id(4),
            json!({"userId": "u-4711", "properties": {"email": "eve@mail.example"}}),
        ),
        event(&id(5), json!({"properties": {"note": "no address"}})),
    ]
}

/// A mapping feeds the address from a place of the shop's own.
const MAPPING: &str =
    "[[mappings]]\nsource = \"contact.mail\"\ndestination = \"properties.email\"\n";

fn forget(site: &Site, args: &[&str], input: &str) -> Output {
    let mut command = site.command(&[&["forget"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What it says that it did.
fn told(site: &Site, args: &[&str]) -> Value {
    let out = forget(site, &[args, &["--json"]].concat(), "");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn counts(queued: u64, dead: u64, in_flight: u64, dry_run: bool) -> Value {
    json!({"queued": queued, "dead": dead, "in_flight": in_flight, "dry_run": dry_run})
}

#[test]
fn a_person_is_forgotten_in_the_line_and_among_the_dead_and_nobody_else_is() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(MAPPING);
    let daemon = site.start();
    // Three are refused one by one, and are dead.
    stand_in.mode(json!({"refuse_containing": "dead-", "refuse_message": "no"}));
    Client::queue(&daemon.socket(), &events("dead"));
    daemon.shows(s(20), "they are dead", |status| status["dead_total"] == 6);
    // Those of the line are in delivery's hands, and do not leave.
    stand_in.well();
    let paused = site.command(&["pause"]).output().expect("it runs");
    assert_eq!(paused.status.code(), Some(0), "{paused:?}");
    Client::queue(&daemon.socket(), &events("line"));
    daemon.shows(s(20), "they wait", |status| status["ledger"]["queued"] == 6);

    let expected = counts(3, 3, 0, true);
    assert_eq!(told(&site, &["--email", ADDRESS, "--dry-run"]), expected);
    assert_eq!(told(&site, &["--email", ADDRESS, "--dry-run"]), expected);
    let out = forget(&site, &["--email", "-"], &format!("{ADDRESS}\n"));
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said, "3 queued and 3 dead forgotten\n");
    assert_eq!(told(&site, &["--email", ADDRESS]), counts(0, 0, 0, false));
    assert_eq!(
        told(&site, &["--user-id", "u-4711"]),
        counts(1, 1, 0, false)
    );
    assert_eq!(
        told(&site, &["--message-id", "line-5"]),
        counts(1, 0, 0, false)
    );
    let status = daemon.status();
    assert_eq!(status["ledger"]["purged"], 9, "{status:#}");
    assert_eq!(status["ledger"]["queued"], 1, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");

    // A resend of what is forgotten is known; the same person's next event is new.
    let mut client = Client::connect(&daemon.socket());
    for (sample, answer) in [
        (events("line").swap_remove(1), "duplicate"),
        (events("dead").swap_remove(0), "duplicate"),
        (
            event("later", json!({"properties": {"email": ADDRESS}})),
            "queued",
        ),
    ] {
        assert_eq!(client.ask(&sample.line).status(), answer, "{}", sample.id);
    }
    let log = daemon.log();
    let uid = nix::unistd::getuid().to_string();
    let asked = log
        .lines()
        .filter(|line| line.contains("asked to forget a person"));
    let asked: Vec<&str> = asked.collect();
    assert_eq!(asked.len(), 6, "{log}");
    assert!(asked.iter().all(|line| line.contains(&uid)), "{asked:?}");
    for secret in ["ada", "lovelace", "4711", "line-5"] {
        assert!(!log.to_lowercase().contains(secret), "{secret}: {log}");
    }

    // Nothing of hers is sent, also after a kill.
    daemon.kill();
    let daemon = site.start();
    let resumed = site.command(&["resume"]).output().expect("it runs");
    assert_eq!(resumed.status.code(), Some(0), "{resumed:?}");
    daemon.shows(s(20), "all is settled", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let mut sent: Vec<String> = stand_in
        .events()
        .into_iter()
        .map(|seen| seen.event_id.to_string())
        .collect();
    sent.retain(|id| id.starts_with("line") || id == "later");
    sent.sort();
    assert_eq!(sent, ["later", "line-3"]);
    let status = daemon.status();
    assert_eq!(status["ledger"]["delivered"], 2, "{status:#}");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let verify = site.command(&["verify"]).output().expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{verify:?}");
}

#[test]
fn what_is_in_flight_goes_after_its_answer_and_is_not_sent_again() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "request_timeout", "2s");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "silent"}));
    Client::queue(&daemon.socket(), &events("air")[..1]);
    stand_in.asked(1, s(20));
    assert_eq!(told(&site, &["--email", ADDRESS]), counts(0, 0, 1, false));
    let status = daemon.status();
    assert_eq!(status["ledger"]["purged"], 0, "its answer is awaited");
    daemon.shows(s(20), "it is purged", |status| {
        status["ledger"]["purged"] == 1 && status["ledger"]["ledger_imbalance"] == 0
    });
    stand_in.well();
    // What comes behind it is delivered; it is not.
    let asked = stand_in.totals().requests;
    Client::queue(&daemon.socket(), &events("behind")[3..4]);
    stand_in.asked(asked + 1, s(20));
    daemon.shows(s(20), "the other is delivered", |status| {
        status["ledger"]["delivered"] == 1
    });
    let air = stand_in
        .events()
        .into_iter()
        .find(|seen| &*seen.event_id == "air-0");
    assert_eq!(air.map(|seen| (seen.received, seen.count)), Some((1, 0)));
    // The same over a kill: no answer comes, and it is not sent again.
    stand_in.mode(json!({"fault": "silent"}));
    let asked = stand_in.totals().requests;
    Client::queue(&daemon.socket(), &events("kill")[..1]);
    stand_in.asked(asked + 1, s(20));
    assert_eq!(told(&site, &["--email", ADDRESS]), counts(0, 0, 1, false));
    daemon.kill();
    stand_in.well();
    let daemon = site.start();
    let status = daemon.shows(s(20), "it is purged", |status| {
        status["ledger"]["purged"] == 2
    });
    assert_eq!(status["in_doubt"], 0, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

/// The bytes are looked for where nothing is packed: each event comes in a block of its own.
#[test]
fn the_bytes_are_off_the_disk_while_others_stay() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(MAPPING);
    let daemon = site.start();
    stand_in.mode(json!({"refuse_containing": "dead-", "refuse_message": "no"}));
    for sample in &events("dead") {
        Client::queue(&daemon.socket(), std::slice::from_ref(sample));
    }
    daemon.shows(s(20), "they are dead", |status| status["dead_total"] == 6);
    let paused = site.command(&["pause"]).output().expect("it runs");
    assert_eq!(paused.status.code(), Some(0), "{paused:?}");
    for sample in &events("line") {
        Client::queue(&daemon.socket(), std::slice::from_ref(sample));
    }
    let queue = site.path("queue");
    assert!(is_stored(&queue.join("gen"), ADDRESS));
    assert_eq!(told(&site, &["--email", ADDRESS])["queued"], 3);
    within(s(60), "her bytes are gone", || {
        (!is_stored(&queue, ADDRESS) && !is_stored(&queue, "Ada.Lovelace@MAIL")).then_some(())
    });
    assert!(is_stored(&queue.join("gen"), "eve@mail.example"));
    let verify = site.command(&["verify"]).output().expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{verify:?}");
    daemon.kill();
}

#[test]
fn it_asks_for_one_name_and_repeats_none() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let _daemon = site.start();
    for (args, code) in [
        (&[][..], 64),
        (&["--email", ADDRESS, "--user-id", "u-4711"], 64),
        (&["--email", " "], 64),
        (&["--message-id", ""], 64),
    ] {
        let out = forget(&site, args, "");
        assert_eq!(out.status.code(), Some(code), "{args:?}: {out:?}");
        let said = String::from_utf8_lossy(&out.stderr).to_lowercase();
        assert!(
            !said.contains("lovelace") && !said.contains("4711"),
            "{said}"
        );
    }
    let gone = Site::new(&stand_in);
    let out = forget(&gone, &["--email", ADDRESS], "");
    assert_eq!(out.status.code(), Some(69), "{out:?}");
    assert!(!String::from_utf8_lossy(&out.stderr).contains("lovelace"));
}
