//! Trouble of the destination shows, however little there is to send, and its end does.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Client, Daemon, Site, StandIn, s, samples};

fn state(status: &Value) -> (&str, &str) {
    (
        status["state"].as_str().unwrap_or_default(),
        status["gate"]["reason"].as_str().unwrap_or_default(),
    )
}

/// So often the log says this.
fn told(daemon: &Daemon<'_>, words: &str) -> usize {
    daemon
        .log()
        .lines()
        .filter(|line| line.contains(words))
        .count()
}

#[test]
fn an_outage_that_one_event_meets_is_shown_told_once_and_over() {
    let stand_in = StandIn::with(&["--fault", "502", "--fault-page", "502 Bad Gateway"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("outage", 0..1));
    // While the next attempt is under way its moment is not known.
    let first = daemon.shows(s(5), "the first failure", |status| {
        status["gate"]["reason"] == "unavailable" && status["gate"]["next_probe"].is_i64()
    });
    let since = first["gate"]["since"].as_i64().expect("since when");
    let status = daemon.shows(s(15), "an outage", |status| {
        state(status) == ("backing off", "unavailable")
    });
    // It is reckoned back from the moment of the question, to the millisecond.
    let later = status["gate"]["since"].as_i64().expect("since when");
    assert!(
        (later - since).abs() < 50,
        "the first: {later}, not {since}"
    );
    let page = "an HTML page (HTTP 502, title \"Bad Gateway\")";
    assert_eq!(status["gate"]["detail"], page);
    let text = site.command(&["status"]).output().expect("status");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("shut: Pinterest does not answer since"),
        "{text}"
    );
    stand_in.asked(12, s(20));
    let page = page.replace('"', "\\\"");
    assert_eq!(told(&daemon, &page), 1, "{}", daemon.log());
    stand_in.well();
    daemon.shows(s(5), "its end", |status| {
        state(status) == ("delivering", "")
    });
    assert_eq!(told(&daemon, "Pinterest answers again"), 1);
    stand_in.takes(1, s(5));
}

#[test]
fn a_request_that_is_not_answered_is_shown_before_its_time_out() {
    let stand_in = StandIn::with(&["--fault", "silent"]);
    let site = Site::new(&stand_in).set("delivery", "request_timeout", "2m");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("silence", 0..1));
    let status = daemon.shows(s(20), "an outage", |status| {
        state(status) == ("backing off", "unavailable")
    });
    assert_eq!(stand_in.totals().requests, 1);
    assert_eq!(status["delivery"]["in_flight"], 1);
    assert_eq!(told(&daemon, "no answer for 15 s"), 1, "{}", daemon.log());
}

#[test]
fn a_wait_for_calls_is_shown_and_ended_by_resume_and_no_stop_waits_for_it() {
    let stand_in = StandIn::with(&["--no-calls-left", "1800"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let samples = samples("calls", 0..3);
    let is_held = |status: &Value| state(status) == ("backing off", "rate_limited");
    Client::queue(&daemon.socket(), &samples[..1]);
    let status = daemon.shows(s(10), "no calls", |status| {
        is_held(status) && status["delivered"] == 1
    });
    let at = |value: &Value| value.as_i64().expect("a moment");
    let wait = at(&status["gate"]["until"]) - at(&status["now"]);
    assert!((1_700_000..=1_800_000).contains(&wait), "{wait}");
    Client::queue(&daemon.socket(), &samples[1..2]);
    daemon.shows(s(10), "one that waits", |status| status["queued"] == 1);
    let resumed = site.command(&["resume"]).output().expect("resume");
    assert!(resumed.status.success(), "{resumed:?}");
    stand_in.takes(2, s(5));
    Client::queue(&daemon.socket(), &samples[2..]);
    daemon.shows(s(10), "no calls", |status| {
        is_held(status) && status["queued"] == 1
    });
    let text = site.command(&["status"]).output().expect("status");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("shut: rate limited since"), "{text}");
    assert!(text.contains(", until "), "{text}");
    let begun = std::time::Instant::now();
    let ended = daemon.stop(s(15));
    assert!(begun.elapsed() < s(8), "it waited for what cannot be");
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// Each answer lay there when the process came back; each was thrown away as one that came too late,
/// and its events sent again.
#[test]
fn answers_that_came_while_the_process_was_frozen_are_used() {
    let stand_in = StandIn::with(&["--latency-ms", "1000"]);
    let site = Site::new(&stand_in)
        .set("delivery", "request_timeout", "2s")
        .set("delivery", "max_batch_events", "1");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("frozen", 0..10));
    stand_in.asked(10, s(10));
    daemon.signal(Signal::SIGSTOP);
    // Beyond the time-out of each, and its answer's latency.
    std::thread::sleep(s(4));
    daemon.signal(Signal::SIGCONT);
    let status = daemon.shows(s(10), "all delivered", |status| status["delivered"] == 10);
    assert_eq!(stand_in.totals().requests, 10, "none was sent again");
    assert_eq!(status["ledger"]["resent"], 0);
    assert_eq!(told(&daemon, "no answer for"), 0, "{}", daemon.log());
}
