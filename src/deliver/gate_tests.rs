//! The gate's moves, one by one.

use super::super::fixture;
use super::super::pinterest::PINTEREST;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn gate() -> Gate {
    Gate::new(&PINTEREST, SECOND, 300 * SECOND)
}

#[test]
fn one_failing_batch_shuts_nothing_two_do_and_the_rest_add_nothing() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
    let tickets: Vec<Ticket> = (0..20).map(|_| gate.depart()).collect();
    gate.trouble(now, tickets[0], Some(1), "503", Duration::ZERO, &mut rng);
    gate.trouble(now, tickets[1], Some(1), "503", Duration::ZERO, &mut rng);
    assert_eq!(gate.pass(now), Pass::UpTo(usize::MAX));
    gate.trouble(now, tickets[2], Some(2), "503", Duration::ZERO, &mut rng);
    let first = gate.view().unwrap().next_probe;
    assert!(first <= now + SECOND);
    for (id, ticket) in tickets.iter().enumerate().skip(3) {
        gate.trouble(
            now,
            *ticket,
            Some(id as u64),
            "503",
            Duration::ZERO,
            &mut rng,
        );
    }
    assert_eq!(gate.view().unwrap().next_probe, first);
    assert_eq!(gate.pass(first), Pass::ProbeBatch);
}

#[test]
fn a_sound_answer_between_clears_the_suspicion() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
    for batch in 0..50 {
        let ticket = gate.depart();
        gate.trouble(now, ticket, Some(batch), "503", Duration::ZERO, &mut rng);
        let ticket = gate.depart();
        gate.on_judged(now, ticket);
    }
    assert!(gate.view().is_none());
}

#[test]
fn probes_go_one_at_a_time_at_growing_intervals_and_the_opening_is_gentle() {
    let (mut gate, mut now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
    for batch in 1..=2 {
        let ticket = gate.depart();
        gate.trouble(
            now,
            ticket,
            Some(batch),
            "time-out",
            Duration::ZERO,
            &mut rng,
        );
    }
    let mut longest = Duration::ZERO;
    for level in 1..=12u32 {
        now = gate.wake().unwrap();
        assert_eq!(gate.pass(now), Pass::ProbeBatch);
        let ticket = gate.depart();
        assert_eq!(
            gate.pass(now + 1000 * SECOND),
            Pass::None,
            "one is on its way"
        );
        gate.trouble(now, ticket, Some(1), "time-out", Duration::ZERO, &mut rng);
        let wait = gate.wake().unwrap() - now;
        assert!(wait <= SECOND * 2u32.pow(level).min(300));
        longest = longest.max(wait);
    }
    assert!(
        longest > 60 * SECOND,
        "it grows beyond a minute: {longest:?}"
    );
    now = gate.wake().unwrap();
    let ticket = gate.depart();
    assert!(gate.on_judged(now, ticket));
    assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START));
    let ticket = gate.depart();
    gate.on_judged(now, ticket);
    assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START + 1));
}

#[test]
fn an_answer_to_what_left_before_the_trouble_opens_nothing_and_any_later_one_does() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
    let (early, blamed, late) = (gate.depart(), gate.depart(), gate.depart());
    gate.park(now, blamed, Reason::Auth, "401", &mut rng);
    assert!(!gate.on_judged(now, early));
    assert_eq!(gate.view().unwrap().reason, Reason::Auth);
    // Whoever asked: what the gate went through meanwhile is no matter.
    gate.retry_now(now, false);
    gate.retry_now(now, false);
    assert!(gate.on_judged(now, late));
    assert!(gate.view().is_none());
}

#[test]
fn a_wait_that_was_asked_for_is_waited_for_whatever_else_is_answered() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
    let tickets: Vec<Ticket> = (0..9).map(|_| gate.depart()).collect();
    gate.limited(now, tickets[0], Some(60 * SECOND), &mut rng);
    for ticket in &tickets[1..] {
        assert!(!gate.on_judged(now + 59 * SECOND, *ticket));
    }
    assert_eq!(gate.pass(now + 59 * SECOND), Pass::None);
    gate.retry_now(now, false);
    assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START), "another token's");
}

#[test]
fn failures_of_one_batch_are_shown_and_told_and_shut_nothing() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
    for at in 0..5 {
        let ticket = gate.depart();
        let at = now + at * SECOND;
        gate.trouble(at, ticket, Some(1), "503", Duration::ZERO, &mut rng);
        assert_eq!(gate.failing().unwrap().since, now, "the first");
        assert_eq!(gate.pass(at), Pass::UpTo(usize::MAX));
    }
    assert!(gate.failing().unwrap().is_told());
    let ticket = gate.depart();
    gate.trouble(
        now + 9 * SECOND,
        ticket,
        Some(2),
        "503",
        Duration::ZERO,
        &mut rng,
    );
    assert_eq!(gate.view().unwrap().since, now, "since the first, too");
    let ticket = gate.depart();
    assert!(gate.on_judged(now + 20 * SECOND, ticket));
    assert!(gate.failing().is_none());
}

#[test]
fn faults_of_their_own_are_an_outage_only_of_several_with_nothing_answered() {
    let (mut gate, now) = (gate(), Instant::now());
    for batch in [1, 1, 1, 2, 1, 2] {
        gate.own_fault(now, batch, "500");
        assert!(gate.failing().is_none());
    }
    let ticket = gate.depart();
    gate.on_judged(now, ticket);
    for batch in [1, 2] {
        gate.own_fault(now, batch, "500");
    }
    assert!(gate.failing().is_none());
    gate.own_fault(now, 3, "500");
    assert!(gate.failing().unwrap().is_told());
    assert_eq!(gate.pass(now), Pass::UpTo(usize::MAX));
}

#[test]
fn silence_alone_shuts_nothing_and_neither_does_the_time_out_of_the_one_that_hung() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(1));
    let ticket = gate.depart();
    gate.silence(now + 15 * SECOND, now, "no answer for 15 s");
    let failing = gate.failing().unwrap();
    assert!(failing.is_told() && failing.since == now);
    gate.trouble(
        now + 30 * SECOND,
        ticket,
        Some(1),
        "time-out",
        Duration::ZERO,
        &mut rng,
    );
    assert!(gate.view().is_none());
    assert_eq!(gate.failing().unwrap().message, "time-out");
    gate.idle(now + 31 * SECOND);
    assert!(gate.failing().is_none(), "nothing waits any more");
}

#[test]
fn a_parked_credential_is_probed_within_a_minute_and_at_once_when_it_changes() {
    let (mut gate, mut now, mut rng) = (gate(), Instant::now(), fixture::rng(3));
    let ticket = gate.depart();
    gate.park(now, ticket, Reason::Auth, "401", &mut rng);
    for _ in 0..20 {
        let next = gate.wake().unwrap();
        assert!(next <= now + PARKED_MAX);
        now = next;
        assert_eq!(gate.pass(now), Pass::ProbeEvent);
        let ticket = gate.depart();
        gate.park(now, ticket, Reason::Auth, "401", &mut rng);
    }
    gate.retry_now(now, false);
    assert_eq!(gate.pass(now), Pass::ProbeEvent);
}

#[test]
fn a_429_waits_at_least_as_long_as_it_asks() {
    for seed in 0..50 {
        let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(seed));
        let ticket = gate.depart();
        gate.limited(now, ticket, Some(10 * SECOND), &mut rng);
        let wake = gate.wake().unwrap();
        assert!(wake >= now + 10 * SECOND && wake <= now + 11 * SECOND);
    }
}

#[test]
fn refused_all_ends_with_a_processed_event_and_not_with_an_answer() {
    let (mut gate, now) = (gate(), Instant::now());
    gate.refuse_all(now, "no");
    assert_eq!(gate.pass(now + 59 * SECOND), Pass::None);
    let now = now + 60 * SECOND;
    assert_eq!(gate.pass(now), Pass::ProbeEvent);
    let ticket = gate.depart();
    assert!(!gate.on_judged(now, ticket));
    assert_eq!(gate.wake(), Some(now + 60 * SECOND));
    gate.retry_now(now, false);
    assert_eq!(gate.pass(now), Pass::ProbeEvent);
    let ticket = gate.depart();
    gate.on_judged(now, ticket);
    assert!(gate.processed(now));
    assert_eq!(gate.pass(now), Pass::UpTo(RAMP_START));
}

#[test]
fn a_dead_destination_under_refused_all_is_probed_with_one_event_too() {
    let (mut gate, now, mut rng) = (gate(), Instant::now(), fixture::rng(5));
    gate.refuse_all(now, "no");
    let ticket = gate.depart();
    gate.trouble(now, ticket, Some(1), "503", Duration::ZERO, &mut rng);
    assert_eq!(gate.view().unwrap().reason, Reason::Unavailable);
    let now = gate.wake().unwrap();
    assert_eq!(gate.pass(now), Pass::ProbeEvent);
    let ticket = gate.depart();
    gate.on_judged(now, ticket);
    assert!(gate.refuses_all());
}

#[test]
fn a_429_that_asks_for_no_time_at_all_is_not_hammered() {
    let (mut gate, mut now, mut rng) = (gate(), Instant::now(), fixture::rng(9));
    let start = now;
    for _ in 0..20 {
        let ticket = gate.depart();
        gate.limited(now, ticket, Some(Duration::ZERO), &mut rng);
        now = gate.wake().unwrap();
    }
    assert!(now - start > 300 * SECOND, "{:?}", now - start);
}
