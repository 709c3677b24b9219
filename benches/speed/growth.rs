//! What a queue that has grown costs: remembered messageIds, and events that wait.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Bench;
use super::both::{Steady, steady};
use super::load::{flood, one_by_one};
use super::process::{Daemon, StandIn};
use super::table::Row;

/// How much of each.
pub struct Sizes {
    /// Remembered ids to measure at, rising.
    pub ids: Vec<u64>,
    /// Waiting events to measure at, rising; the last number once more at the most ids.
    pub waiting: Vec<u64>,
    /// Events of one measurement.
    pub probe: u64,
}

/// Memory, MiB: with millions of events waiting, and with millions of remembered ids.
const WAITING_MIB: f64 = 150.0;
const IDS_MIB: f64 = 300.0;

pub fn growth(bench: &Bench, binary: &Path, sizes: &Sizes) -> Vec<Row> {
    let mut small = Grown::start(bench, binary, sizes.probe);
    let none = small.steady(sizes.probe).rate();
    for &waiting in &sizes.waiting {
        small = small.waiting(waiting, none, "", WAITING_MIB);
    }
    // It ends: its backlog would still be delivered beside what follows.
    let mut rows = small.end();
    let mut large = Grown::start(bench, binary, sizes.probe);
    for &ids in &sizes.ids {
        large = large.ids(ids, none);
    }
    let (Some(ids), Some(&waiting)) = (sizes.ids.last(), sizes.waiting.last()) else {
        return rows;
    };
    let ids = format!("{} M ids and ", ids / 1_000_000);
    let large = large.waiting(waiting, none, &ids, IDS_MIB);
    rows.extend(large.end());
    rows
}

/// A queue that grows, and what was measured of it.
struct Grown<'b> {
    bench: &'b Bench,
    stand_in: StandIn,
    daemon: Daemon,
    /// Where the daemon keeps it.
    _folder: TempDir,
    /// Events of one measurement.
    probe: u64,
    sent: u64,
    rows: Vec<Row>,
}

impl<'b> Grown<'b> {
    fn start(bench: &'b Bench, binary: &Path, probe: u64) -> Self {
        let stand_in = StandIn::start(0);
        let folder = bench.folder();
        Self {
            daemon: Daemon::start(binary, folder.path(), &stand_in.address),
            bench,
            stand_in,
            _folder: folder,
            probe,
            sent: 0,
            rows: Vec::new(),
        }
    }

    /// The numbers of so many more.
    fn next(&mut self, events: u64) -> Range<u64> {
        let begun = self.sent;
        self.sent += events;
        begun..self.sent
    }

    /// So many more, accepted and delivered.
    fn steady(&mut self, events: u64) -> Steady {
        let numbers = self.next(events);
        steady(self.bench, &self.daemon, &self.stand_in, numbers)
    }

    /// At so many remembered ids.
    fn ids(mut self, ids: u64, none: f64) -> Self {
        let rest = ids.saturating_sub(self.sent) / 8 * 8;
        if rest > 0 {
            self.bench.say(&format!("growth: {ids} remembered ids"));
            self.steady(rest);
        }
        let name = format!("growth, {} M ids", ids / 1_000_000);
        let took = self.steady(self.probe);
        self.rows.extend([
            Row::new(&name, took.rate(), "events/s")
                .beside("none", none)
                .at_least(0.9),
            memory(
                &format!("{name}, memory at most"),
                took.used.peak_mib,
                IDS_MIB,
            ),
        ]);
        self.killed(&name)
    }

    /// With so many events waiting.
    fn waiting(mut self, waiting: u64, none: f64, ids: &str, most: f64) -> Self {
        self.bench.say(&format!("growth: {waiting} waiting events"));
        self.daemon.command(&["pause"]);
        let there = self.daemon.metrics().value("pinrelay_queue_events") as u64;
        let rest = waiting.saturating_sub(there) / 8 * 8;
        let numbers = self.next(rest);
        flood(&self.daemon.socket(), &self.bench.load, b'b', numbers, 8);
        let name = format!("growth, {ids}{} M waiting", waiting / 1_000_000);
        // What only the burst needed goes back within seconds.
        std::thread::sleep(Duration::from_secs(6));
        let held = self.daemon.usage().resident_mib;
        self.rows
            .push(memory(&format!("{name}, resident"), held, most));
        self = self.killed(&name);
        self.daemon.command(&["resume"]);
        let took = self.steady(self.probe);
        self.rows.extend([
            Row::new(&name, took.rate(), "events/s").beside("none", none),
            memory(&format!("{name}, memory at most"), took.used.peak_mib, most),
        ]);
        self
    }

    /// Its processes end, its folder goes.
    fn end(self) -> Vec<Row> {
        self.rows
    }

    /// Killed, and started again: until the first answer.
    fn killed(mut self, name: &str) -> Self {
        let begun = Instant::now();
        self.daemon = self.daemon.killed_and_started();
        let numbers = self.next(1);
        one_by_one(&self.daemon.socket(), &self.bench.load, b'k', numbers, 1);
        let took = begun.elapsed().as_secs_f64();
        let name = format!("{name}, kill -9 to first answer");
        self.rows.push(Row::new(name, took, "s").at_most(5.0));
        self
    }
}

fn memory(name: &str, held: f64, most: f64) -> Row {
    Row::new(name, held, "MiB").at_most(most)
}
