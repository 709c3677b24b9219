//! Space and memory over time: many events through, an outage in the middle, a kill with the
//! backlog on disk, many dead letters. `PINRELAY_SOAK_EVENTS` and `PINRELAY_SOAK_DEAD` say how
//! many (200,000 and 20,000); a quarter of the events waits out the outage.

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the daemon's tests, which use all of it"
)]
#[path = "daemon/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{Daemon, Site, StandIn, s, samples};

const MIB: u64 = 1 << 20;
/// Sent at once over a connection, and the most that waits while Pinterest is well.
const PULSE: u64 = 20_000;
/// The disk a drained queue keeps, apart from the remembered messageIds.
const DRAINED: u64 = 300 * MIB;
const BYTES_PER_ID: u64 = 30;
/// From a start after kill -9 to the first acknowledgement.
const FIRST_ANSWER: Duration = s(3);

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |n| n.parse().expect(name))
}

/// Lines of real events around the place of their messageId.
struct Lines(Vec<(String, String)>);

impl Lines {
    fn new() -> Self {
        let parts = |line: String, id: &str| {
            let (before, after) = line.split_once(id).expect("its messageId");
            (before.to_owned(), after.to_owned())
        };
        let all = samples("soak", 0..500);
        Self(all.into_iter().map(|e| parts(e.line, &e.id)).collect())
    }

    /// Without anything that Pinterest could match a person by.
    fn unmatchable() -> Self {
        let line = |n: u32| {
            let before = "{\"type\":\"track\",\"event\":\"Product Viewed\",\"messageId\":\"";
            let after = format!(
                "\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"properties\":{{\"product_id\":\
                 \"SKU-{n:05}\",\"name\":\"Stoneware mug, speckled, 350 ml\",\"price\":{n}}}}}"
            );
            (before.to_owned(), after)
        };
        Self((0..500).map(line).collect())
    }

    fn text(&self, series: &str, numbers: std::ops::Range<u64>) -> Vec<u8> {
        let mut text = Vec::new();
        for n in numbers {
            let (before, after) = &self.0[n as usize % self.0.len()];
            writeln!(text, "{before}{series}-{n:09}{after}").expect("to memory");
        }
        text
    }
}

/// Sends it all and reads every answer; how many said `queued`.
fn send(socket: &Path, text: &[u8]) -> u64 {
    let stream = UnixStream::connect(socket).expect("a connection");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(text).expect("events are taken");
            stream.shutdown(Shutdown::Write).expect("a half-close");
        });
        let mut answers = Vec::new();
        (&stream).read_to_end(&mut answers).expect("answers");
        let queued = answers.split(|b| *b == b'\n');
        queued
            .filter(|a| a.starts_with(b"{\"status\":\"queued\""))
            .count() as u64
    })
}

/// Bytes on disk below a folder; what vanishes meanwhile counts nothing.
fn usage(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => usage(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

fn resident(daemon: &Daemon<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a number") << 10
}

/// Sends `events` in pulses, so that what waits stays small; the highest memory seen.
fn steady(daemon: &Daemon<'_>, lines: &Lines, events: std::ops::Range<u64>) -> u64 {
    let mut peak = 0;
    for first in events.clone().step_by(PULSE as usize) {
        let numbers = first..(first + PULSE).min(events.end);
        let due = numbers.end - numbers.start;
        assert_eq!(send(&daemon.socket(), &lines.text("soak", numbers)), due);
        daemon.shows(s(120), "a short line", |status| {
            status["queued"].as_u64().expect("a count") < PULSE
        });
        peak = peak.max(resident(daemon));
    }
    peak
}

fn drained(daemon: &Daemon<'_>, limit: Duration) -> serde_json::Value {
    daemon.shows(limit, "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    })
}

#[test]
fn space_comes_back_and_memory_stays() {
    let events = number("PINRELAY_SOAK_EVENTS", 200_000);
    let outage = events / 4;
    let lines = Lines::new();
    let mut stand_in = StandIn::counting();
    let site = Site::new(&stand_in)
        .set("delivery", "max_calls_per_minute", "0")
        .set("queue", "max_bytes", "64GiB");
    let daemon = site.start();
    let begun = Instant::now();
    let before = steady(&daemon, &lines, 0..(events - outage) / 2);

    // Pinterest goes; a quarter of the events waits.
    stand_in.kill();
    let from = (events - outage) / 2;
    for first in (from..from + outage).step_by(PULSE as usize) {
        let numbers = first..(first + PULSE).min(from + outage);
        let due = numbers.end - numbers.start;
        assert_eq!(send(&daemon.socket(), &lines.text("soak", numbers)), due);
    }
    let waiting = resident(&daemon);
    let held = usage(&site.path("queue/gen"));
    daemon.kill();
    let restarted = Instant::now();
    let daemon = site.start();
    assert_eq!(send(&daemon.socket(), &lines.text("first", 0..1)), 1);
    let first_answer = restarted.elapsed();
    let after_kill = resident(&daemon);
    assert!(
        first_answer < FIRST_ANSWER,
        "{first_answer:?} with {outage} queued"
    );

    stand_in.restart_counting();
    let draining = Instant::now();
    drained(&daemon, s(1200));
    let drain = draining.elapsed();
    let seen = || usage(&site.path("queue/seen"));
    let rest = || usage(&site.path("queue")).saturating_sub(seen());
    support::within(s(60), "the disk back", || (rest() < DRAINED).then_some(()));
    let rest_bytes = rest();
    let after = steady(&daemon, &lines, from + outage..events);
    let status = drained(&daemon, s(120));
    assert_eq!(status["ledger"]["accepted"], events + 1, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(status["delivered"], events + 1, "{status:#}");
    assert!(
        seen() <= BYTES_PER_ID * (events + 1),
        "{} bytes of ids",
        seen()
    );
    println!(
        "{events} events in {:.0} s; {outage} of them waited: {} MiB on disk, {} MiB resident; \
         after kill -9 the first answer came in {:.2} s ({} MiB resident); drained in {:.0} s, \
         then {} MiB on disk besides seen/, {:.1} bytes an id in it; resident at most {} MiB \
         before, {} MiB after",
        begun.elapsed().as_secs_f64(),
        held / MIB,
        waiting / MIB,
        first_answer.as_secs_f64(),
        after_kill / MIB,
        drain.as_secs_f64(),
        rest_bytes / MIB,
        seen() as f64 / (events + 1) as f64,
        before / MIB,
        after / MIB,
    );
    // What is remembered costs 2.3 bytes an id; the rest is flat.
    let grown = before + before / 4 + 3 * events + 48 * MIB;
    assert!(
        after < grown,
        "{} MiB grew to {}",
        before / MIB,
        after / MIB
    );
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

#[test]
fn many_dead_letters_leave_meta_small_and_retention_gives_the_disk_back() {
    let dead = number("PINRELAY_SOAK_DEAD", 20_000);
    let lines = Lines::unmatchable();
    let stand_in = StandIn::counting();
    let site = Site::new(&stand_in)
        .set("dead_letters", "retention", "1m")
        .set("dead_letters", "max_bytes", "64GiB");
    let daemon = site.start();
    // Nothing is ever sent, so no Date vouches for the clock of this new queue.
    let trusted = site.command(&["clock", "trust"]).output().expect("it runs");
    assert!(trusted.status.success(), "{trusted:?}");
    for first in (0..dead).step_by(PULSE as usize) {
        let numbers = first..(first + PULSE).min(dead);
        let due = numbers.end - numbers.start;
        assert_eq!(send(&daemon.socket(), &lines.text("dead", numbers)), due);
    }
    let status = daemon.shows(s(1200), "dead letters", |status| {
        status["ledger"]["dead"].as_u64().expect("a count")
            + status["ledger"]["purged"].as_u64().expect("a count")
            == dead
    });
    let (meta, held) = (
        usage(&site.path("queue/meta")),
        usage(&site.path("queue/dead")),
    );
    let memory = resident(&daemon);
    assert!(meta < 64 * MIB, "{} MiB of meta", meta / MIB);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    let status = daemon.shows(s(180), "a purge", |status| {
        status["ledger"]["purged"] == dead
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    let left = usage(&site.path("queue/dead"));
    assert!(left < MIB, "{left} bytes of nothing");
    println!(
        "{dead} dead letters: {} MiB in dead/, {} MiB in meta, {} MiB resident; after their \
         retention {left} bytes",
        held / MIB,
        meta / MIB,
        memory / MIB
    );
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}
