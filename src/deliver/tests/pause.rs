//! The operator's pause: nothing leaves, and what is not its business goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Pause;
use super::super::status::{DrainEnd, GateState, Reason};
use super::world::{Answer, Call, SECOND, WALL, World, options};
use crate::queue::DeadReason;

fn pause() -> Pause {
    Pause {
        since: WALL,
        until: Some(WALL + 3_600_000),
        reason: Some("a move".into()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_paused_sends_nothing_until_it_is_over() {
    let world = World::new();
    world.enqueue_plain(50_000).await;
    let mut options = options();
    options.paused = Some(pause());
    let handle = world.run(&options, Call::ok);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(world.calls(), 0);
    let status = handle.status().await;
    let gate = &status.gate;
    assert_eq!(
        (gate.state, gate.reason),
        (GateState::Paused, Some(Reason::Paused))
    );
    assert_eq!(gate.detail.as_deref(), Some("a move"));
    assert_eq!(
        (gate.since, gate.until),
        (Some(WALL), Some(WALL + 3_600_000))
    );
    assert!(
        status.in_hand <= 4000,
        "the rest waits on disk: {}",
        status.in_hand
    );
    let begun = Instant::now();
    let report = handle.drain(begun + 20 * SECOND).await;
    assert_eq!((report.end, report.queued), (DrainEnd::GateClosed, 50_000));
    assert!(begun.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn its_end_is_no_word_about_the_gate_but_the_operators_is() {
    let world = World::new();
    world.enqueue_plain(10).await;
    let handle = world.run(&options(), |call| match call.at < 300 * SECOND {
        true => Answer::refuse(401, "no"),
        false => call.ok(),
    });
    tokio::time::sleep(10 * SECOND).await;
    handle.pause(pause());
    assert_eq!(handle.status().await.gate.state, GateState::Paused);
    handle.pause_over();
    let gate = handle.status().await.gate;
    assert_eq!(
        (gate.state, gate.reason),
        (GateState::Parked, Some(Reason::Auth))
    );
    handle.pause(pause());
    handle.resume(false);
    assert_eq!(handle.status().await.gate.state, GateState::Open);
    world.settled(600 * SECOND).await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn what_grows_too_old_meanwhile_expires() {
    let world = World::new();
    world.enqueue_plain(100).await;
    let mut options = options();
    options.limits.max_age = Duration::from_secs(3600);
    options.paused = Some(pause());
    let _handle = world.run(&options, Call::ok);
    tokio::time::sleep(3700 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Expired), 100);
    assert_eq!(world.calls(), 0);
}
