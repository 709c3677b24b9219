//! SIGTERM, SIGINT, and what is left behind.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Client, Site, StandIn, ms, s, samples, within};

#[test]
fn a_stop_delivers_what_is_queued_when_pinterest_is_well() {
    let stand_in = StandIn::with(&["--latency-ms", "100", "--fault", "503"]);
    let site = Site::new(&stand_in)
        .set("delivery", "max_in_flight", "2")
        .set("delivery", "max_batch_events", "250");
    let daemon = site.start();
    let samples = samples("drain", 0..5000);
    Client::queue(&daemon.socket(), &samples);
    assert_eq!(stand_in.totals().events_processed, 0);
    stand_in.mode(json!({"latency_ms": 100}));
    // The gate opens by itself; well over 4,000 are still queued then.
    stand_in.takes_some(s(10));
    let ended = daemon.stop(s(25));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let totals = stand_in.totals();
    assert_eq!(totals.distinct_event_ids, 5000, "{}", ended.output);
    stand_in.holds(&samples);
    let last = ended.output.lines().last().unwrap_or_default();
    assert!(
        last.contains("drained in") && last.contains("0 still queued"),
        "{last}"
    );
    assert!(!site.socket().exists() && !site.admin().exists());
}

#[test]
fn a_stop_with_a_dead_endpoint_ends_in_time_and_leaves_all_for_the_next_start() {
    // Refused, silent, and nobody there.
    for mode in ["503", "silent", "gone"] {
        let mut stand_in = StandIn::start();
        let site = Site::new(&stand_in).set("delivery", "drain_deadline", "3s");
        let daemon = site.start();
        match mode {
            "gone" => stand_in.kill(),
            fault => stand_in.mode(json!({"fault": fault})),
        }
        let samples = samples("dead", 0..5000);
        Client::queue(&daemon.socket(), &samples);
        let begun = Instant::now();
        let ended = daemon.stop(s(10));
        assert!(begun.elapsed() < s(5), "{mode}: {:?}", begun.elapsed());
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.output);
        let last = ended.output.lines().last().unwrap_or_default();
        assert!(
            last.contains("5000 still queued and safe"),
            "{mode}: {last}"
        );
        match mode {
            "gone" => stand_in.restart(),
            _ => stand_in.well(),
        }
        let daemon = site.start();
        let totals = stand_in.takes(5000, s(20));
        stand_in.holds(&samples);
        assert_eq!((totals.duplicates, totals.changed), (0, 0), "{mode}");
        let status = daemon.shows(s(5), "all settled", |s| s["delivered"] == 5000);
        assert_eq!(status["ledger"]["accepted"], 5000);
    }
}

#[test]
fn a_stop_under_load_keeps_what_was_answered() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let all = samples("load", 0..20_000);
    let text: String = all.iter().map(|s| format!("{}\n", s.line)).collect();
    let mut client = Client::connect(&daemon.socket());
    let mut writer = client.writer();
    let answered = std::thread::scope(|scope| {
        scope.spawn(move || {
            use std::io::Write;
            // It breaks off when the daemon closes.
            let _ = writer.write_all(text.as_bytes());
        });
        let mut answered = 0;
        while let Ok(answer) = client.answer() {
            assert_eq!(answer.status(), "queued");
            assert_eq!(answer.message_id(), all[answered].id);
            answered += 1;
            if answered == 1000 {
                daemon.signal(Signal::SIGINT);
            }
        }
        answered
    });
    let ended = daemon.end(s(25));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!((1000..20_000).contains(&answered), "{answered}");
    // Stored and answered are the same, and all of it was delivered before the end.
    stand_in.holds(&all[..answered]);
    assert_eq!(stand_in.totals().duplicates, 0);
    let daemon = site.start();
    assert_eq!(daemon.status()["ledger"]["accepted"], answered as u64);
}

#[test]
fn a_second_signal_ends_the_waiting() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    stand_in.mode(json!({"fault": "silent"}));
    Client::queue(&daemon.socket(), &samples("second", 0..100));
    stand_in.asked(1, s(5));
    daemon.signal(Signal::SIGTERM);
    within(s(5), "a word of the stop", || {
        daemon.log().contains("stopping").then_some(())
    });
    let begun = Instant::now();
    let ended = daemon.stop(s(10));
    assert!(begun.elapsed() < ms(3000), "{:?}", begun.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let last = ended.output.lines().last().unwrap_or_default();
    assert!(
        last.contains("100 still queued") && last.contains("100 of them in doubt"),
        "{last}"
    );
}
