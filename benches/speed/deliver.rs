//! Delivery alone, of a backlog that was accepted before.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Bench;
use super::floors;
use super::load::flood;
use super::process::{Daemon, StandIn};
use super::table::Row;

/// The daemon's default for requests in flight.
const AT_ONCE: usize = 20;

pub fn backlog(bench: &Bench, binary: &Path, events: u64, floor: bool) -> Vec<Row> {
    let rows = |latency_ms: u64| {
        let stand_in = StandIn::start(latency_ms);
        let folder = bench.folder();
        let daemon = Daemon::start(binary, folder.path(), &stand_in.address);
        daemon.command(&["pause"]);
        flood(&daemon.socket(), &bench.load, b'd', 0..events, 8);
        let before = daemon.usage();
        let begun = Instant::now();
        daemon.command(&["resume"]);
        stand_in.wait_for(events, Duration::from_secs(600));
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        let cpu = daemon.usage().cpu_seconds - before.cpu_seconds;
        drop(daemon);
        let name = format!("deliver a backlog, {latency_ms} ms latency");
        let row = Row::new(&name, rate, "events/s");
        let row = if floor {
            let bare = floors::bare_client(&bench.load, &stand_in.address, events, AT_ONCE);
            row.beside("a bare client", bare).at_least(0.5)
        } else {
            row
        };
        let per_million = cpu * 1e6 / events as f64;
        [
            row,
            Row::new(format!("{name}, processor"), per_million, "s/million"),
        ]
    };
    [0, 200].into_iter().flat_map(rows).collect()
}
