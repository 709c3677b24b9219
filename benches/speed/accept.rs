//! Acceptance alone: delivery is paused.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use super::floors;
use super::load::{flood, one_by_one, percentile};
use super::process::Daemon;
use super::table::Row;

/// What clients have to wait for anyway: nobody listens there.
pub const NOBODY: &str = "127.0.0.1:9";

pub fn pipelined(bench: &Bench, binary: &Path, events: u64, floor: bool) -> Vec<Row> {
    let row = |connections: u64| {
        let folder = bench.folder();
        let daemon = Daemon::start(binary, folder.path(), NOBODY);
        daemon.command(&["pause"]);
        let took = flood(&daemon.socket(), &bench.load, b'a', 0..events, connections);
        let rate = events as f64 / took.as_secs_f64();
        let syncs = daemon
            .metrics()
            .value("pinrelay_sync_duration_seconds_count");
        drop(daemon);
        let group = (events as f64 / syncs) as u64;
        let name = format!("accept, pipelined, connections: {connections}");
        let row = Row::new(name, rate, "events/s");
        if !floor {
            return row;
        }
        let append = floors::append(folder.path(), &bench.load, events, group);
        let sink = floors::sink(folder.path(), &bench.load, events, connections);
        let row = row
            .beside(format!("append + fdatasync by {group}"), append)
            .beside("an unsynced sink", sink);
        if connections == 1 {
            row
        } else {
            row.at_least(0.4)
        }
    };
    [1, 8, 64].map(row).into()
}

pub fn one_at_a_time(bench: &Bench, binary: &Path, events: u64, floor: bool) -> Vec<Row> {
    let rows = |connections: u64| {
        let folder = bench.folder();
        let daemon = Daemon::start(binary, folder.path(), NOBODY);
        daemon.command(&["pause"]);
        let each = (events / connections).max(20);
        let mut times = one_by_one(
            &daemon.socket(),
            &bench.load,
            b'o',
            0..each * connections,
            connections,
        );
        drop(daemon);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let name = format!("accept, one at a time, connections: {connections}");
        let p50 = Row::new(
            format!("{name}, p50"),
            micros(percentile(&mut times, 50)),
            "µs",
        );
        let p99 = Row::new(
            format!("{name}, p99"),
            micros(percentile(&mut times, 99)),
            "µs",
        );
        if !floor || connections > 1 {
            return [p50, p99];
        }
        let one = floors::append_one(folder.path(), &bench.load, each);
        [
            p50.beside("one append + fdatasync", micros(one))
                .at_most(2.5),
            p99,
        ]
    };
    [1, 8, 64].into_iter().flat_map(rows).collect()
}
