//! Trouble of the destination costs no event; an event that keeps failing costs no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::super::OnLate;
use super::super::destination::Signals;
use super::super::status::{GateState, Reason};
use super::world::{Answer, Call, SECOND, World, options, prepare};
use crate::queue::{Census, DeadReason};

#[tokio::test(start_paused = true)]
async fn a_401_for_a_minute_parks_and_costs_nothing() {
    for status in [401, 403, 404, 301, 405] {
        let world = World::new();
        world.enqueue_plain(5000).await;
        let handle = world.run(&options(), move |call| {
            if call.at < 60 * SECOND {
                Answer::refuse(status, "Authentication failed.")
            } else {
                call.ok()
            }
        });
        tokio::time::sleep(50 * SECOND).await;
        let gate = handle.status().await.gate;
        assert_eq!(gate.state, GateState::Parked);
        let reason = if matches!(status, 301 | 405) {
            Reason::Unexpected
        } else {
            Reason::Auth
        };
        assert_eq!(gate.reason, Some(reason));
        assert!(gate.next_probe.is_some() && gate.since.is_some());
        world.settled(80 * SECOND).await;
        assert_eq!(world.census().delivered, 5000);
        assert_eq!(world.census().resent, 0, "none was in doubt");
        let seen = world.seen.lock().unwrap();
        assert!(seen.calls < 60, "{}", seen.calls);
        assert!(seen.sizes[5..7].iter().all(|size| *size == 1), "probes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_tried_at_once() {
    let world = World::new();
    world.enqueue_plain(10).await;
    let good = Arc::new(AtomicBool::new(false));
    let now_good = good.clone();
    let handle = world.run(&options(), move |call| {
        if now_good.load(Ordering::SeqCst) {
            call.ok()
        } else {
            Answer::refuse(401, "no")
        }
    });
    tokio::time::sleep(3600 * SECOND).await;
    assert!(world.calls() > 60, "it is probed about every minute");
    good.store(true, Ordering::SeqCst);
    handle.token_changed();
    world.settled(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_429_waits_as_long_as_it_says_and_costs_no_attempt() {
    let world = World::new();
    world.enqueue_plain(3000).await;
    let _handle = world.run(&options(), |call| {
        if call.at < 5 * SECOND {
            let mut answer = Answer::refuse(429, "slow down");
            answer.signals.reset = Some(30 * SECOND);
            answer
        } else {
            call.ok()
        }
    });
    world.settled(40 * SECOND).await;
    let seen = world.seen.lock().unwrap();
    assert!(seen.at[3..].iter().all(|at| *at >= 30 * SECOND));
    drop(seen);
    assert_eq!(world.census().resent, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_headers_leave_is_not_exceeded() {
    let world = World::new();
    world.enqueue_plain(30_000).await;
    let _handle = world.run(&options(), |call| {
        let mut answer = call.ok();
        answer.signals = Signals {
            remaining: Some(0),
            reset: Some(100 * SECOND),
            ..Signals::default()
        };
        answer
    });
    tokio::time::sleep(90 * SECOND).await;
    assert!(
        world.calls() <= 6,
        "{} calls: the first burst alone",
        world.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_backed_off_and_everything_resent_as_it_was() {
    let world = World::new();
    world.enqueue_plain(40_000).await;
    let handle = world.run(&options(), |call| {
        if call.at < 600 * SECOND {
            Answer::refuse(503, "later").after(SECOND)
        } else {
            call.ok()
        }
    });
    tokio::time::sleep(500 * SECOND).await;
    let status = handle.status().await;
    assert_eq!(status.gate.state, GateState::Shut);
    assert!(world.calls() < 60, "{} calls", world.calls());
    world.settled(320 * SECOND).await;
    assert_eq!(world.census().delivered, 40_000);
    let seen = world.seen.lock().unwrap();
    let first: Vec<_> = seen.bodies[..20].to_vec();
    for body in first {
        let times = seen.bodies.iter().filter(|b| **b == body).count();
        assert!(times >= 2, "each was resent as the same request");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_nothing_is_in_doubt() {
    let world = World::new();
    world.enqueue_plain(5000).await;
    let _handle = world.run(&options(), |call| {
        if call.at < 30 * SECOND {
            Answer::no_connection()
        } else {
            call.ok()
        }
    });
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(world.census().in_doubt + world.census().sending, 0);
    assert!(world.calls() < 60, "{} calls", world.calls());
    world.settled(60 * SECOND).await;
    assert_eq!(world.census().resent, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_always_fails_is_set_apart_and_blocks_nobody() {
    let world = World::new();
    world.enqueue_plain(5000).await;
    let healed = Arc::new(AtomicBool::new(false));
    let well = healed.clone();
    let handle = world.run(&options(), move |call| {
        if call.has("m777") && !well.load(Ordering::SeqCst) {
            Answer::lost(false).after(SECOND)
        } else {
            call.ok()
        }
    });
    // A trickle beside it shows that others succeed.
    for n in 5001..=5600 {
        tokio::time::sleep(SECOND / 2).await;
        let event = json!({"event": "search"});
        world.enqueue([(format!("m{n}"), event)]).await;
    }
    world
        .until(300 * SECOND, |census| census.delivered == 5599)
        .await;
    let status = handle.status().await;
    assert_eq!(status.deferred, 1);
    assert_eq!(status.gate.state, GateState::Open);
    assert_eq!(world.census().dead_total(), 0);
    healed.store(true, Ordering::SeqCst);
    world.settled(301 * SECOND).await;
    assert_eq!(world.census().delivered, 5600);
}

/// The last of a backlog, and one of them makes the receiver hang: the whole batch was sent eight
/// times, a time-out each, then its halves twice each, and so its last neighbours waited for a
/// quarter of an hour, with something else being delivered or not.
#[tokio::test(start_paused = true)]
async fn an_event_that_hangs_the_receiver_holds_its_neighbours_for_three_time_outs() {
    for (events, beside) in [
        (1000, false),
        (1000, true),
        (37, false),
        (2, true),
        (2, false),
    ] {
        let world = World::new();
        world.enqueue_plain(events).await;
        let options = options();
        let time_out = options.request_timeout;
        let handle = world.run(&options, move |call| {
            if call.has("m2") {
                Answer::lost(false).after(time_out)
            } else {
                call.ok()
            }
        });
        let mut trickle = 0;
        while beside && trickle < 2 * (3 * time_out.as_secs()) {
            tokio::time::sleep(SECOND / 2).await;
            trickle += 1;
            let event = json!({"event": "search"});
            world.enqueue([(format!("t{trickle}"), event)]).await;
        }
        let others = events as u64 - 1 + trickle;
        let is_over = |census: &Census| census.delivered == others;
        world.until(3 * time_out + 5 * SECOND, is_over).await;
        let spent = world.started.elapsed();
        assert!(
            spent < 3 * time_out + 5 * SECOND,
            "{events}, {beside}: {spent:?}"
        );
        // The one to blame is told apart by the next time-out, and holds up nothing.
        tokio::time::sleep(2 * time_out).await;
        let status = handle.status().await;
        assert_eq!(status.gate.state, GateState::Open, "{events}, {beside}");
        assert_eq!(world.census().dead_total(), 0);
        assert_eq!(status.deferred, 1, "{events}, {beside}");
        let calls = world.calls() as u64 - trickle;
        assert!(calls < 80, "{events}, {beside}: {calls} calls");
    }
}

/// Where nothing else was sent that could have shown that the destination is well, a batch with
/// one event that always fails was sent as a whole for ever, until all of it expired.
#[tokio::test(start_paused = true)]
async fn an_event_that_always_fails_is_told_apart_without_any_other_traffic() {
    let world = World::new();
    world.enqueue_plain(1000).await;
    let _handle = world.run(&options(), |call| {
        if call.has("m777") {
            Answer::text(500, "oops")
        } else {
            call.ok()
        }
    });
    let hour = Duration::from_secs(3600);
    world.until(hour, |census| census.delivered == 999).await;
    assert!(world.calls() < 150, "{} calls", world.calls());
    assert_eq!(world.census().dead_total(), 0);
}

/// Events that were deferred do not shut the gate. Where nothing else was left to be sent, an
/// outage saw each of them by itself, as fast as a quarter of the slots allowed.
#[tokio::test(start_paused = true)]
async fn many_that_were_set_apart_do_not_hammer_either() {
    let world = World::new();
    let events = (0..300).map(|n| (format!("p{n}"), json!({"event": "poison"})));
    world.enqueue(events).await;
    let mut options = options();
    options.limits.backoff_max = 5 * SECOND;
    let calm = 3600 * SECOND;
    let _handle = world.run(&options, move |call| {
        let poison = call.events.iter().any(|e| e["event_name"] == "poison");
        if poison || call.at > calm {
            Answer::text(500, "oops")
        } else {
            call.ok()
        }
    });
    for n in 0..3600 {
        tokio::time::sleep(SECOND).await;
        let event = json!({"event": "search"});
        world.enqueue([(format!("m{n}"), event)]).await;
    }
    tokio::time::sleep(60 * SECOND).await;
    let before = world.calls();
    tokio::time::sleep(600 * SECOND).await;
    let calls = world.calls() - before;
    // The longest interval is 5 s, half of that on average.
    assert!((60..500).contains(&calls), "{calls} calls in ten minutes");
    assert_eq!(world.census().dead_total(), 0);
}

/// Where it is nobody's fault, in a long outage, the cuts stay few.
#[tokio::test(start_paused = true)]
async fn a_day_without_an_answer_leaves_batches_that_are_worth_sending() {
    let world = World::new();
    world.enqueue_plain(4000).await;
    let mut options = options();
    options.limits.max_batch_events = 100;
    let day = Duration::from_secs(86_400);
    let _handle = world.run(&options, move |call| {
        if call.at < day {
            Answer::lost(false).after(30 * SECOND)
        } else {
            call.ok()
        }
    });
    tokio::time::sleep(day).await;
    let before = world.calls();
    assert!(before < 1500, "{before} calls in the outage");
    world.settled(600 * SECOND).await;
    assert_eq!(world.census().delivered, 4000);
    let after = world.calls() - before;
    assert!(after < 200, "{after} requests for 40 batches");
}

#[tokio::test(start_paused = true)]
async fn requests_that_hang_leave_slots_to_the_others() {
    let world = World::new();
    let events = (0..40).map(|n| (format!("p{n}"), json!({"event": "poison"})));
    world.enqueue(events).await;
    let mut options = options();
    options.limits.max_in_flight = 4;
    options.limits.max_batch_events = 10;
    let poison = |call: &Call| call.events.iter().any(|e| e["event_name"] == "poison");
    let _handle = world.run(&options, move |call| {
        if poison(call) {
            Answer::lost(false).after(30 * SECOND)
        } else {
            call.ok()
        }
    });
    for n in 0..3000 {
        tokio::time::sleep(SECOND).await;
        let event = json!({"event": "search"});
        world.enqueue([(format!("m{n}"), event)]).await;
    }
    world
        .until(60 * SECOND, |census| census.delivered == 3000)
        .await;
    assert_eq!(world.census().dead_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn events_expire_while_parked_unless_the_wall_is_not_believed() {
    let world = World::new();
    world.enqueue_plain(100).await;
    let mut options = options();
    options.limits.max_age = Duration::from_secs(3600);
    let _handle = world.run(&options, |_| Answer::refuse(401, "no"));
    tokio::time::sleep(3200 * SECOND).await;
    assert_eq!(world.census().dead_total(), 0);
    world.clock.set_wall(world.clock.now() + 86_400_000);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(world.census().dead_total(), 0, "the wall leapt");
    world.trust.observe_date(world.clock.now());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Expired), 100);
}

#[tokio::test(start_paused = true)]
async fn an_old_event_is_never_sent() {
    let world = World::new();
    let old = world.clock.now() / 1000 - 7 * 86_400 + 299;
    let event = json!({"event": "search", "time": old});
    world.enqueue([("old".into(), event)]).await;
    world.enqueue_plain(1).await;
    let _handle = world.run(&options(), Call::ok);
    world.settled(5 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Expired), 1);
    assert_eq!(world.seen.lock().unwrap().sizes, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_date_of_pinterests_is_heard() {
    let world = World::new();
    world.enqueue_plain(1).await;
    world.clock.set_wall(world.clock.now() + 86_400_000);
    assert!(!world.trust.believed());
    let wall = world.clock.now();
    let _handle = world.run(&options(), move |call| {
        let mut answer = call.ok();
        answer.signals.date = Some(wall);
        answer
    });
    world.settled(5 * SECOND).await;
    assert!(world.trust.believed());
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_what_is_in_doubt_goes_out_under_its_first_name() {
    let world = World::new();
    world.enqueue_plain(3).await;
    let first = world.run(&options(), |_| Answer::lost(true));
    tokio::time::sleep(SECOND).await;
    drop(first);
    tokio::time::sleep(SECOND).await;
    world.engine.reopen();
    world
        .enqueue([("new".into(), json!({"event": "lead"}))])
        .await;
    let renamed = prepare("_renamed");
    let _second = world.run_as(&options(), renamed, 2, Call::ok);
    world.settled(10 * SECOND).await;
    let seen = world.seen.lock().unwrap();
    for id in ["m1", "m2", "m3"] {
        assert!(seen.taken[&(id.to_owned(), "page_visit".to_owned())] >= 2);
    }
    assert_eq!(
        seen.taken[&("new".to_owned(), "lead_renamed".to_owned())],
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_renames_what_has_not_left_but_nothing_that_is_in_doubt() {
    let world = World::new();
    world.enqueue_plain(2000).await;
    let mut options = options();
    options.limits.max_in_flight = 1;
    let handle = world.run(&options, |call| match call.number {
        1 => Answer::lost(false).after(SECOND),
        _ => call.ok(),
    });
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(world.calls(), 1, "the other thousand wait for the slot");
    handle.reload(prepare("_new"), options.limits.clone());
    world.settled(60 * SECOND).await;
    let seen = world.seen.lock().unwrap();
    let named = |name: &str| seen.taken.keys().filter(|(_, n)| n == name).count();
    assert_eq!(named("page_visit"), 1000);
    assert_eq!(named("page_visit_new"), 1000);
}

#[tokio::test(start_paused = true)]
async fn late_events_go_and_are_counted() {
    let world = World::new();
    let late = world.clock.now() / 1000 - 3601;
    let event = |time| json!({"event": "search", "time": time});
    world.enqueue([("late".into(), event(late))]).await;
    world.enqueue([("young".into(), event(late + 60))]).await;
    let handle = world.run(&options(), Call::ok);
    world.settled(5 * SECOND).await;
    let status = handle.status().await;
    assert_eq!((status.delivered, status.late), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn late_events_die_where_they_are_to_as_they_would_leave() {
    let world = World::new();
    let mut options = options();
    options.limits.on_late = OnLate::DeadLetter;
    world.enqueue_plain(100).await;
    // Unavailable for an hour, but for one moment; then well.
    let open = |at: Duration| at > 4000 * SECOND;
    let handle = world.run(&options, move |call| match open(call.at) {
        true => call.ok(),
        false => Answer::refuse(503, "no"),
    });
    tokio::time::sleep(3000 * SECOND).await;
    world
        .enqueue([("young".into(), json!({"event": "search"}))])
        .await;
    assert_eq!(world.census().dead_total(), 0);
    world.settled(2000 * SECOND).await;
    assert_eq!(world.dead(DeadReason::Late), 100);
    assert_eq!(handle.status().await.delivered, 1);
    world.check();
}
