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
    let a_second = |count: f64| count / watched.as_secs_f64();
    let (all, sleds) = (
        after.wakeups - before.wakeups,
        after.sled_wakeups - before.sled_wakeups,
    );
    vec![
        Row::new("idle, wake-ups", a_second(all), "/s").at_most(1.0),
        Row::new(
            "idle, wake-ups but for sled's pool",
            a_second(all - sleds),
            "/s",
        ),
        Row::new("idle, resident", after.resident_mib, "MiB").at_most(30.0),
    ]
}
