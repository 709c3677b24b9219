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

#[test]
fn what_takes_effect_and_what_waits_for_a_restart_is_told_apart() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    site.config("[delivery]\ndrain_deadline = \"1s\"\n[dead_letters]\nretention = \"40d\"\n");
    // A second reload says it again: the restart is still to come.
    for times in 1..=2 {
        daemon.signal(Signal::SIGHUP);
        within(s(5), "the word of the reload", || {
            (daemon.log().matches("were read again").count() == times).then_some(())
        });
        let log = daemon.log();
        let told = "reload: dead_letters.retention: 30d → 40d needs a restart";
        assert_eq!(log.matches(told).count(), times, "{log}");
    }
    // What is in effect already is no news the second time.
    assert_eq!(daemon.log().matches("drain_deadline: 20s → 1s").count(), 1);
    stand_in.mode(json!({"fault": "silent"}));
    Client::queue(&daemon.socket(), &samples("late", 0..10));
    stand_in.asked(1, s(5));
    let begun = std::time::Instant::now();
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert!(begun.elapsed() < s(4), "{:?}", begun.elapsed());
}

#[test]
fn the_command_says_what_changed_and_what_is_wrong() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let reload = |args: &[&str]| {
        let out = site.command(&[&["reload"], args].concat()).output();
        let out = out.expect("it runs");
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text.into_owned())
    };
    site.config(
        "[delivery]\nmax_age = \"6d\"\n[log]\nlevel = \"debug\"\n[event_names]\nA = \"a\"\n",
    );
    let (code, said) = reload(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "changed  delivery.max_age: 7d → 6d",
            "changed  event_names: not set → \"A\" = \"a\"",
            "restart  log.level: info → debug (takes effect at the next start)",
            "config and token were read again; the token is the same",
        ]
    );
    let (_, again) = reload(&["--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).expect(&again);
    assert_eq!(again["changed"], json!([]));
    assert_eq!(again["needs_restart"][0]["key"], "log.level");
    assert_eq!(again["token_changed"], false);
    // What only the daemon can see to be wrong is told with its line as well.
    let admin = site.admin();
    let admin = admin.to_str().expect("a path");
    site.config("[delivery]\nlingr = 1\n");
    for args in [&[][..], &["--socket", admin]] {
        let (code, said) = reload(args);
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(code, Some(78), "{said}");
        assert!(
            said.contains("pinrelay.toml:13: unknown key `lingr`"),
            "{said}"
        );
    }
    assert!(daemon.log().contains("nothing was changed"));
    // The daemon listens where it was started to.
    site.config("");
    let moved = site.path("moved.sock");
    let moved = moved.to_str().expect("a path");
    let mut command = site.command(&["reload"]);
    let out = command
        .env("PINRELAY_ADMIN__SOCKET", moved)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.contains("still listens on the old one"), "{said}");
    assert!(!daemon.log().contains("pina_"));
}
