//! Errors of the disk, injected into system calls: after a sync that failed nothing more is
//! acknowledged, the process ends with 74, and what it acknowledged is there at the next start.
//! Whatever call fails: no acknowledged event is lost, and nothing hangs.
//!
//! `PINRELAY_IO_ERRORS` sets how many places of each call are tried (4).

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Client, Process, Sample, Site, StandIn, s, samples};

/// Lines that are under way at once.
const WINDOW: usize = 5;
const EVENTS: usize = 400;

fn places() -> usize {
    std::env::var("PINRELAY_IO_ERRORS").map_or(4, |n| n.parse().expect("PINRELAY_IO_ERRORS"))
}

fn can_inject() -> bool {
    let traced = Command::new("strace")
        .args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync:error=EIO:when=900",
            "true",
        ])
        .output();
    let can = traced.is_ok_and(|out| out.status.success());
    if !can {
        println!("skipped: there is no strace here, or it may not trace");
    }
    can
}

/// Sends until the end of the events or of the connection; those that were acknowledged.
fn pour(site: &Site, series: &str) -> Vec<Sample> {
    let mut acked = Vec::new();
    let Ok(mut client) = Client::try_connect(&site.socket()) else {
        return acked;
    };
    let all = samples(series, 0..EVENTS);
    for samples in all.chunks(WINDOW) {
        let text: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
        let _ = client.write(text.as_bytes());
        for sample in samples {
            match client.answer() {
                Ok(answer) if answer.status() == "queued" => acked.push(sample.clone()),
                Ok(answer) => assert_eq!(answer.status(), "unavailable", "{answer:?}"),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("it hangs"),
                Err(_) => return acked,
            }
        }
    }
    acked
}

/// How a run under an injected error went.
struct Run {
    acked: Vec<Sample>,
    /// `None`: the error was never met, or did not end it.
    code: Option<i32>,
    log: String,
    trace: String,
}

/// Runs the daemon with the fault in place, and sends while it takes events.
fn run(site: &Site, calls: &str, fault: &str, series: &str) -> Run {
    let trace = site.path("trace");
    let _ = fs::remove_file(&trace);
    let out = trace.display().to_string();
    let (calls, fault) = (format!("trace={calls}"), format!("inject={fault}"));
    // -D: the daemon is the child, so that its end and its code are seen.
    let args = [
        "-D", "-f", "-y", "-s", "40", "-o", &out, "-e", &calls, "-e", &fault,
    ];
    let mut process = Process::start(&mut site.run_under("strace", &args));
    let begun = Instant::now();
    // It may end before it takes anything.
    while process.running() && Client::try_connect(&site.socket()).is_err() {
        assert!(
            begun.elapsed() < s(60),
            "{fault}: it hangs\n{}",
            process.output()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let acked = pour(site, series);
    let begun = Instant::now();
    // What was met ends it within moments; what was not met leaves it running.
    let stopped = acked.len() == EVENTS;
    while process.running() && begun.elapsed() < s(if stopped { 1 } else { 15 }) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        stopped || !process.running(),
        "{fault}: it takes nothing more and does not end\n{}",
        process.output()
    );
    let (code, log) = match process.running() {
        true => {
            process.kill();
            (None, process.output())
        }
        false => {
            let ended = process.ended(s(1));
            (ended.code, ended.output)
        }
    };
    assert!(!log.contains("a bug"), "{fault}: {log}");
    let trace = fs::read_to_string(&trace).unwrap_or_default();
    Run {
        acked,
        code,
        log,
        trace,
    }
}

/// After a restart everything that was acknowledged arrives, once as far as that is known.
fn all_arrives(site: &Site, stand_in: &StandIn, acked: &[Sample], fault: &str) {
    let daemon = site.start();
    let status = daemon.shows(s(60), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let ledger = &status["ledger"];
    assert_eq!(ledger["ledger_imbalance"], 0, "{fault}: {status:#}");
    assert_eq!(ledger["set_aside"], 0, "{fault}: {status:#}");
    let seen: HashMap<_, _> = (stand_in.events().into_iter())
        .map(|e| (e.event_id.to_string(), e.count))
        .collect();
    for sample in acked {
        assert!(
            seen.get(&sample.id).is_some_and(|n| *n > 0),
            "{fault}: {} is lost",
            sample.id
        );
    }
    let resent = ledger["resent"].as_u64().expect("a count");
    assert!(
        stand_in.totals().duplicates <= resent,
        "{fault}: {status:#}"
    );
    // What was acknowledged is remembered, too.
    if let Some(last) = acked.last() {
        let mut client = Client::connect(&site.socket());
        assert_eq!(client.ask(&last.line).status(), "duplicate", "{fault}");
    }
    assert_eq!(daemon.stop(s(30)).code, Some(0), "{fault}");
}

/// The line on which the first injected error was returned.
fn injected(trace: &str) -> Option<usize> {
    trace.lines().position(|line| line.contains("(INJECTED)"))
}

/// How many answers `queued` were written to lines that were read after line `failed`.
fn acknowledged_after(trace: &str, failed: usize) -> usize {
    let mut read_after = HashMap::new();
    let mut count = 0;
    for (at, line) in trace.lines().enumerate() {
        let descriptor = line
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once('>'));
        let Some((descriptor, _)) = descriptor else {
            continue;
        };
        if !descriptor.contains("<socket:") {
            continue;
        }
        if line.contains("messageId") && (line.contains(" recvfrom(") || line.contains(" read(")) {
            read_after.insert(descriptor, at > failed);
        }
        if line.contains(r#""{\"status\":\"queued"#) && read_after.get(descriptor) == Some(&true) {
            count += 1;
        }
    }
    count
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_all_that_was_is_kept() {
    if !can_inject() {
        return;
    }
    let mut met = 0;
    for call in ["fdatasync", "fsync"] {
        for place in 0..places() {
            let stand_in = StandIn::start();
            let site = Site::new(&stand_in).set("queue", "generation_events", "100");
            // Each thread counts its own calls. Once only: all later ones would succeed.
            let when = 1 + 3 * place;
            let fault = format!("{call}:error=EIO:when={when}");
            let calls = "fsync,fdatasync,sendto,write,recvfrom,read";
            let run = run(&site, calls, &fault, &format!("{call}{place}"));
            if let Some(failed) = injected(&run.trace) {
                met += 1;
                assert_eq!(run.code, Some(74), "{fault}: {}", run.log);
                let said = run.log.contains("queue") && run.log.contains("Input/output error");
                let said = said || run.log.contains("an earlier sync failed");
                assert!(said, "{fault}: {}", run.log);
                assert_eq!(acknowledged_after(&run.trace, failed), 0, "{fault}");
            }
            println!(
                "{fault}: {} acknowledged, exit {:?}",
                run.acked.len(),
                run.code
            );
            all_arrives(&site, &stand_in, &run.acked, &fault);
        }
    }
    assert!(met >= places(), "only {met} errors were met");
}

/// Writes, opens, renames and the like: refused once, or for good from some moment on.
#[test]
fn whatever_call_fails_nothing_acknowledged_is_lost() {
    if !can_inject() {
        return;
    }
    let faults = [
        ("pwrite64", "ENOSPC", ""),
        ("pwrite64", "EIO", ""),
        ("pwrite64", "ENOSPC", "+"),
        ("openat", "ENOSPC", "+"),
        ("openat", "EMFILE", ""),
        ("rename", "EIO", ""),
        ("ftruncate", "EIO", ""),
        ("mkdir", "ENOSPC", ""),
        ("unlink,unlinkat,rmdir", "EIO", ""),
    ];
    for (number, (call, error, on)) in faults.iter().enumerate() {
        for place in 0..places().div_ceil(2) {
            let stand_in = StandIn::start();
            let site = Site::new(&stand_in).set("queue", "generation_events", "100");
            // Its first opens are those of its libraries.
            let first = if *call == "openat" { 25 } else { 1 };
            let fault = format!(
                "{call}:error={error}:when={}{on}",
                first + place * (place + 9)
            );
            let run = run(&site, call, &fault, &format!("f{number}p{place}"));
            println!(
                "{fault}: {} acknowledged, exit {:?}",
                run.acked.len(),
                run.code
            );
            all_arrives(&site, &stand_in, &run.acked, &fault);
        }
    }
}

#[test]
fn the_reader_of_traces_can_say_no() {
    let failed = "8 fdatasync(12</t/queue/gen/1/db>) = -1 EIO (Input/output error) (INJECTED)";
    let read =
        r#"7 recvfrom(14<socket:[1]>, "{\"anonymousId\":\"a\",\"messageId\""..., 131072) = 9"#;
    let answer = r#"7 sendto(14<socket:[1]>, "{\"status\":\"queued\",\"mess"..., 90) = 90"#;
    let count = |lines: &[&str]| {
        let trace = lines.join("\n");
        acknowledged_after(&trace, injected(&trace).expect("a failure"))
    };
    assert_eq!(count(&[failed, read, answer]), 1);
    assert_eq!(count(&[read, failed, answer]), 0);
    assert_eq!(count(&[read, answer, failed]), 0);
}
