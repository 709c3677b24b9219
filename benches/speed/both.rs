//! Acceptance and delivery at once, as fast as both go together: clients wait while more than a
//! window of events is on its way, so that neither runs ahead.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Bench;
use super::load::pipelined;
use super::process::{Daemon, StandIn, Usage};
use super::table::Row;

/// Events that may be on their way at once, besides a backlog: three times what the daemon has
/// in its requests, so that these are full.
const WINDOW: u64 = 60_000;
/// 5,000 calls a minute of 1,000 events: what Pinterest takes for one ad account (its
/// Conversions API's rate limits).
const ACCOUNT_CEILING: f64 = 83_333.0;
/// Of the clients that send.
const CONNECTIONS: u64 = 8;

/// What the daemon did in a steady stretch.
pub struct Steady {
    pub events: u64,
    pub seconds: f64,
    pub used: Usage,
}

impl Steady {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Sends these events; returns when the stand-in has taken as many as were sent, whichever they
/// were: others may wait before them.
pub fn steady(bench: &Bench, daemon: &Daemon, stand_in: &StandIn, numbers: Range<u64>) -> Steady {
    let before = daemon.usage();
    let processed = stand_in.processed();
    let taken = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let events = numbers.end - numbers.start;
    let begun = Instant::now();
    let seconds = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                taken.store(stand_in.processed() - processed, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let may = |sent: u64| sent < taken.load(Ordering::Relaxed) + WINDOW;
        pipelined(
            &daemon.socket(),
            &bench.load,
            b'b',
            numbers,
            CONNECTIONS,
            &may,
        );
        stand_in.wait_for(processed + events, Duration::from_secs(1200));
        done.store(true, Ordering::Relaxed);
        begun.elapsed().as_secs_f64()
    });
    let after = daemon.usage();
    Steady {
        events,
        seconds,
        used: Usage {
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            written_bytes: after.written_bytes - before.written_bytes,
            ..after
        },
    }
}

/// A warm-up, then as many events as it would take for `seconds`.
pub fn minute(bench: &Bench, binary: &Path, warm_up: u64, seconds: f64) -> Vec<Row> {
    let stand_in = StandIn::start(0);
    let folder = bench.folder();
    let daemon = Daemon::start(binary, folder.path(), &stand_in.address);
    let first = steady(bench, &daemon, &stand_in, 0..warm_up);
    let events = (first.rate() * seconds) as u64 / CONNECTIONS * CONNECTIONS;
    let took = steady(bench, &daemon, &stand_in, warm_up..warm_up + events);
    let metrics = daemon.metrics();
    let millis = |histogram: &str, percent: f64| metrics.percentile(histogram, percent) * 1e3;
    let (accepting, delivering) = (
        "pinrelay_acknowledgement_duration_seconds",
        "pinrelay_delivery_age_seconds",
    );
    let name = |what: &str| format!("accept and deliver at once{what}");
    let events = took.events as f64;
    vec![
        Row::new(name(""), took.rate(), "events/s").at_least(ACCOUNT_CEILING),
        Row::new(
            name(", processor"),
            took.used.cpu_seconds * 1e6 / events,
            "s/million",
        )
        .at_most(10.0),
        Row::new(
            name(", written per byte"),
            took.used.written_bytes / (events * bench.load.mean as f64),
            "bytes",
        )
        .at_most(1.2),
        Row::new(name(", memory at most"), took.used.peak_mib, "MiB"),
        Row::new(
            name(", to acknowledged, p50 below"),
            millis(accepting, 50.0),
            "ms",
        ),
        Row::new(
            name(", to acknowledged, p99 below"),
            millis(accepting, 99.0),
            "ms",
        ),
        Row::new(
            name(", to delivered, p50 below"),
            millis(delivering, 50.0),
            "ms",
        ),
        Row::new(
            name(", to delivered, p99 below"),
            millis(delivering, 99.0),
            "ms",
        ),
    ]
}
