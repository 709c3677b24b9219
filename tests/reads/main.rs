//! A disk that cannot be read for a moment. No read error of a queue's file is taken for absence,
//! and none reaches the engine's recovery: the process ends with exit code 74 before anything is
//! decided by it, or goes on unharmed. The next start, with reads well again, has every
//! acknowledged event, dead letter and messageId; nothing is set aside, the account is not made
//! anew, and nothing lies in quarantine.
//!
//! A queue that has a file of each kind is prepared once, left by a clean stop and by a kill. A
//! dry run over a copy of it, a start and a script of everything that reads, says which calls
//! reach which file how often. Then each of these calls fails, once, in a run of its own over a
//! copy of its own, and a start on that same copy is judged. The same for `pinrelay verify` and
//! `verify --repair`. A second test lets reads fail for random moments instead.
//!
//! `PINRELAY_READS=all` goes through all of it, otherwise a part, chosen the same way each time. A
//! number takes a part of that size, `list` names all trials, and any other text tries those
//! whose name, or line in the table, contains it: `PINRELAY_READS='pread64 gen/<n>/db, run'`.
//! `PINRELAY_READS_WINDOWS` sets how many starts and runs the second test makes (4, or 200 with
//! `all`), and `PINRELAY_READS_SEED` its dice.

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "../daemon/support/mod.rs"]
mod support;

mod calls;
mod judge;
mod prepare;
mod script;
mod trial;
mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use prepare::Left;
use trial::{How, Place, Trial};

/// Trials of the ordinary run.
const PART: usize = 40;
/// Trials side by side.
const WORKERS: usize = 2;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether strace is here and may trace; otherwise the reason is printed.
fn can_inject() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-P", "/nowhere"])
        .args(["-e", "inject=pread64:error=EIO:when=900", "true"])
        .output();
    let can = traced.is_ok_and(|out| out.status.success());
    if !can {
        println!("skipped: there is no strace here, or it may not trace");
    }
    can
}

/// What became of the trials of one line of the table.
#[derive(Default)]
struct Line {
    trials: usize,
    ended: usize,
    unharmed: usize,
    not_met: usize,
    failures: usize,
}

/// Runs them side by side, each with what it says and its place in the list.
fn side_by_side<T: Sync, R: Send>(all: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(at) else { return };
                    let result = run(one);
                    done.lock().expect("no worker panics").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A part of all trials, chosen the same way each time: calls take turns, and within a call the lines of
/// its table, each with a trial from the ends of its list or its middle. Copies that the daemon
/// and `verify` make for themselves come last.
fn part(all: Vec<Trial>, most: usize) -> Vec<Trial> {
    let mut calls: BTreeMap<String, BTreeMap<(bool, String), Vec<Trial>>> = BTreeMap::new();
    for trial in all {
        let own = trial.place.path.contains("quarantine") || trial.place.path.contains(".deleting");
        let lines = calls.entry(trial.place.call.clone()).or_default();
        (lines.entry((own, trial.line())).or_default()).push(trial);
    }
    let mut calls: Vec<_> = calls.into_values().map(mixed).collect();
    let mut chosen = Vec::new();
    while chosen.len() < most && calls.iter().any(|trials| !trials.is_empty()) {
        for trials in &mut calls {
            let turns = if trials.front().is_some_and(is_content) {
                3
            } else {
                1
            };
            chosen.extend(trials.drain(..turns.min(trials.len())));
        }
    }
    chosen.truncate(most);
    chosen
}

/// What these calls read is what an engine takes for a store's content.
fn is_content(trial: &Trial) -> bool {
    trial.place.call == "pread64"
}

/// One trial of each line, then another of each, and so on. Neighbours in the order of names are
/// alike, so that lines are gone through in strides.
fn mixed(lines: BTreeMap<(bool, String), Vec<Trial>>) -> VecDeque<Trial> {
    let (own, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(|((own, _), _)| *own);
    let mut mixed = VecDeque::new();
    for lines in [others, own] {
        let mut lines: Vec<_> = lines.into_iter().map(|(_, trials)| trials).collect();
        let count = lines.len();
        let stride = (count * 5 / 13..).find(|n| *n > 0 && coprime(*n, count));
        let stride = stride.unwrap_or(1);
        for round in 0.. {
            let before = mixed.len();
            for at in 0..count {
                let line = &mut lines[at * stride % count];
                // The first reads of a store are those of its recovery.
                let is_content = line.first().is_some_and(is_content);
                let turn = if is_content { round } else { at + round };
                let which = match turn % 3 {
                    0 => 0,
                    1 => line.len() / 2,
                    _ => line.len().saturating_sub(1),
                };
                if which < line.len() {
                    mixed.push_back(line.remove(which));
                }
            }
            if mixed.len() == before {
                break;
            }
        }
    }
    mixed
}

fn coprime(a: usize, b: usize) -> bool {
    match b {
        0 => a == 1,
        _ => coprime(b, a % b),
    }
}

#[test]
fn a_read_that_fails_once_ends_the_process_or_harms_nothing() {
    if !can_inject() {
        return;
    }
    let mut trials = Vec::new();
    for left in Left::BOTH {
        for how in How::ALL {
            let places = calls::places(left, how);
            trials.extend(places.into_iter().map(|place| Trial { left, how, place }));
        }
    }
    let whole = trials.len();
    if variable("PINRELAY_READS").as_deref() == Some("list") {
        for trial in &trials {
            println!("{}", trial.name());
        }
        return;
    }
    let trials = match variable("PINRELAY_READS").as_deref() {
        Some("all") => trials,
        Some(text) => match text.parse() {
            Ok(most) => part(trials, most),
            Err(_) => (trials.into_iter())
                .filter(|trial| trial.name().contains(text) || trial.line().contains(text))
                .collect(),
        },
        None => part(trials, PART),
    };
    let begun = std::time::Instant::now();
    let results = side_by_side(&trials, |trial| {
        let result = trial.run();
        if let Err(fault) = &result {
            println!("FAILED {}: {fault}", trial.name());
        }
        result
    });
    let mut table: BTreeMap<String, Line> = BTreeMap::new();
    for (trial, result) in trials.iter().zip(&results) {
        let line = table.entry(trial.line()).or_default();
        line.trials += 1;
        match result {
            Ok(trial::End::Ended) => line.ended += 1,
            Ok(trial::End::Unharmed) => line.unharmed += 1,
            Ok(trial::End::NotMet) => line.not_met += 1,
            Err(_) => line.failures += 1,
        }
    }
    print_table(&table);
    let failures = results.iter().filter(|result| result.is_err()).count();
    println!(
        "reads that fail once: {} of {whole} trials in {:?}, {failures} failures",
        trials.len(),
        begun.elapsed()
    );
    assert_eq!(failures, 0, "see above");
}

fn print_table(table: &BTreeMap<String, Line>) {
    println!(
        "{:<62} {:>6} {:>5} {:>8} {:>7} {:>8}",
        "call, kind of file, how", "trials", "74", "unharmed", "not met", "failures"
    );
    for (name, line) in table {
        println!(
            "{name:<62} {:>6} {:>5} {:>8} {:>7} {:>8}",
            line.trials, line.ended, line.unharmed, line.not_met, line.failures
        );
    }
}

#[test]
fn reads_that_fail_for_moments_at_random_end_the_process_or_harm_nothing() {
    if !can_inject() || !windows::can_attach() {
        return;
    }
    let all = variable("PINRELAY_READS").as_deref() == Some("all");
    let runs = variable("PINRELAY_READS_WINDOWS")
        .map_or(if all { 200 } else { 4 }, |n| n.parse().expect("a number"));
    let seed: u64 = variable("PINRELAY_READS_SEED")
        .map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    println!("PINRELAY_READS_SEED={seed}");
    let numbers: Vec<u64> = (0..runs).collect();
    let results = side_by_side(&numbers, |number| {
        let result = windows::run(Left::BOTH[(*number % 2) as usize], seed, *number);
        match &result {
            Ok(sight) => println!("run {number}: {sight}"),
            Err(fault) => println!("FAILED run {number}: {fault}"),
        }
        result
    });
    let met = |sight: &&windows::Sight| sight.failed_reads > 0;
    let count = results.iter().flatten().filter(met).count();
    let ended = (results.iter().flatten())
        .filter(|sight| sight.ended)
        .count();
    let failures = results.iter().filter(|result| result.is_err()).count();
    println!(
        "reads that fail for moments: {runs} starts and runs, {count} of them met a failing read, \
         {ended} ended with 74, {failures} failures"
    );
    assert_eq!(failures, 0, "see above");
}

#[test]
fn a_part_of_the_trials_takes_some_of_every_line() {
    let trial = |call: &str, path: &str, number| Trial {
        left: Left::Clean,
        how: How::Run,
        place: Place {
            call: call.into(),
            path: path.into(),
            number,
        },
    };
    let mut all = Vec::new();
    for call in ["pread64", "read", "openat"] {
        for path in ["queue/high", "queue/gen/0000000001/db"] {
            all.extend((1..=40).map(|number| trial(call, path, number)));
        }
    }
    let some = part(all, 12);
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for trial in &some {
        *lines.entry(trial.line()).or_default() += 1;
    }
    assert_eq!((some.len(), lines.len()), (12, 6), "{lines:?}");
    assert!(lines.values().all(|n| (1..=4).contains(n)), "{lines:?}");
}
