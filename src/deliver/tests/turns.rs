//! The turn to deliver: standing by for it, losing it in the middle of everything, handing it over.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::status::{DrainEnd, GateState, Status};
use super::super::{Handle, Limits, Pause};
use super::world::{Answer, Call, SECOND, WALL, World, options, prepare};
use crate::queue::{DeadReason, Mark, Turn};

const MILLISECOND: Duration = Duration::from_millis(1);

fn limits() -> Limits {
    options().limits
}

fn pause() -> Pause {
    Pause {
        since: WALL,
        until: None,
        reason: None,
    }
}

/// A world in which somebody else has the turn.
async fn taken() -> (World, Turn) {
    let world = World::new();
    let other = world.queue.turn().await.unwrap();
    (world, other)
}

/// The names under which an event went out, in their order.
fn names_of(world: &World, id: &str) -> Vec<String> {
    let seen = world.seen.lock().unwrap();
    let mut names = Vec::new();
    for body in &seen.bodies {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        for event in body["data"].as_array().unwrap() {
            if event["event_id"] == id {
                names.push(event["event_name"].as_str().unwrap().to_owned());
            }
        }
    }
    names
}

async fn stands_by(handle: &Handle) -> bool {
    handle.status().await.standing_by
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_does_nothing_and_says_so() {
    let (world, other) = taken().await;
    world.enqueue_plain(10).await;
    let handle = world.run(&options(), Call::ok);
    sleep(600 * SECOND).await;
    let status = handle.status().await;
    assert!(status.standing_by);
    assert_eq!((status.in_hand, world.calls()), (0, 0));
    assert_eq!(status.gate.state, GateState::Open);
    other.end().await;
    world.settled(10 * SECOND).await;
    assert!(!stands_by(&handle).await);
    assert_eq!(world.calls(), 1);
}

#[test]
fn that_nobody_stands_by_is_not_told() {
    let mut status = Status::default();
    let told = serde_json::to_value(&status).unwrap();
    assert_eq!(told.get("standing_by"), None);
    assert_eq!(serde_json::from_value::<Status>(told).unwrap(), status);
    status.standing_by = true;
    let told = serde_json::to_value(&status).unwrap();
    assert_eq!(told["standing_by"], true);
    assert_eq!(serde_json::from_value::<Status>(told).unwrap(), status);
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_standing_by_holds_for_the_turn_that_comes() {
    for (paused_at_start, by_operator) in [(false, false), (false, true), (true, false)] {
        let (world, other) = taken().await;
        world.enqueue_plain(10).await;
        let mut options = options();
        options.paused = paused_at_start.then(pause);
        let handle = world.run(&options, Call::ok);
        if !paused_at_start {
            handle.pause(pause());
        }
        let status = handle.status().await;
        assert_eq!(status.gate.state, GateState::Paused);
        assert!(status.standing_by);
        other.end().await;
        sleep(60 * SECOND).await;
        let status = handle.status().await;
        assert_eq!(status.gate.state, GateState::Paused);
        assert!(!status.standing_by);
        assert_eq!((status.in_hand, world.calls()), (10, 0));
        if by_operator {
            handle.resume(false);
        } else {
            handle.pause_over();
        }
        world.settled(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_pause_while_standing_by_holds_for_the_turn_that_comes() {
    for by_operator in [false, true] {
        let (world, other) = taken().await;
        world.enqueue_plain(10).await;
        let mut options = options();
        options.paused = Some(pause());
        let handle = world.run(&options, Call::ok);
        assert_eq!(handle.status().await.gate.state, GateState::Paused);
        if by_operator {
            handle.resume(false);
        } else {
            handle.pause_over();
        }
        assert_eq!(handle.status().await.gate.state, GateState::Open);
        assert_eq!(world.calls(), 0);
        other.end().await;
        world.settled(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_and_a_token_while_standing_by_hold_for_the_turn_that_comes() {
    let (world, other) = taken().await;
    world.enqueue_plain(10).await;
    let handle = world.run(&options(), Call::ok);
    assert!(stands_by(&handle).await);
    let mut limits = limits();
    limits.max_batch_events = 2;
    handle.reload(prepare("_new"), limits);
    handle.token_changed();
    assert!(stands_by(&handle).await);
    other.end().await;
    world.settled(10 * SECOND).await;
    assert_eq!(names_of(&world, "m1"), ["page_visit_new"]);
    assert_eq!(world.seen.lock().unwrap().sizes, [2; 5]);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_isolate_while_standing_by_does_so_in_its_turn() {
    // Without that word a refusal of everything parks, and its first letters come back.
    for (isolate, dead) in [(true, 300), (false, 0)] {
        let (world, other) = taken().await;
        world.enqueue_plain(300).await;
        let refuse = |call: &Call| call.judge(|_| Some("no".into()));
        let handle = world.run(&options(), refuse);
        assert!(stands_by(&handle).await);
        handle.resume(isolate);
        other.end().await;
        sleep(30 * SECOND).await;
        assert_eq!(world.dead(DeadReason::Refused), dead);
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_lost_during_a_request_throws_its_answer_away() {
    let world = World::new();
    world.enqueue_plain(10).await;
    let handle = world.run(&options(), |call| call.ok().after(10 * SECOND));
    sleep(5 * SECOND).await;
    assert_eq!((world.calls(), world.census().sending), (1, 10));
    // What is in doubt keeps its name, whatever the config says since.
    handle.reload(prepare("_new"), limits());
    world.lose_turn();
    sleep(SECOND).await;
    let census = world.census();
    assert_eq!((census.delivered, census.queued), (0, 10));
    // It is on its way again, from the same hands: nobody else wanted the turn.
    assert_eq!((world.calls(), census.in_doubt, census.resent), (2, 10, 10));
    sleep(6 * SECOND).await;
    assert_eq!(
        world.census().delivered,
        0,
        "by an answer of the turn before"
    );
    world.settled(20 * SECOND).await;
    assert_eq!(names_of(&world, "m1"), ["page_visit", "page_visit"]);
    assert_eq!(handle.status().await.delivered, 10);
    assert_eq!(world.census().delivered, 10);
}

#[tokio::test(start_paused = true)]
async fn a_turn_lost_while_a_mark_is_laid_lets_no_request_leave() {
    for (until_written, until_answered) in [(10, 0), (0, 10)] {
        let world = World::new();
        world.enqueue_plain(10).await;
        let (until_written, until_answered) = (until_written * SECOND, until_answered * SECOND);
        world.engine.writes_take(until_written, until_answered);
        let handle = world.run(&options(), Call::ok);
        sleep(5 * SECOND).await;
        assert_eq!(handle.status().await.in_flight, 1);
        handle.reload(prepare("_new"), limits());
        world.lose_turn();
        world.engine.writes_take(Duration::ZERO, Duration::ZERO);
        world.settled(20 * SECOND).await;
        sleep(20 * SECOND).await;
        assert_eq!(world.calls(), 1);
        let is_marked = until_written.is_zero();
        let name = if is_marked {
            "page_visit"
        } else {
            "page_visit_new"
        };
        assert_eq!(names_of(&world, "m1"), [name]);
        assert_eq!(world.census().resent, if is_marked { 10 } else { 0 });
        assert_eq!(world.census().delivered, 10);
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_lost_while_settling_ends_what_was_written_and_nothing_else() {
    for (until_written, until_answered) in [(10, 0), (0, 10)] {
        let world = World::new();
        world.enqueue_plain(10).await;
        let handle = world.run(&options(), |call| call.ok().after(2 * SECOND));
        sleep(SECOND).await;
        let (until_written, until_answered) = (until_written * SECOND, until_answered * SECOND);
        world.engine.writes_take(until_written, until_answered);
        sleep(5 * SECOND).await;
        assert_eq!(handle.status().await.delivered, 10);
        let is_written = until_written.is_zero();
        assert_eq!(world.census().delivered, if is_written { 10 } else { 0 });
        world.lose_turn();
        world.engine.writes_take(Duration::ZERO, Duration::ZERO);
        world.settled(20 * SECOND).await;
        sleep(20 * SECOND).await;
        assert_eq!(world.calls(), if is_written { 1 } else { 2 });
        assert_eq!(names_of(&world, "m1").len(), world.calls());
        assert_eq!(world.census().delivered, 10);
        assert!(!stands_by(&handle).await);
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_lost_while_a_claim_waits_is_noticed_at_once() {
    let world = World::new();
    let handle = world.run(&options(), Call::ok);
    sleep(SECOND).await;
    assert!(!stands_by(&handle).await);
    let next = tokio::spawn({
        let queue = world.queue.clone();
        async move { queue.turn().await.unwrap() }
    });
    sleep(MILLISECOND).await;
    world.lose_turn();
    let other = next.await.unwrap();
    sleep(MILLISECOND).await;
    assert!(stands_by(&handle).await);
    world.enqueue_plain(10).await;
    sleep(60 * SECOND).await;
    assert_eq!(world.calls(), 0);
    other.end().await;
    world.settled(10 * SECOND).await;
    assert_eq!(world.calls(), 1);
}

/// Nothing is claimed, marked or settled then that could say so.
#[tokio::test(start_paused = true)]
async fn a_turn_lost_with_full_hands_and_paused_is_noticed_within_a_minute() {
    let world = World::new();
    world.enqueue_plain(50_000).await;
    let mut options = options();
    options.paused = Some(pause());
    let handle = world.run(&options, Call::ok);
    sleep(60 * SECOND).await;
    assert!(handle.status().await.in_hand >= 1000);
    world.lose_turn();
    let _other = world.queue.turn().await.unwrap();
    sleep(60 * SECOND).await;
    let status = handle.status().await;
    assert!(status.standing_by);
    assert_eq!((status.in_hand, status.ready), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stops_while_hands_are_full_and_paused_is_noticed_within_a_minute() {
    let world = World::new();
    world.enqueue_plain(50_000).await;
    let mut options = options();
    options.paused = Some(pause());
    let handle = world.run(&options, Call::ok);
    sleep(60 * SECOND).await;
    assert!(handle.status().await.in_hand >= 1000);
    world.queue.close().await.unwrap();
    sleep(60 * SECOND).await;
    handle.ended().await;
    assert!(world.started.elapsed() < 121 * SECOND);
    assert!(handle.status().await.stopped.is_some());
}

#[tokio::test(start_paused = true)]
async fn counts_carry_over_from_turn_to_turn() {
    let world = World::new();
    let events = |range: std::ops::Range<u64>| {
        range.map(|n| {
            let mut body = json!({"event": "lead"});
            if n % 10 == 0 {
                body["no_match_key"] = json!(1);
            }
            (format!("n{n}"), body)
        })
    };
    world.enqueue(events(0..100)).await;
    let handle = world.run(&options(), |call| match call.number {
        1 => Answer::refuse(401, "no"),
        _ => call.ok(),
    });
    world.settled(600 * SECOND).await;
    let before = handle.status().await;
    assert_eq!((before.delivered, before.dead), (90, 10));
    assert_eq!(before.requests.auth, 1);
    assert!(before.last_error.is_some());
    world.lose_turn();
    let other = world.queue.turn().await.unwrap();
    sleep(SECOND).await;
    let between = handle.status().await;
    let standing_by = Status {
        standing_by: true,
        ..before.clone()
    };
    assert_eq!(between, standing_by);
    world.enqueue(events(100..200)).await;
    other.end().await;
    world.settled(10 * SECOND).await;
    let after = handle.status().await;
    assert_eq!((after.delivered, after.dead), (180, 20));
    assert_eq!(after.requests.auth, 1);
    assert_eq!(after.requests.judged, before.requests.judged + 1);
    assert_eq!(after.last_error, before.last_error);
    assert!(!after.standing_by);
}

#[tokio::test(start_paused = true)]
async fn the_gate_begins_anew_with_each_turn() {
    for status in [401, 429, 503] {
        let world = World::new();
        world.enqueue_plain(10).await;
        let mut options = options();
        options.limits.backoff_initial = 3000 * SECOND;
        options.limits.backoff_max = 3000 * SECOND;
        options.limits.max_batch_events = 5;
        let handle = world.run(&options, move |call| match call.at < 10 * SECOND {
            true => Answer::refuse(status, "no"),
            false => call.ok(),
        });
        sleep(9 * SECOND).await;
        let gate = handle.status().await.gate;
        assert_ne!(gate.state, GateState::Open, "{status}");
        sleep(SECOND).await;
        world.lose_turn();
        sleep(SECOND).await;
        assert_eq!(handle.status().await.gate, Status::default().gate);
        assert_eq!(world.census().delivered, 10, "{status}");
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn the_pace_begins_anew_with_each_turn() {
    let world = World::new();
    world.enqueue_plain(20).await;
    let mut options = options();
    options.limits.max_batch_events = 10;
    options.limits.max_in_flight = 1;
    let _handle = world.run(&options, |call| {
        let mut answer = call.ok();
        answer.signals.remaining = Some(0);
        answer.signals.reset = Some(3000 * SECOND);
        answer
    });
    sleep(60 * SECOND).await;
    assert_eq!(world.calls(), 1);
    world.lose_turn();
    sleep(SECOND).await;
    assert_eq!(world.calls(), 2);
    assert_eq!(world.census().delivered, 20);
}

#[tokio::test(start_paused = true)]
async fn a_drain_while_standing_by_ends_at_once_and_tells_nothing_of_others() {
    let world = World::new();
    world.enqueue_plain(100).await;
    let mut options = options();
    options.limits.max_batch_events = 10;
    let handle = world.run(&options, |call| call.ok().after(600 * SECOND));
    sleep(10 * SECOND).await;
    assert_eq!(handle.status().await.in_flight, 10);
    // These requests are given up with the turn, long before the drain.
    world.lose_turn();
    let other = world.queue.turn().await.unwrap();
    sleep(SECOND).await;
    let claimed = other.claim(3, 1 << 20).await.unwrap();
    world
        .enqueue([("new".to_owned(), json!({"event": "lead"}))])
        .await;
    let mut sent = Vec::new();
    while sent.len() < 98 {
        sent.extend(other.claim(98, 1 << 20).await.unwrap());
    }
    let last = sent.last().unwrap();
    let events = vec![(last.id, "lead".into())];
    other.mark(Mark { events }).await.unwrap();
    let before = world.started.elapsed();
    let report = handle.drain(Instant::now() + 20 * SECOND).await;
    assert_eq!(world.started.elapsed(), before);
    assert_eq!(report.end, DrainEnd::HandedOver);
    assert_eq!((report.delivered, report.dead), (0, 0));
    assert_eq!((report.awaited, report.abandoned), (0, 0));
    // What the other is sending is not in doubt.
    assert_eq!((report.queued, report.in_doubt), (101, 100));
    handle.ended().await;
    assert!(!world.queue.is_turn_awaited());
    drop((claimed, sent));
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_turn_is_awaited_claims_no_more() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let mut options = options();
    options.limits.max_batch_events = 10;
    options.limits.max_in_flight = 2;
    let handle = world.run(&options, |call| call.ok().after(SECOND));
    let next = tokio::spawn({
        let queue = world.queue.clone();
        async move { queue.turn().await.unwrap() }
    });
    sleep(SECOND * 5 / 2).await;
    let in_hand = handle.status().await.in_hand as u64;
    let delivered = world.census().delivered;
    assert!(in_hand > 20 && !next.is_finished());
    let report = handle.drain(Instant::now() + 200 * SECOND).await;
    assert_eq!(report.end, DrainEnd::HandedOver);
    assert_eq!((report.awaited, report.abandoned), (2, 0));
    assert_eq!(report.in_doubt, 0);
    // All that was in hand was delivered first, and what was being claimed.
    assert!(
        (in_hand..=in_hand + 10).contains(&report.delivered),
        "{report:?}"
    );
    assert_eq!(report.queued, 1000 - delivered - report.delivered);
    let turn = next.await.unwrap();
    let mut left = 0;
    while left < report.queued {
        let claimed = turn.claim(1000, 1 << 20).await.unwrap();
        assert!(claimed.iter().all(|entry| entry.sent_as.is_none()));
        left += claimed.len() as u64;
    }
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_turn_is_awaited_waits_for_nothing_beyond_its_deadline() {
    let world = World::new();
    let mut options = options();
    options.limits.max_batch_events = 1;
    options.limits.backoff_initial = 3000 * SECOND;
    options.limits.backoff_max = 3000 * SECOND;
    let handle = world.run(&options, |call| match call.has("m1") {
        true => Answer::lost(false),
        false => call.ok(),
    });
    world.enqueue_plain(1).await;
    sleep(10 * SECOND).await;
    assert_eq!(handle.status().await.waiting, 1);
    let next = tokio::spawn({
        let queue = world.queue.clone();
        async move { queue.turn().await.unwrap() }
    });
    sleep(MILLISECOND).await;
    let others = (2..=100).map(|n| (format!("m{n}"), json!({"event": "lead"})));
    world.enqueue(others).await;
    let begun = Instant::now();
    let report = handle.drain(begun + 60 * SECOND).await;
    assert!(
        begun.elapsed() < SECOND,
        "{:?}: {report:?}",
        begun.elapsed()
    );
    assert_eq!(report.end, DrainEnd::Deadline);
    assert!(report.queued > 90, "{report:?}");
    assert_eq!(report.in_doubt, 1);
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_when_the_turn_is_lost_to_nobody() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let mut options = options();
    options.limits.max_batch_events = 100;
    let handle = world.run(&options, |call| call.ok().after(5 * SECOND));
    let (report, ()) = tokio::join!(handle.drain(Instant::now() + 60 * SECOND), async {
        sleep(SECOND).await;
        world.lose_turn();
    });
    assert_eq!(report.end, DrainEnd::Empty);
    assert_eq!(
        (report.delivered, report.queued, report.in_doubt),
        (1000, 0, 0)
    );
    assert_eq!(world.census().delivered, 1000);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_the_turn_is_lost_to_another() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let mut options = options();
    options.limits.max_batch_events = 100;
    let handle = world.run(&options, |call| call.ok().after(5 * SECOND));
    let next = tokio::spawn({
        let queue = world.queue.clone();
        async move { queue.turn().await.unwrap() }
    });
    sleep(SECOND).await;
    let begun = Instant::now();
    let (report, ()) = tokio::join!(handle.drain(begun + 60 * SECOND), async {
        sleep(SECOND).await;
        world.lose_turn();
    });
    assert_eq!(report.end, DrainEnd::HandedOver);
    assert!(begun.elapsed() < 2 * SECOND);
    assert_eq!((report.delivered, report.queued), (0, 1000));
    // These were awaited, and in vain.
    assert_eq!(
        (report.awaited, report.abandoned, report.in_doubt),
        (10, 10, 1000)
    );
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_stands_by_can_be_ended_without_a_word() {
    for is_dropped in [false, true] {
        let (world, other) = taken().await;
        world.enqueue_plain(10).await;
        let handle = world.run(&options(), Call::ok);
        sleep(SECOND).await;
        assert!(world.queue.is_turn_awaited());
        if is_dropped {
            drop(handle);
            sleep(MILLISECOND).await;
        } else {
            handle.abandon();
            handle.ended().await;
            assert!(handle.status().await.standing_by);
        }
        assert!(!world.queue.is_turn_awaited());
        other.end().await;
        sleep(60 * SECOND).await;
        assert_eq!(world.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stops_ends_who_stands_by() {
    let (world, _other) = taken().await;
    let handle = world.run(&options(), Call::ok);
    sleep(SECOND).await;
    world.queue.close().await.unwrap();
    handle.ended().await;
    let status = handle.status().await;
    assert!(status.stopped.is_some() && status.standing_by);
    let report = handle.drain(Instant::now() + SECOND).await;
    assert_eq!(report.end, DrainEnd::QueueStopped);
}

/// The word that ends the wait and the answer come at the same instant.
#[tokio::test(start_paused = true)]
async fn an_answer_that_has_come_is_heard_whoever_ends_the_wait() {
    let world = World::new();
    world.enqueue_plain(10).await;
    let handle = world.run(&options(), |call| call.ok().after(10 * SECOND));
    while world.calls() == 0 {
        sleep(MILLISECOND).await;
    }
    let left = world.seen.lock().unwrap().at[0];
    sleep_until(world.started + left + 10 * SECOND).await;
    handle.abandon();
    handle.ended().await;
    assert!(world.seen.lock().unwrap().log[0].back.is_some());
    assert_eq!(world.census().delivered, 10);
    world.check();
}
