//! `pinrelay queue`: the events that wait, tried at once or given up one by one.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Client, Daemon, Site, StandIn, s, samples, within};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn queue(site: &Site, args: &[&str]) -> Said {
    let out = site.command(&[&["queue"], args].concat()).output();
    let out = out.expect("it runs");
    Said {
        code: out.status.code(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

fn list(site: &Site) -> Value {
    let said = queue(site, &["list", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.json()
}

fn ok(site: &Site, args: &[&str]) {
    let out = site.command(args).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{args:?}: {out:?}");
}

/// What failed is not tried again by itself while a test lasts.
fn patient(stand_in: &StandIn) -> Site {
    Site::new(stand_in)
        .set("delivery", "backoff_initial", "1h")
        .set("delivery", "backoff_max", "1h")
}

/// Waits until so many events back off, in doubt.
fn backs_off(site: &Site, events: usize) -> Value {
    within(s(20), "events that back off", || {
        let list = list(site);
        let waits = list["events"].as_array()?;
        // Where they are and whether they are in doubt is asked one after the other.
        let backs_off = |e: &&Value| e["waits_for"] == "backoff" && e["in_doubt"] == true;
        (waits.iter().filter(backs_off).count() == events).then_some(list)
    })
}

fn delivered(daemon: &Daemon<'_>, events: u64) {
    daemon.shows(s(20), "all delivered", |status| {
        status["ledger"]["delivered"] == events && status["ledger"]["ledger_imbalance"] == 0
    });
}

#[test]
fn a_list_says_for_what_each_waits_and_a_retry_tries_it_at_once() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = patient(&stand_in);
    let daemon = site.start();
    let said = queue(&site, &["list"]);
    assert_eq!((said.code, &*said.out), (Some(0), "no events wait\n"));
    Client::queue(&daemon.socket(), &samples("wait", 0..3));
    let told = backs_off(&site, 3);
    assert_eq!(told["total"], 3);
    let first = &told["events"][0];
    assert_eq!(first["messageId"], "wait-000000");
    assert_eq!(first["event"], "Order Completed");
    assert_eq!(
        (&first["tries"], &first["tries_at_least"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(
        (&first["in_doubt"], &first["from_dead_letters"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(first["last_failure"]["http_status"], 503, "{first}");
    let now = told["now"].as_i64().expect("a time");
    assert!(
        first["next_try_at"].as_i64().is_some_and(|at| at > now),
        "{first}"
    );
    let said = queue(&site, &["list", "--limit", "2"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        said.out.contains("backoff, ") && said.out.contains("HTTP 503"),
        "{}",
        said.out
    );
    assert!(said.out.contains("  wait-000001\n"), "{}", said.out);
    assert_eq!(lines.last(), Some(&"1 more"), "{}", said.out);
    for personal in ["mail.example", "203.0.113", "Byron", "555 010"] {
        assert!(
            !said.out.contains(personal) && !told.to_string().contains(personal),
            "{personal}"
        );
    }

    // It fails again, with the others of its request.
    let said = queue(&site, &["retry", "wait-000001"]);
    let all = "wait-000001 is tried at once, with all 3 events of its batch\n";
    assert_eq!((said.code, &*said.out), (Some(0), all), "{}", said.err);
    within(s(20), "a second try", || {
        (list(&site)["events"][0]["tries"] == 2).then_some(())
    });
    backs_off(&site, 3);
    stand_in.well();
    let said = queue(&site, &["retry", "--all", "--json"]);
    assert_eq!(said.json(), json!({"outcome": "now", "events": 3}));
    delivered(&daemon, 3);
    assert_eq!(list(&site)["events"], json!([]));
    // From here on there is nothing to try.
    let said = queue(&site, &["retry", "--all"]);
    assert_eq!((said.code, &*said.out), (Some(0), "nothing backs off\n"));
    let said = queue(&site, &["retry", "wait-000001"]);
    assert_eq!(said.code, Some(65), "{}", said.out);
    let gone = "wait-000001 does not wait: delivered";
    assert!(said.out.starts_with(gone), "{}", said.out);
    assert_eq!(queue(&site, &["retry"]).code, Some(64));
}

/// What this process did not see is not told as if it had.
#[test]
fn what_a_restart_has_forgotten_is_told_as_not_known() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = patient(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("old", 0..1));
    backs_off(&site, 1);
    ok(&site, &["pause"]);
    daemon.kill();
    let _daemon = site.start();
    let told = within(s(20), "the event in a batch", || {
        let told = list(&site);
        (told["events"][0]["waits_for"] == "batch").then_some(told)
    });
    let event = &told["events"][0];
    assert_eq!(
        (&event["tries"], &event["tries_at_least"]),
        (&json!(1), &json!(true)),
        "{event}"
    );
    assert_eq!(
        (&event["in_doubt"], &event["last_failure"]),
        (&json!(true), &Value::Null)
    );
    let said = queue(&site, &["list"]);
    assert!(
        said.out.starts_with("the gate is paused since "),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("  1+  batch") && said.out.contains("is not remembered"),
        "{}",
        said.out
    );
    // Nothing leaves, and it says what would change that.
    let said = queue(&site, &["retry", "old-000000"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(
        said.out.contains("paused; `pinrelay resume`"),
        "{}",
        said.out
    );
}

#[test]
fn a_dropped_event_is_purged_known_and_never_sent_also_after_a_kill() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    ok(&site, &["pause"]);
    let events = samples("drop", 0..3);
    Client::queue(&daemon.socket(), &events);
    let said = queue(&site, &["drop", "drop-000001", "--yes"]);
    assert_eq!(
        (said.code, &*said.out),
        (Some(0), "drop-000001 is dropped\n"),
        "{}",
        said.err
    );
    // At once, without a word to anybody: it is on disk.
    daemon.kill();
    let daemon = site.start();
    let status = daemon.status();
    assert_eq!(status["ledger"]["purged"], 1, "{status:#}");
    assert_eq!(status["ledger"]["queued"], 2, "{status:#}");
    let answer = Client::connect(&daemon.socket()).ask(&events[1].line);
    assert_eq!(answer.status(), "duplicate");
    let ids: Vec<Value> = (list(&site)["events"].as_array().expect("events").iter())
        .map(|event| event["messageId"].clone())
        .collect();
    assert_eq!(ids, ["drop-000000", "drop-000002"]);
    // Once more it does not wait.
    let said = queue(&site, &["drop", "drop-000001", "--yes"]);
    assert_eq!(said.code, Some(65), "{}", said.out);
    assert!(
        said.out.contains("does not wait: delivered, or given up"),
        "{}",
        said.out
    );
    ok(&site, &["resume"]);
    delivered(&daemon, 2);
    let sent = stand_in
        .events()
        .into_iter()
        .map(|seen| seen.event_id.to_string());
    assert!(sent.into_iter().all(|id| id != "drop-000001"));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    ok(&site, &["verify"]);
}

#[test]
fn what_is_in_hand_is_dropped_too_and_a_trace_says_so() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = patient(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("hand", 0..2));
    backs_off(&site, 2);
    let said = queue(&site, &["drop", "hand-000000", "--yes", "--json"]);
    assert_eq!(said.json(), json!({"outcome": "purged"}), "{}", said.err);
    let trace = site
        .command(&["trace", "hand-000000"])
        .output()
        .expect("it runs");
    let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
    let says = |words: &[&str]| {
        trace
            .lines()
            .any(|line| line.split_whitespace().eq(words.iter().copied()))
    };
    assert!(says(&["now", "purged"]), "{trace}");
    assert_eq!(
        trace.matches(" purged\n").count(),
        2,
        "a step, and where it is: {trace}"
    );
    stand_in.well();
    let said = queue(&site, &["retry", "--all"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    delivered(&daemon, 1);
    let status = daemon.status();
    assert_eq!(status["ledger"]["purged"], 1, "{status:#}");
    assert_eq!(status["ledger"]["queued"], 0, "{status:#}");
    let log = daemon.log();
    assert!(log.contains("asked to drop an event that waits"), "{log}");
    assert!(!log.contains("hand-000000"), "{log}");
}

#[test]
fn what_is_being_sent_is_dropped_after_its_answer_unless_that_delivers_it() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "request_timeout", "3s");
    let daemon = site.start();
    stand_in.mode(json!({"latency_ms": 1500}));
    Client::queue(&daemon.socket(), &samples("slow", 0..1));
    let answer = |id: &str| {
        let told = within(s(20), "an answer that is awaited", || {
            let event = list(&site)["events"][0].clone();
            (event["waits_for"] == "answer").then_some(event)
        });
        assert_eq!(told["messageId"], id);
        // It is on its way: there is nothing to cut short.
        let said = queue(&site, &["retry", id, "--json"]);
        assert_eq!(
            said.json(),
            json!({"outcome": "not_backing_off", "waits_for": "answer"})
        );
        let said = queue(&site, &["drop", id, "--yes"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(
            said.out
                .contains("is being sent: it is dropped after the answer"),
            "{}",
            said.out
        );
    };
    answer("slow-000000");
    delivered(&daemon, 1);
    assert_eq!(daemon.status()["ledger"]["purged"], 0);
    stand_in.mode(json!({"fault": "silent"}));
    Client::queue(&daemon.socket(), &samples("mute", 0..1));
    answer("mute-000000");
    daemon.shows(s(20), "it is purged", |status| {
        status["ledger"]["purged"] == 1 && status["ledger"]["ledger_imbalance"] == 0
    });
    stand_in.well();
    Client::queue(&daemon.socket(), &samples("next", 0..1));
    delivered(&daemon, 2);
    let mute = stand_in
        .events()
        .into_iter()
        .find(|seen| &*seen.event_id == "mute-000000");
    assert_eq!(mute.map(|seen| (seen.received, seen.count)), Some((1, 0)));
}

#[test]
fn a_drop_asks_on_a_terminal_and_takes_no_dead_letter() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"refuse_event_ids": ["ask-000000"]}));
    Client::queue(&daemon.socket(), &samples("ask", 0..1));
    daemon.shows(s(20), "it is dead", |status| status["dead_total"] == 1);
    for verb in [
        &["drop", "ask-000000", "--yes"][..],
        &["retry", "ask-000000"],
    ] {
        let said = queue(&site, verb);
        assert_eq!(said.code, Some(65), "{}", said.out);
        assert!(
            said.out.contains("does not wait: dead: refused"),
            "{}",
            said.out
        );
    }
    assert_eq!(daemon.status()["dead_total"], 1);
    let said = queue(&site, &["drop", "never-sent", "--yes"]);
    assert_eq!(said.code, Some(65), "{}", said.out);
    assert!(said.out.contains("nothing is known of it"), "{}", said.out);

    ok(&site, &["pause"]);
    Client::queue(&daemon.socket(), &samples("tty", 0..1));
    let said = queue(&site, &["drop", "tty-000000"]);
    assert_eq!(said.code, Some(64), "{}", said.out);
    assert!(said.err.contains("say --yes"), "{}", said.err);
    for (answer, code, left) in [("\n", 1, 1), ("no\n", 1, 1), ("y\n", 0, 0)] {
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        let mut hand = fs::File::from(terminal.master);
        hand.write_all(answer.as_bytes()).expect("typed");
        let mut drop = site.command(&["queue", "drop", "tty-000000"]);
        let out = drop.stdin(terminal.slave).output().expect("it runs");
        let asked = String::from_utf8_lossy(&out.stderr);
        assert!(asked.contains("Drop tty-000000?"), "{asked}");
        assert_eq!(out.status.code(), Some(code), "{answer:?}: {asked}");
        assert_eq!(daemon.status()["ledger"]["queued"], left, "{answer:?}");
    }

    // A letter that is queued again waits like any other.
    ok(&site, &["dead", "retry", "--id", "ask-000000"]);
    let told = list(&site);
    assert_eq!(told["events"][0]["messageId"], "ask-000000", "{told}");
    assert_eq!(told["events"][0]["from_dead_letters"], true, "{told}");
    let said = queue(&site, &["drop", "ask-000000", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(
        (&ledger["purged"], &ledger["queued"]),
        (&json!(2), &json!(0)),
        "{ledger}"
    );
    assert_eq!(ledger["ledger_imbalance"], 0, "{ledger}");
    drop(daemon);
    assert_eq!(queue(&site, &["list"]).code, Some(69));
}
