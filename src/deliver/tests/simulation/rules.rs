//! The gate never hammers: read off the log of a run when it is over.
//!
//! * *Limited*: after a 429 that asks for a second or more, nothing leaves until it is over.
//! * *Parked*: after a 401, 403 or 404 one event at a time leaves as long as that is the answer;
//!   one request at a time until an answer is sound.
//! * *Any trouble*: a minute without a sound answer sees at most what was in flight and so many
//!   probes.
//!
//! A word of the operator's, a reload or a new process begins anew. An answer counts only if
//! nothing else was heard since its request left: the gate ignores what is older than its last
//! change, as it should. A request leaves when its mark is laid, up to `late` after the gate let it
//! pass: what was heard meanwhile came too late for it.

use std::collections::HashSet;
use std::time::Duration;

use super::super::world::{Exchange, Heard, SECOND, Seen};

/// Probes in a minute without a sound answer, where the intervals may grow beyond a second; they
/// double, each jittered down to nothing at best, for each of two kinds of trouble.
const PROBES: usize = 60;

/// Where `delivery.backoff_max` keeps them at a second, half of it on average, a minute has that
/// many by right.
fn probes(backoff_max: Duration) -> usize {
    match backoff_max > SECOND {
        true => PROBES,
        false => 2 * PROBES,
    }
}

pub fn the_gate_never_hammers(
    seen: &Seen,
    pokes: &[Duration],
    (max_in_flight, backoff_max): (usize, Duration),
    late: Duration,
) {
    for (i, exchange) in seen.log.iter().enumerate() {
        let Some((back, heard)) = exchange.back else {
            continue;
        };
        // As early as the gate may have let it pass.
        let passed = exchange.at.saturating_sub(late);
        let until = next(pokes.iter().copied(), passed);
        let alone =
            until > back && !answers(&seen.log, i).any(|(at, _)| at >= passed && at <= back);
        if !alone {
            continue;
        }
        match heard {
            Heard::Limited(Some(wait)) if wait >= SECOND => {
                let over = until.min(back + wait.min(3600 * SECOND));
                let hasty = seen.at.iter().find(|at| **at > back + late && **at < over);
                assert_eq!(
                    hasty, None,
                    "sent after a 429 at {back:?} that asked for {wait:?}"
                );
            }
            Heard::Auth => parked(&seen.log[i + 1..], back, until, late),
            _ => {}
        }
    }
    let mut quiet: Vec<Duration> = answers(&seen.log, usize::MAX)
        .filter(|(_, heard)| *heard == Heard::Sound)
        .map(|(at, _)| at)
        .chain(pokes.iter().copied())
        .collect();
    quiet.sort_unstable();
    let mut minute = std::collections::VecDeque::new();
    for at in &seen.at {
        minute.push_back(*at);
        let good = quiet[..quiet.partition_point(|q| q <= at)].last();
        let since = good.copied().unwrap_or_default();
        while minute
            .front()
            .is_some_and(|first| *first + 60 * SECOND < *at || *first < since)
        {
            minute.pop_front();
        }
        let calls = minute.len();
        assert!(
            calls <= max_in_flight + probes(backoff_max),
            "{calls} calls within a minute before {at:?}"
        );
    }
}

/// Since when attempts fail, with nothing answered and nothing begun anew since, if they are those
/// of several batches that hold more than poison: what a poisoned one fails of is its own.
pub fn unanswered_since(seen: &Seen, pokes: &[Duration]) -> Option<Duration> {
    let sound = answers(&seen.log, usize::MAX).filter(|(_, heard)| *heard == Heard::Sound);
    let anew = sound.map(|(at, _)| at).chain(pokes.iter().copied()).max();
    let anew = anew.unwrap_or_default();
    let since = seen.log.iter().filter(|exchange| exchange.at > anew);
    let failed: Vec<_> = since.filter(|exchange| exchange.back.is_some()).collect();
    let bodies: HashSet<_> = failed.iter().map(|exchange| &exchange.body).collect();
    let poisoned = |body: &[u8]| memchr::memmem::find(body, br#""event_id":"p"#).is_some();
    let is_of_all = bodies.len() >= 3 && bodies.iter().any(|body| !poisoned(body));
    let first = failed
        .iter()
        .filter_map(|exchange| exchange.back)
        .min_by_key(|back| back.0);
    first.filter(|_| is_of_all).map(|(at, _)| at)
}

/// What leaves after `since`, until an answer is sound or something else begins anew.
fn parked(later: &[Exchange], since: Duration, until: Duration, late: Duration) {
    let mut free = since;
    let mut lone = true;
    for exchange in later.iter().filter(|exchange| exchange.at > since) {
        let heard_before = answers(later, usize::MAX)
            .any(|(at, heard)| at <= exchange.at && heard == Heard::Sound);
        if exchange.at >= until || heard_before {
            return;
        }
        let may_be_late = exchange.at <= since + late;
        assert!(
            may_be_late || exchange.at >= free,
            "two at a time at {:?} before a parked gate",
            exchange.at
        );
        assert!(
            may_be_late || !lone || exchange.events == 1,
            "{} events as a probe",
            exchange.events
        );
        let Some((back, heard)) = exchange.back else {
            return;
        };
        if may_be_late {
            lone &= heard == Heard::Auth;
            continue;
        }
        free = back;
        lone = heard == Heard::Auth;
    }
}

/// When each answer came, but for one.
fn answers(log: &[Exchange], but: usize) -> impl Iterator<Item = (Duration, Heard)> {
    let others = log.iter().enumerate().filter(move |(i, _)| *i != but);
    others.filter_map(|(_, exchange)| exchange.back)
}

fn next(times: impl Iterator<Item = Duration>, after: Duration) -> Duration {
    times
        .filter(|at| *at >= after)
        .min()
        .unwrap_or(Duration::MAX)
}
