//! The main path: in over the socket, out to Pinterest, through a restart.

use serde_json::json;

use crate::support::{Client, Site, StandIn, ms, s, sample, samples};

#[test]
fn what_is_queued_is_delivered_once_and_the_ledger_holds() {
    let stand_in = StandIn::with(&["--latency-ms", "5"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let samples = samples("path", 0..3000);
    Client::queue(&daemon.socket(), &samples);
    let totals = stand_in.takes(3000, s(20));
    stand_in.holds(&samples);
    assert_eq!(
        (totals.duplicates, totals.failed, totals.renamed),
        (0, 0, 0)
    );
    let status = daemon.shows(s(5), "all settled", |status| status["delivered"] == 3000);
    let ledger = &status["ledger"];
    assert_eq!(ledger["accepted"], 3000);
    assert_eq!(ledger["ledger_imbalance"], 0);
    assert_eq!(status["queued"], 0);
    assert_eq!(status["gate"]["state"], "open");
    let ended = daemon.stop(s(10));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let last = ended.output.lines().last().unwrap_or_default();
    assert!(last.contains("drained in"), "{last}");
    assert!(last.contains("0 still queued"), "{last}");
    for secret in ["pina_first", "mail.example", "Byron"] {
        assert!(!ended.output.contains(secret), "{secret}: {}", ended.output);
    }
}

#[test]
fn a_lone_event_is_there_within_two_seconds_also_the_last_before_a_restart() {
    let stand_in = StandIn::start();
    // With the shipped linger.
    let site = Site::new(&stand_in).unset("delivery", "linger");
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    assert_eq!(client.ask(&sample("lone", 0).line).status(), "queued");
    stand_in.takes(1, s(2));
    // The last one, answered, and gone at once.
    assert_eq!(client.ask(&sample("lone", 1).line).status(), "queued");
    daemon.kill();
    let daemon = site.start();
    let totals = stand_in.takes(2, s(2));
    assert!(totals.duplicates <= 1, "{totals:?}");
    stand_in.holds(&samples("lone", 0..2));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn duplicates_are_known_also_after_restarts() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let first = samples("again", 0..300);
    Client::queue(&daemon.socket(), &first);
    let duplicates = |answers: Vec<crate::support::Answer>| {
        answers.iter().filter(|a| a.status() == "duplicate").count()
    };
    assert_eq!(duplicates(Client::send(&daemon.socket(), &first)), 300);
    stand_in.takes(300, s(10));
    daemon.kill();
    let daemon = site.start();
    assert_eq!(duplicates(Client::send(&daemon.socket(), &first)), 300);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    let daemon = site.start();
    // Twice in one write: the first counts, whoever is faster.
    let both: Vec<_> = (samples("again", 290..310).into_iter())
        .flat_map(|s| [s.clone(), s])
        .collect();
    assert_eq!(duplicates(Client::send(&daemon.socket(), &both)), 30);
    stand_in.takes(310, s(10));
    assert_eq!(daemon.status()["ledger"]["accepted"], 310);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert_eq!(stand_in.totals().changed, 0);
}

#[test]
fn identify_is_ignored_and_an_event_without_a_match_key_is_dead() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let answer = client.ask(r#"{"messageId":"i","type":"identify","traits":{"email":"a@b.c"}}"#);
    assert_eq!(
        answer.0,
        json!({"status":"ignored","messageId":"i","reason":"identify"})
    );
    let answer = client.ask(r#"{"messageId":"d","type":"page","context":{"ip":"0.0.0.0"}}"#);
    assert_eq!(answer.0, json!({"status":"queued","messageId":"d"}));
    let status = daemon.shows(s(5), "a dead letter", |status| status["dead_total"] == 1);
    assert_eq!(status["dead"]["no_match_key"], 1);
    assert_eq!(status["ledger"]["ignored"], 1);
    assert_eq!(stand_in.totals().requests, 0);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn status_speaks_json_and_text_and_says_when_nobody_is_there() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let absent = site.command(&["status"]).output().expect("it runs");
    assert_eq!(absent.status.code(), Some(69));
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("status", 0..5));
    daemon.shows(s(5), "delivered", |status| status["delivered"] == 5);
    let text = site.command(&["status"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in ["delivering", "queued", "in doubt", "5 accepted = 0 queued"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(daemon.stop(ms(10_000)).code, Some(0));
}
