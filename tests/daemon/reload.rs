//! SIGHUP: what changes while the daemon runs.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Client, Sample, Site, StandIn, s, samples, within};

#[test]
fn a_new_token_ends_a_parking_at_once() {
    let stand_in = StandIn::with(&["--token", "pina_second"]);
    let site = Site::new(&stand_in)
        // So long that only the reload can be what ends it.
        .set("delivery", "backoff_initial", "1h")
        .set("delivery", "backoff_max", "1h");
    let daemon = site.start();
    let samples = samples("token", 0..2000);
    Client::queue(&daemon.socket(), &samples);
    daemon.shows(s(5), "parked", |status| status["gate"]["state"] == "parked");
    site.token("pina_second");
    daemon.signal(Signal::SIGHUP);
    stand_in.takes(2000, s(10));
    stand_in.holds(&samples);
    let status = daemon.shows(s(5), "settled", |status| status["delivered"] == 2000);
    assert_eq!(status["dead_total"], 0);
    assert_eq!(status["gate"]["state"], "open");
    let log = daemon.log();
    assert!(!log.contains("pina_"), "{log}");
}

#[test]
fn new_event_names_reach_what_is_queued() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"fault": "401"}));
    let line = |n: usize| {
        format!(
            r#"{{"messageId":"name-{n}","type":"track","event":"Signed Up","context":{{"traits":{{"email":"a@b.example"}}}}}}"#
        )
    };
    let samples: Vec<_> = (0..50)
        .map(|n| Sample {
            id: format!("name-{n}"),
            event_name: "signup",
            line: line(n),
        })
        .collect();
    Client::queue(&daemon.socket(), &samples);
    daemon.shows(s(5), "parked", |status| status["gate"]["state"] == "parked");
    site.config("[event_names]\n\"Signed Up\" = \"signup\"\n");
    daemon.signal(Signal::SIGHUP);
    within(s(5), "the word of the reload", || {
        daemon.log().contains("were read again").then_some(())
    });
    stand_in.well();
    stand_in.takes(50, s(20));
    stand_in.holds(&samples);
    assert_eq!(stand_in.totals().renamed, 0);
}

#[test]
fn what_was_sent_with_an_unknown_outcome_keeps_its_name() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "request_timeout", "300ms");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "silent", "fault_processed": true}));
    let sample = Sample {
        id: "kept".into(),
        event_name: "Signed Up",
        line: r#"{"messageId":"kept","type":"track","event":"Signed Up","context":{"traits":{"email":"a@b.example"}}}"#.into(),
    };
    Client::queue(&daemon.socket(), std::slice::from_ref(&sample));
    stand_in.asked(1, s(5));
    site.config("[event_names]\n\"Signed Up\" = \"signup\"\n");
    // Both ways: while the process lives, and after a crash.
    daemon.signal(Signal::SIGHUP);
    within(s(5), "the word of the reload", || {
        daemon.log().contains("were read again").then_some(())
    });
    let asked = stand_in.totals().requests;
    stand_in.asked(asked + 1, s(10));
    daemon.kill();
    stand_in.well();
    let daemon = site.start();
    daemon.shows(s(10), "delivered", |status| status["delivered"] == 1);
    stand_in.holds(&[sample]);
    let totals = stand_in.totals();
    assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
    assert!(totals.duplicates >= 2, "{totals:?}");
}

#[test]
fn a_broken_config_or_token_changes_nothing() {
    let stand_in = StandIn::with(&["--token", "pina_first"]);
    let site = Site::new(&stand_in);
    let mut daemon = site.start();
    for (token, more) in [
        ("pina_first", "[delivery]\nlingr = 1\n"),
        ("", ""),
        ("pina_first", "["),
    ] {
        site.token(token);
        site.config(more);
        let before = daemon.log().matches("nothing was changed").count();
        daemon.signal(Signal::SIGHUP);
        within(s(5), "the word of the reload", || {
            (daemon.log().matches("nothing was changed").count() > before).then_some(())
        });
    }
    assert!(daemon.running());
    Client::queue(&daemon.socket(), &samples("after", 0..10));
    stand_in.takes(10, s(5));
}
