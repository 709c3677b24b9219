//! Stopping: what can be delivered is, what cannot stays, and nothing waits in vain.

use std::time::Duration;

use tokio::time::Instant;

use super::super::status::DrainEnd;
use super::world::{Answer, Call, SECOND, World, options};

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_everything_and_lingers_for_nothing() {
    let world = World::new();
    let mut options = options();
    options.limits.linger = 60 * SECOND;
    let handle = world.run(&options, Call::ok);
    world.enqueue_plain(5001).await;
    let report = handle.drain(Instant::now() + 20 * SECOND).await;
    assert_eq!(report.end, DrainEnd::Empty);
    assert_eq!((report.queued, report.in_doubt), (0, 0));
    assert_eq!(world.census().delivered, 5001);
    assert!(world.started.elapsed() < 2 * SECOND);
    handle.ended().await;
    assert_eq!(handle.status().await.delivered, 5001);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_not_open_ends_it_at_once() {
    for status in [401, 429] {
        let world = World::new();
        world.enqueue_plain(5000).await;
        let handle = world.run(&options(), move |_| {
            let mut answer = Answer::refuse(status, "no");
            answer.signals.reset = Some(60 * SECOND);
            answer
        });
        tokio::time::sleep(10 * SECOND).await;
        let before = Instant::now();
        let report = handle.drain(Instant::now() + 20 * SECOND).await;
        assert_eq!(report.end, DrainEnd::GateClosed);
        assert_eq!(report.queued, 5000);
        assert_eq!(report.in_doubt, 0);
        assert!(before.elapsed() < 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_in_flight_is_abandoned_and_in_doubt() {
    let world = World::new();
    world.enqueue_plain(3000).await;
    let handle = world.run(&options(), |call| call.ok().after(600 * SECOND));
    tokio::time::sleep(SECOND).await;
    let before = Instant::now();
    let report = handle.drain(Instant::now() + 20 * SECOND).await;
    assert_eq!(report.end, DrainEnd::Deadline);
    assert_eq!(before.elapsed().as_secs(), 20);
    assert_eq!(report.abandoned, 3);
    assert_eq!((report.queued, report.in_doubt), (3000, 3000));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_wait() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let handle = world.run(&options(), |call| call.ok().after(600 * SECOND));
    tokio::time::sleep(SECOND).await;
    let deadline = Instant::now() + 20 * SECOND;
    let (report, ()) = tokio::join!(handle.drain(deadline), async {
        tokio::time::sleep(SECOND).await;
        handle.abandon();
    });
    assert_eq!(report.end, DrainEnd::Abandoned);
    assert!(world.started.elapsed() < 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_the_deadline_is_not_waited_for() {
    let world = World::new();
    world.enqueue_plain(1).await;
    let handle = world.run(&options(), |_| {
        Answer::lost(false).after(Duration::from_millis(1))
    });
    tokio::time::sleep(300 * SECOND).await;
    let before = Instant::now();
    let report = handle.drain(Instant::now() + SECOND / 100).await;
    assert_ne!(report.end, DrainEnd::Empty);
    assert_eq!(report.in_doubt, 1);
    assert!(before.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stops_ends_the_loop_and_no_request_leaves_unmarked() {
    let world = World::new();
    let handle = world.run(&options(), Call::ok);
    tokio::time::sleep(SECOND).await;
    world.queue.close().await.unwrap();
    handle.ended().await;
    assert!(handle.status().await.stopped.is_some());
    let report = handle.drain(Instant::now() + SECOND).await;
    assert_eq!(report.end, DrainEnd::QueueStopped);
    assert_eq!(world.calls(), 0);
}
