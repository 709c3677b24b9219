//! A config that Pinterest refuses, or a changed API, kills no stream.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::status::{GateState, Reason};
use super::world::{Answer, SECOND, World, options, prepare};
use crate::queue::DeadReason;

const NAMES: [&str; 5] = [
    "page_visit",
    "checkout",
    "add_to_cart",
    "search",
    "view_content",
];

fn mixed(n: usize) -> impl Iterator<Item = (String, Value)> {
    (1..=n).map(|seq| {
        let name = NAMES[seq % NAMES.len()];
        (format!("m{seq}"), json!({"event": name}))
    })
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_refused_for_two_minutes_cost_few_requests_and_letters() {
    // (status, answer after, events a batch, blocks of 5000 a second)
    for (status, latency, batch, blocks) in [
        (400, 1, 1000, 1),
        (400, 300, 1000, 10),
        (200, 50, 1000, 1),
        (422, 50, 50, 1),
    ] {
        let world = World::new();
        let mut options = options();
        options.limits.max_batch_events = batch;
        let handle = world.run(&options, move |call| {
            let answer = if call.at >= 120 * SECOND {
                call.ok()
            } else if status == 200 {
                call.judge(|event| Some(format!("no, said of {}", event["event_id"])))
            } else {
                Answer::refuse(status, "'7' is too short - 'data'")
            };
            answer.after(Duration::from_millis(latency))
        });
        for block in 1..=10 {
            let from = world.census().accepted as usize;
            world.enqueue(mixed(from + 5000).skip(from)).await;
            if block % blocks == 0 {
                tokio::time::sleep(SECOND).await;
            }
        }
        tokio::time::sleep(95 * SECOND).await;
        let gate = handle.status().await.gate;
        assert_eq!(gate.reason, Some(Reason::RefusedAll), "{status} {latency}");
        assert_eq!(gate.state, GateState::Parked);
        let calls = world.calls();
        // 400 is what may be; about 230 is what it takes when the split goes one by one.
        assert!(calls < 260, "{status} {latency} {batch}: {calls} calls");
        let longest = if batch == 50 { 400 } else { 120 };
        world.settled(longest * SECOND).await;
        let census = world.census();
        assert!(
            census.dead_total() <= 100,
            "{} letters",
            census.dead_total()
        );
        assert_eq!(census.delivered + census.dead_total(), 50_000);
    }
}

#[tokio::test(start_paused = true)]
async fn lone_events_that_trickle_in_park_it_too() {
    let world = World::new();
    let handle = world.run(&options(), |_| Answer::refuse(400, "no"));
    for n in 0..150 {
        tokio::time::sleep(SECOND).await;
        world
            .enqueue([(format!("m{n}"), json!({"event": "lead"}))])
            .await;
    }
    let gate = handle.status().await.gate;
    assert_eq!(gate.reason, Some(Reason::RefusedAll));
    assert_eq!(world.dead(DeadReason::Refused), 99);
    assert!(
        gate.detail
            .unwrap()
            .contains("no (config last changed 2026-")
    );
}

#[tokio::test(start_paused = true)]
async fn probes_rotate_and_a_name_that_is_taken_ends_it() {
    let world = World::new();
    world.enqueue(mixed(2000)).await;
    let _handle = world.run(&options(), |call| {
        if call.at > 100 * SECOND && call.events.iter().all(|e| e["event_name"] == "search") {
            call.ok()
        } else {
            call.judge(|_| Some("no".into()))
        }
    });
    world
        .until(600 * SECOND, |census| census.delivered > 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_tries_at_once_and_sends_what_the_new_config_makes() {
    let world = World::new();
    world.enqueue(mixed(30_000)).await;
    let options = options();
    let handle = world.run_as(&options, prepare("_wrong"), 1, |call| {
        let wrong = call.events.iter().any(|event| {
            let name = event["event_name"].as_str().unwrap();
            name.ends_with("_wrong")
        });
        if wrong {
            Answer::refuse(400, "schema")
        } else {
            call.ok()
        }
    });
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!(handle.status().await.gate.reason, Some(Reason::RefusedAll));
    handle.reload(prepare(""), options.limits.clone());
    world.settled(15 * SECOND).await;
    assert!(world.census().dead_total() < 100);
}

#[tokio::test(start_paused = true)]
async fn the_operator_may_force_isolation() {
    let world = World::new();
    world.enqueue(mixed(500)).await;
    let handle = world.run(&options(), |call| call.judge(|_| Some("no".into())));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(world.census().dead_total(), 99);
    handle.resume(true);
    world.settled(10 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Refused), 500);
}

#[tokio::test(start_paused = true)]
async fn a_refused_name_of_the_shops_own_does_not_stop_the_rest() {
    let world = World::new();
    let own = (0..3000).map(|n| (format!("f{n}"), json!({"event": "Foo"})));
    world.enqueue(own).await;
    let _handle = world.run(&options(), |call| {
        call.judge(|event| {
            let bad = event["event_name"] == "Foo";
            bad.then(|| "Invalid event_name: 'Foo'. Use a supported one".into())
        })
    });
    world.settled(10 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Refused), 3000);
    world.enqueue(mixed(10)).await;
    world.settled(10 * SECOND).await;
    assert_eq!(world.census().delivered, 10);
}
