//! What a queue that has grown costs: remembered messageIds, and events that wait.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Bench;
use super::both::steady;
use super::load::{flood, one_by_one};
use super::process::{Daemon, StandIn};
use super::table::Row;

/// How much of each.
pub struct Sizes {
    /// Remembered ids to measure at, rising.
    pub ids: Vec<u64>,
    /// Waiting events to measure at, rising, at the last number of ids.
    pub waiting: Vec<u64>,
    /// Events of one measurement.
    pub probe: u64,
}

pub fn growth(bench: &Bench, binary: &Path, sizes: &Sizes) -> Vec<Row> {
    let stand_in = StandIn::start(0);
    let folder = bench.folder();
    let mut daemon = Daemon::start(binary, folder.path(), &stand_in.address);
    let mut sent = 0;
    let mut rows: Vec<Row> = Vec::new();
    let mut none = 0.0;
    let start = |daemon: Daemon, n: u64| {
        let begun = Instant::now();
        let daemon = daemon.killed_and_started();
        one_by_one(&daemon.socket(), &bench.load, b'k', n..n + 1, 1);
        (daemon, begun.elapsed())
    };
    for &ids in &sizes.ids {
        let rest = ids.saturating_sub(sent) / 8 * 8;
        if rest > 0 {
            bench.say(&format!("growth: {ids} remembered ids"));
            steady(bench, &daemon, &stand_in, sent..sent + rest);
            sent += rest;
        }
        let took = steady(bench, &daemon, &stand_in, sent..sent + sizes.probe);
        sent += sizes.probe;
        let name = format!("growth, {} M ids", ids / 1_000_000);
        let row = Row::new(&name, took.rate(), "events/s");
        rows.push(if ids == 0 {
            none = took.rate();
            row
        } else {
            row.beside("none", none).at_least(0.9)
        });
        rows.push(
            Row::new(format!("{name}, memory at most"), took.used.peak_mib, "MiB").at_most(300.0),
        );
        let (started, took) = start(daemon, sent);
        daemon = started;
        rows.push(Row::new(
            format!("{name}, kill -9 to first answer"),
            took.as_secs_f64(),
            "s",
        ));
    }
    for &waiting in &sizes.waiting {
        bench.say(&format!("growth: {waiting} waiting events"));
        daemon.command(&["pause"]);
        let rest = waiting.saturating_sub(daemon.metrics().value("pinrelay_queue_events") as u64);
        let rest = rest / 8 * 8;
        flood(&daemon.socket(), &bench.load, b'b', sent..sent + rest, 8);
        sent += rest;
        let name = format!("growth, {} M waiting", waiting / 1_000_000);
        // What only the burst needed goes back within seconds.
        std::thread::sleep(Duration::from_secs(6));
        let held = daemon.usage().resident_mib;
        rows.push(Row::new(format!("{name}, resident"), held, "MiB").at_most(150.0));
        let (started, took) = start(daemon, sent);
        daemon = started;
        let row = Row::new(
            format!("{name}, kill -9 to first answer"),
            took.as_secs_f64(),
            "s",
        );
        rows.push(row.at_most(5.0));
        daemon.command(&["resume"]);
        let took = steady(bench, &daemon, &stand_in, sent..sent + sizes.probe);
        sent += sizes.probe;
        rows.push(Row::new(&name, took.rate(), "events/s").beside("none", none));
        let held = took.used.peak_mib;
        rows.push(Row::new(format!("{name}, memory at most"), held, "MiB").at_most(150.0));
    }
    rows
}
