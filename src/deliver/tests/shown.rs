//! Trouble of the destination is shown from its first moment to its last, whatever the traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::destination::Signals;
use super::super::status::{DrainEnd, GateState, GateStatus, Reason};
use super::world::{Answer, Call, SECOND, WALL, World, options, prepare};

/// A switch that a script and a test share.
fn switch() -> (Arc<AtomicBool>, impl Fn() -> bool + Send + Sync + 'static) {
    let is_on = Arc::new(AtomicBool::new(false));
    let reads = is_on.clone();
    (is_on, move || reads.load(Ordering::SeqCst))
}

fn is_well(gate: &GateStatus) -> bool {
    *gate == GateStatus::default()
}

/// With few events waiting an outage was called health: one event failed for minutes before an
/// open gate, since "one batch says nothing", and nothing told of it.
#[tokio::test(start_paused = true)]
async fn an_outage_is_shown_from_its_first_failure_whatever_the_traffic() {
    // (events at first, then one each so many seconds)
    for (events, every) in [(1, None), (500, None), (1, Some(3600)), (1000, Some(1))] {
        let world = World::new();
        let (healed, well) = switch();
        let handle = world.run(&options(), move |call| match well() {
            true => call.ok(),
            false => Answer::text(502, "<html><title>Bad Gateway</title></html>"),
        });
        sleep(SECOND).await;
        world.enqueue_plain(events).await;
        let begun = world.clock.now() + 200;
        sleep(SECOND / 2).await;
        let first = handle.status().await.gate;
        assert_eq!(
            first.reason,
            Some(Reason::Unavailable),
            "{events}: {first:?}"
        );
        let since = first.since.unwrap();
        assert!((since - begun).abs() <= 5000, "{events}: the first failure");
        assert!(first.next_probe.is_some(), "{events}: {first:?}");
        let detail = first.detail.unwrap();
        assert!(detail.contains("502"), "{events}: {detail}");
        let mut more = 0;
        for second in 1..=240_u64 {
            if every.is_some_and(|every| second.is_multiple_of(every)) {
                more += 1;
                let event = (format!("more{more}"), json!({"event": "search"}));
                world.enqueue([event]).await;
            }
            sleep(SECOND).await;
            if second >= 16 {
                let gate = handle.status().await.gate;
                assert_eq!(gate.state, GateState::Shut, "{events}, {second}: {gate:?}");
                assert_eq!(gate.reason, Some(Reason::Unavailable));
                assert!(
                    (gate.since.unwrap() - since).abs() <= 5000,
                    "since the first"
                );
                assert!(gate.next_probe.is_some(), "{events}, {second}: {gate:?}");
            }
        }
        healed.store(true, Ordering::SeqCst);
        world.settled(301 * SECOND).await;
        assert!(is_well(&handle.status().await.gate), "{events}: it is over");
    }
}

/// The one request under way was not answered, and until its time-out nothing said so.
#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_trouble_before_its_time_out_ends() {
    for events in [1, 5000] {
        let world = World::new();
        let mut options = options();
        options.request_timeout = 120 * SECOND;
        world.enqueue_plain(events).await;
        let handle = world.run(&options, |call| call.ok().after(100 * SECOND));
        sleep(14 * SECOND).await;
        assert!(is_well(&handle.status().await.gate), "it may be slow");
        sleep(3 * SECOND).await;
        let gate = handle.status().await.gate;
        assert_eq!(gate.state, GateState::Shut, "{gate:?}");
        assert_eq!(gate.reason, Some(Reason::Unavailable));
        assert!(gate.since.unwrap() <= WALL + 5000, "since it left");
        sleep(84 * SECOND).await;
        assert!(is_well(&handle.status().await.gate), "answered at last");
        assert_eq!(world.census().resent, 0);
    }
}

/// What hangs while others are answered is its own trouble.
#[tokio::test(start_paused = true)]
async fn one_that_hangs_beside_answers_is_not_the_destinations_trouble() {
    let world = World::new();
    world.enqueue_plain(1).await;
    let handle = world.run(&options(), |call| match call.has("m1") {
        true => Answer::lost(false).after(30 * SECOND),
        false => call.ok(),
    });
    for n in 2..200 {
        sleep(SECOND).await;
        let event = (format!("m{n}"), json!({"event": "search"}));
        world.enqueue([event]).await;
        let gate = handle.status().await.gate;
        assert_eq!(gate.state, GateState::Open, "{n}: {gate:?}");
    }
}

/// The poison of a quiet shop: what is known to be the event's own fault is not called an outage,
/// and nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_fresh_event_leaves_at_once_after_failures_of_another() {
    let world = World::new();
    world.enqueue_plain(1).await;
    let handle = world.run(&options(), |call| match call.has("m1") {
        true => Answer::text(500, "oops"),
        false => call.ok(),
    });
    for n in 2..40 {
        sleep(Duration::from_secs(600)).await;
        let event = (format!("m{n}"), json!({"event": "search"}));
        world.enqueue([event]).await;
        sleep(SECOND).await;
        assert_eq!(world.census().delivered, n - 1, "at once");
    }
    // Eight times others were answered between two of its failures: by now that is known.
    sleep(Duration::from_secs(600)).await;
    let status = handle.status().await;
    assert_eq!(status.gate.state, GateState::Open, "{:?}", status.gate);
    assert_eq!(status.deferred, 1);
}

/// A 200 that leaves no calls stopped delivery for as long as its header said, without a word.
#[tokio::test(start_paused = true)]
async fn a_wait_that_headers_ask_for_is_a_state_like_any_other() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        ByItself,
        Resume,
        Reload,
        Token,
        Drain,
    }
    for (status, end) in [
        (200, End::ByItself),
        (200, End::Resume),
        (200, End::Reload),
        (200, End::Token),
        (200, End::Drain),
        (429, End::Resume),
        (429, End::Reload),
        (429, End::Token),
        (429, End::Drain),
    ] {
        let world = World::new();
        world.enqueue_plain(1).await;
        let options = options();
        let handle = world.run(&options, move |call| {
            let mut answer = match (call.number, status) {
                (1, 429) => Answer::refuse(429, "slow down"),
                _ => call.ok(),
            };
            if call.number == 1 {
                answer.signals = Signals {
                    remaining: Some(0),
                    reset: Some(600 * SECOND),
                    ..Signals::default()
                };
            }
            answer
        });
        sleep(SECOND).await;
        let event = ("late".to_owned(), json!({"event": "search"}));
        world.enqueue([event]).await;
        sleep(60 * SECOND).await;
        assert_eq!(world.calls(), 1);
        let gate = handle.status().await.gate;
        assert_eq!(gate.state, GateState::Shut, "{status} {end:?}: {gate:?}");
        assert_eq!(gate.reason, Some(Reason::RateLimited), "{gate:?}");
        let until = gate.until.expect("until when");
        assert!((until - WALL - 600_000).abs() < 70_000, "{until}");
        match end {
            End::ByItself => sleep(540 * SECOND).await,
            End::Resume => handle.resume(false),
            End::Reload => handle.reload(prepare(""), options.limits.clone()),
            End::Token => handle.token_changed(),
            End::Drain => {
                let before = Instant::now();
                let report = handle.drain(before + 20 * SECOND).await;
                assert_eq!(report.end, DrainEnd::GateClosed, "{status}");
                assert!(before.elapsed() < 3 * SECOND, "{status}");
                continue;
            }
        }
        world.settled(SECOND).await;
        assert!(is_well(&handle.status().await.gate), "{status} {end:?}");
    }
}

/// A drain has time for a short wait.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_calls_that_come_before_its_deadline() {
    for status in [200, 429] {
        let world = World::new();
        let handle = world.run(&options(), move |call| {
            let mut answer = match (call.number, status) {
                (1, 429) => Answer::refuse(429, "slow down"),
                _ => call.ok(),
            };
            if call.number == 1 {
                answer.signals.remaining = Some(0);
                answer.signals.reset = Some(8 * SECOND);
            }
            answer
        });
        world.enqueue_plain(1).await;
        sleep(SECOND).await;
        let event = ("late".to_owned(), json!({"event": "search"}));
        world.enqueue([event]).await;
        let report = handle.drain(Instant::now() + 20 * SECOND).await;
        assert_eq!(report.end, DrainEnd::Empty, "{status}: {report:?}");
    }
}

/// The probe was under way when the token was renewed and read again: its answer, which delivered
/// the last event, was dropped as one from before that, and the gate stayed parked for good.
#[tokio::test(start_paused = true)]
async fn a_sound_answer_opens_the_gate_whoever_asked() {
    for trouble in [401, 503, 301] {
        for pokes in [1, 2] {
            let world = World::new();
            let (healed, well) = switch();
            let options = options();
            let handle = world.run(&options, move |call: &Call| match well() {
                true => call.ok().after(5 * SECOND),
                false => Answer::refuse(trouble, "no"),
            });
            world.enqueue_plain(1).await;
            sleep(30 * SECOND).await;
            assert_ne!(handle.status().await.gate.state, GateState::Open);
            healed.store(true, Ordering::SeqCst);
            let before = world.calls();
            while world.calls() == before {
                sleep(SECOND / 10).await;
            }
            // The last probe is under way.
            for _ in 0..pokes {
                handle.reload(prepare(""), options.limits.clone());
                handle.token_changed();
            }
            world.settled(60 * SECOND).await;
            sleep(SECOND).await;
            let gate = handle.status().await.gate;
            assert!(is_well(&gate), "{trouble}, {pokes}: {gate:?}");
        }
    }
}

/// Where nothing waits any more nothing can be tried, and what was mended is no trouble.
#[tokio::test(start_paused = true)]
async fn what_is_mended_while_nothing_waits_is_not_shown_as_trouble() {
    let world = World::new();
    let mut options = options();
    options.limits.max_age = Duration::from_secs(3600);
    let handle = world.run(&options, |_| Answer::refuse(401, "no"));
    world.enqueue_plain(10).await;
    sleep(4000 * SECOND).await;
    assert_eq!(world.census().dead_total(), 10, "expired");
    assert_eq!(handle.status().await.gate.state, GateState::Parked);
    handle.token_changed();
    sleep(SECOND).await;
    let gate = handle.status().await.gate;
    assert!(is_well(&gate), "{gate:?}");
}

/// An outage that ends with everything expired would otherwise be shown until the next event.
#[tokio::test(start_paused = true)]
async fn an_outage_that_nothing_waits_for_any_more_is_over() {
    for events in [1, 5000] {
        let world = World::new();
        let mut options = options();
        options.limits.max_age = Duration::from_secs(3600);
        let handle = world.run(&options, |_| Answer::text(500, "oops"));
        world.enqueue_plain(events).await;
        sleep(3000 * SECOND).await;
        assert_eq!(handle.status().await.gate.state, GateState::Shut);
        sleep(1500 * SECOND).await;
        assert_eq!(world.census().dead_total(), events as u64, "expired");
        let gate = handle.status().await.gate;
        assert!(is_well(&gate), "{gate:?}");
    }
}

/// A 503 says how long to wait, as a 429 does: the probes keep to it.
#[tokio::test(start_paused = true)]
async fn retry_after_counts_on_a_503_too() {
    for events in [1, 5000] {
        let world = World::new();
        world.enqueue_plain(events).await;
        let _handle = world.run(&options(), |call| match call.at < 100 * SECOND {
            true => {
                let mut answer = Answer::refuse(503, "later");
                answer.signals.retry_after = Some(120 * SECOND);
                answer
            }
            false => call.ok(),
        });
        sleep(119 * SECOND).await;
        let calls = world.calls();
        assert!(calls <= 5, "{calls} calls: the first ones alone");
        world.settled(30 * SECOND).await;
    }
}

/// One event to which the answer is always a 503 with a long wait holds up nobody.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_said_of_one_batch_is_not_everybodys() {
    let world = World::new();
    world.enqueue_plain(1).await;
    let _handle = world.run(&options(), |call| match call.has("m1") {
        true => {
            let mut answer = Answer::refuse(503, "later");
            answer.signals.retry_after = Some(3600 * SECOND);
            answer
        }
        false => call.ok(),
    });
    for n in 2..30 {
        sleep(10 * SECOND).await;
        let event = (format!("m{n}"), json!({"event": "search"}));
        world.enqueue([event]).await;
        sleep(SECOND).await;
        assert_eq!(world.census().delivered, n - 1, "at once");
    }
}
