//! A daemon that has nothing to do.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use super::accept::NOBODY;
use super::process::Daemon;
use super::table::Row;

pub fn idle(bench: &Bench, binary: &Path, settle: Duration, watched: Duration) -> Vec<Row> {
    let folder = bench.folder();
    let daemon = Daemon::start(binary, folder.path(), NOBODY);
    std::thread::sleep(settle);
    let before = daemon.usage();
    std::thread::sleep(watched);
    let after = daemon.usage();
    let wakeups = (after.wakeups - before.wakeups) / watched.as_secs_f64();
    vec![
        Row::new("idle, wake-ups", wakeups, "/s").at_most(1.0),
        Row::new("idle, resident", after.resident_mib, "MiB").at_most(30.0),
    ]
}
