//! Batching, verdicts by position, isolation.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{Answer, Call, SECOND, World, options};
use crate::queue::DeadReason;

#[tokio::test(start_paused = true)]
async fn a_lone_event_with_nothing_after_it_goes_after_the_linger() {
    let world = World::new();
    let _handle = world.run(&options(), Call::ok);
    tokio::time::sleep(5 * SECOND).await;
    let before = Instant::now();
    world.enqueue_plain(1).await;
    world.settled(2 * SECOND).await;
    assert!(before.elapsed() < Duration::from_millis(500));
    assert_eq!(world.census().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_goes_in_full_batches_with_several_in_flight() {
    let world = World::new();
    world.enqueue_plain(50_000).await;
    let _handle = world.run(&options(), |call| call.ok().after(SECOND / 4));
    world.settled(20 * SECOND).await;
    let seen = world.seen.lock().unwrap();
    assert_eq!(seen.sizes, vec![1000; 50]);
    assert_eq!(seen.most_in_flight, 20);
}

#[tokio::test(start_paused = true)]
async fn a_body_keeps_to_its_bytes() {
    let world = World::new();
    let padding = "x".repeat(1000);
    let events = (0..100).map(|n| {
        (
            format!("m{n}"),
            json!({"event": "search", "padding": padding}),
        )
    });
    world.enqueue(events).await;
    let huge = json!({"event": "search", "padding": "x".repeat(20_000)});
    world.enqueue([("huge".into(), huge)]).await;
    let mut options = options();
    options.limits.max_batch_bytes = 10_000;
    let _handle = world.run(&options, Call::ok);
    world.settled(20 * SECOND).await;
    assert_eq!(world.census().delivered, 100);
    assert_eq!(world.dead(DeadReason::TooLarge), 1);
    let seen = world.seen.lock().unwrap();
    assert!(seen.bodies.iter().all(|body| body.len() <= 10_000));
    assert!(seen.calls <= 13, "{}", seen.calls);
}

#[tokio::test(start_paused = true)]
async fn in_test_mode_twenty_events_a_request_and_ten_requests_a_second() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let mut options = options();
    options.test = true;
    let _handle = world.run(&options, Call::ok);
    world.settled(20 * SECOND).await;
    let seen = world.seen.lock().unwrap();
    assert!(seen.sizes.iter().all(|size| *size <= 20));
    for window in seen.at.windows(11) {
        assert!(window[10] - window[0] >= Duration::from_millis(990));
    }
}

#[tokio::test(start_paused = true)]
async fn verdicts_are_settled_by_position_under_200_and_422() {
    for status in [200, 422] {
        let world = World::new();
        world.enqueue_plain(300).await;
        let _handle = world.run(&options(), move |call| {
            let bad = |id: &str| id.ends_with('7').then(|| "bad em".to_owned());
            let mut answer = call.judge(|event| bad(event["event_id"].as_str().unwrap()));
            if status == 422 {
                let (_, body) = answer.what.unwrap();
                let details: serde_json::Value = serde_json::from_str(&body).unwrap();
                let body = json!({"code": 953, "message": "Bad", "details": details});
                answer.what = Ok((422, body.to_string()));
            }
            answer
        });
        world.settled(10 * SECOND).await;
        assert_eq!(world.census().delivered, 270);
        assert_eq!(world.dead(DeadReason::Refused), 30);
        let letters = world.engine.dead_letters();
        assert!(letters.iter().all(|(_, _, message)| message == "bad em"));
        assert_eq!(world.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_among_a_thousand_stands_alone_after_25_requests() {
    for bad in [1, 500, 501, 777, 1000] {
        let world = World::new();
        world.enqueue_plain(1000).await;
        let id = format!("m{bad}");
        let _handle = world.run(&options(), move |call| {
            if call.has(&id) {
                Answer::refuse(400, "'-1' is not a time")
            } else {
                call.ok()
            }
        });
        world.settled(30 * SECOND).await;
        assert_eq!(world.census().delivered, 999);
        let letters = world.engine.dead_letters();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].1, DeadReason::Refused);
        assert_eq!(letters[0].2, "'-1' is not a time");
        assert!(world.calls() <= 25, "{} calls", world.calls());
        assert_eq!(world.census().in_doubt, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_events_in_many_batches_cost_no_other_event() {
    let world = World::new();
    world.enqueue_plain(30_000).await;
    let bad = |id: &str| id.ends_with("333");
    let _handle = world.run(&options(), move |call| {
        if call
            .events
            .iter()
            .any(|e| bad(e["event_id"].as_str().unwrap()))
        {
            Answer::refuse(400, "no")
        } else {
            call.ok()
        }
    });
    world.settled(300 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Refused), 30);
    assert_eq!(world.census().delivered, 29_970);
    assert!(world.calls() <= 30 * 22, "{} calls", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_413_is_split_and_what_is_too_large_alone_is_dead() {
    let world = World::new();
    let padding = "x".repeat(50_000);
    world.enqueue_plain(500).await;
    let events = json!({"event": "search", "padding": padding});
    world.enqueue([("big".into(), events)]).await;
    world
        .enqueue((501..900).map(|n| (format!("m{n}"), json!({"event": "search"}))))
        .await;
    let _handle = world.run(&options(), |call| {
        if call.events.len() > 400 || call.has("big") {
            Answer::refuse(413, "")
        } else {
            call.ok()
        }
    });
    world.settled(60 * SECOND).await;
    assert_eq!(world.census().delivered, 899);
    assert_eq!(world.dead(DeadReason::TooLarge), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_transformed_is_dead_and_takes_no_room() {
    let world = World::new();
    let event = json!({"event": "search", "no_match_key": true});
    world.enqueue([("bad".into(), event)]).await;
    world.enqueue_plain(3).await;
    let _handle = world.run(&options(), Call::ok);
    world.settled(5 * SECOND).await;
    assert_eq!(world.dead(DeadReason::NoMatchKey), 1);
    assert_eq!(world.census().delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_number_of_events_is_resent_until_it_fits() {
    let world = World::new();
    world.enqueue_plain(10).await;
    let _handle = world.run(&options(), |call| match call.number {
        1 | 2 => Answer::reply(200, &json!({"events": [{"status": "processed"}]})),
        _ => call.ok(),
    });
    world.settled(30 * SECOND).await;
    assert_eq!(world.census().delivered, 10);
    assert_eq!(world.census().resent, 20);
    let seen = world.seen.lock().unwrap();
    assert!(seen.bodies.iter().all(|body| *body == seen.bodies[0]));
}

#[tokio::test(start_paused = true)]
async fn an_unclear_event_alone_is_resent() {
    let world = World::new();
    world.enqueue_plain(3).await;
    let _handle = world.run(&options(), |call| match call.number {
        1 => Answer::reply(
            200,
            &json!({"events": [{"status": "processed"}, {"status": "pending"}, {"status": "processed"}]}),
        ),
        _ => call.ok(),
    });
    world.settled(30 * SECOND).await;
    assert_eq!(world.census().delivered, 3);
    assert_eq!(world.seen.lock().unwrap().sizes, [3, 1]);
}
