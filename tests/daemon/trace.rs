//! `pinrelay trace`: one event's life.

use serde_json::{Value, json};

use crate::support::{Client, Site, StandIn, s, samples, within};

fn trace(site: &Site, id: &str) -> (Option<i32>, Value) {
    let out = (site.command(&["trace", id, "--json"]).output()).expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (
        out.status.code(),
        serde_json::from_str(&text).unwrap_or(Value::Null),
    )
}

#[test]
fn from_the_process_that_sent_it_over_each_attempt_to_the_delivery() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503", "fault_first": 1}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("t", 0..3));
    stand_in.takes(3, s(20));
    let steps = within(s(10), "a delivered event", || {
        let (_, trace) = trace(&site, "t-000001");
        let steps = trace["steps"].as_array()?.clone();
        (steps.last()?["outcome"] == "delivered").then_some(steps)
    });
    assert_eq!(steps[0]["step"], "arrived");
    assert_eq!(steps[0]["answer"], "queued");
    assert_eq!(steps[0]["uid"], nix::unistd::getuid().as_raw());
    assert_eq!(steps[0]["pid"], std::process::id());
    assert_eq!(steps[1]["outcome"], "in_doubt");
    assert_eq!(steps[1]["http_status"], 503);
    let last = steps.last().expect("one");
    assert_eq!(
        (&last["class"], &last["http_status"]),
        (&json!("judged"), &json!(200))
    );
    // It comes again, and is known.
    Client::connect(&daemon.socket()).ask(&samples("t", 1..2)[0].line);
    let (code, trace) = trace(&site, "t-000001");
    assert_eq!(code, Some(0));
    let answers: Vec<_> = (trace["steps"].as_array().expect("steps").iter())
        .filter_map(|step| step["answer"].as_str())
        .collect();
    assert_eq!(answers, ["queued", "duplicate"]);
    let out = (site.command(&["trace", "t-000001"]).output()).expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let me = format!("process {}", std::process::id());
    for says in [
        "queued, from ",
        &me,
        "HTTP 503",
        "delivered: a request of",
        "remembered back to",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn a_death_says_why_and_what_is_not_known_is_said() {
    let stand_in = StandIn::start();
    stand_in.mode(
        json!({"refuse_event_ids": ["d-000000"], "refuse_message": "no user_data for \
        customer0@mail.example"}),
    );
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("d", 0..2));
    let steps = within(s(20), "a death", || {
        let (_, trace) = trace(&site, "d-000000");
        let steps = trace["steps"].as_array()?.clone();
        (steps.last()?["state"] == "dead").then_some(steps)
    });
    assert_eq!(steps.last().expect("one")["reason"], "refused");
    let refused = steps
        .iter()
        .find(|step| step["outcome"] == "refused")
        .expect("one");
    let words = refused["words"].as_str().expect("words");
    assert!(
        words.contains("no user_data") && !words.contains("customer0"),
        "{words}"
    );
    let (code, unknown) = trace(&site, "never-sent");
    assert_eq!((code, &unknown["steps"]), (Some(1), &json!([])));
    assert_eq!(unknown["stored"]["state"], "unknown");
    // Single steps are the process' memory; where the event is, the queue's.
    daemon.stop(s(20));
    let _daemon = site.start();
    let shown = |id: &str| {
        let out = (site.command(&["trace", id]).output()).expect("it runs");
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let dead = shown("d-000000");
    assert!(dead.contains("dead: refused, accepted "), "{dead}");
    assert!(dead.contains("`pinrelay dead show "), "{dead}");
    assert!(dead.contains("the daemon's start"), "{dead}");
    assert!(!dead.contains("customer0"), "{dead}");
    let delivered = shown("d-000001");
    assert!(
        delivered.contains("delivered, or given up, or set aside"),
        "{delivered}"
    );
}
