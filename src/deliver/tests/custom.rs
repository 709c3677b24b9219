//! Custom properties: refused by Pinterest, never at an event's cost.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::OnRefused;
use super::world::{Answer, Call, SECOND, World, options};
use crate::queue::DeadReason;

const LIVE: &str = "Additional properties are not allowed ('tier' was unexpected)";

fn with_keys<'a>(
    prefix: &'a str,
    n: usize,
    keys: &'a [&'a str],
) -> impl Iterator<Item = (String, Value)> + 'a {
    let event = move |seq| {
        let body = json!({"event": "checkout", "custom": keys});
        (format!("{prefix}{seq}"), body)
    };
    (1..=n).map(event)
}

fn refuse_tier(call: &Call) -> Answer {
    if call.has_key("tier") {
        Answer::refuse(400, LIVE)
    } else {
        call.ok()
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_stripped_and_no_event_is_lost() {
    let world = World::new();
    world.enqueue(with_keys("a", 1500, &["tier", "gift"])).await;
    world.enqueue_plain(1500).await;
    let handle = world.run(&options(), |call| {
        let mixed = call.has("m1") && call.has_key("tier");
        assert!(!mixed, "events with custom keys go alone");
        let answer = refuse_tier(call);
        let kept = call.events.iter().all(|e| {
            let id = e["event_id"].as_str().unwrap();
            !id.starts_with('a') || e["custom_data"].get("gift").is_some()
        });
        assert!(kept, "the other key stays");
        answer
    });
    world.settled(20 * SECOND).await;
    assert_eq!(world.census().delivered, 3000);
    assert_eq!(world.census().resent, 0, "none was in doubt");
    assert!(world.calls() <= 8, "{} calls", world.calls());
    let status = handle.status().await;
    assert_eq!(status.stripped["tier"], 1500);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_quotes_none_strips_all() {
    let world = World::new();
    world.enqueue(with_keys("a", 10, &["tier", "gift"])).await;
    let _handle = world.run(&options(), |call| {
        if call.has_key("tier") || call.has_key("gift") {
            Answer::refuse(400, "Additional properties are not allowed")
        } else {
            call.ok()
        }
    });
    world.settled(20 * SECOND).await;
    assert_eq!(world.seen.lock().unwrap().sizes, [10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_verdict_about_a_key_strips_it_too() {
    let world = World::new();
    world.enqueue(with_keys("a", 10, &["tier"])).await;
    let _handle = world.run(&options(), |call| {
        call.judge(|e| e["custom_data"].get("tier").map(|_| LIVE.to_owned()))
    });
    world.settled(20 * SECOND).await;
    assert_eq!(world.census().delivered, 10);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_in_other_words_costs_no_event_either() {
    let world = World::new();
    world.enqueue(with_keys("a", 600, &["tier"])).await;
    let _handle = world.run(&options(), |call| {
        if call.has_key("tier") {
            Answer::refuse(400, "schema mismatch")
        } else {
            call.ok()
        }
    });
    world.settled(60 * SECOND).await;
    assert_eq!(world.census().delivered, 600);
    assert!(world.calls() < 40, "{} calls", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_bad_event_with_custom_keys_is_isolated_as_usual() {
    let world = World::new();
    world.enqueue(with_keys("a", 100, &["tier"])).await;
    let _handle = world.run(&options(), |call| {
        if call.has("a50") {
            Answer::refuse(400, "em is not an array")
        } else {
            call.ok()
        }
    });
    world.settled(60 * SECOND).await;
    assert_eq!(world.census().delivered, 99);
    assert_eq!(world.dead(DeadReason::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_tried_again_after_an_hour() {
    let world = World::new();
    let _handle = world.run(&options(), |call| {
        if call.at < 1800 * SECOND {
            refuse_tier(call)
        } else {
            call.ok()
        }
    });
    let mut with_tier = Vec::new();
    for minutes in [0, 30, 61, 62] {
        let until = Duration::from_secs(minutes * 60);
        tokio::time::sleep(until.saturating_sub(world.started.elapsed())).await;
        let event = json!({"event": "lead", "custom": ["tier"]});
        world.enqueue([(format!("m{minutes}"), event)]).await;
        world.settled(5 * SECOND).await;
        let seen = world.seen.lock().unwrap();
        let last = seen.bodies.last().unwrap();
        let last: Value = serde_json::from_slice(last).unwrap();
        with_tier.push(last["data"][0]["custom_data"].get("tier").is_some());
    }
    assert_eq!(with_tier, [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_if_the_operator_wants_it_so() {
    let world = World::new();
    world.enqueue(with_keys("a", 10, &["tier"])).await;
    world.enqueue_plain(10).await;
    let mut options = options();
    options.limits.on_refused = OnRefused::DeadLetter;
    let _handle = world.run(&options, refuse_tier);
    world.settled(20 * SECOND).await;
    assert_eq!(world.census().delivered, 10);
    assert_eq!(world.dead(DeadReason::CustomRefused), 10);
}
