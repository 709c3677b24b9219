//! The transform alone, on one core.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use pinrelay::transform::{Fixed, Options, Transform};
use serde::de::IgnoredAny;

use super::Bench;
use super::table::Row;

/// Accepted after any of them happened.
const LATER: Fixed = Fixed {
    accepted_at: 4_000_000_000,
    event_time: 1_700_000_000,
};

/// The command over a file of so many events, for a build that is no part of this process.
pub fn of_a_file(bench: &Bench, binary: &Path, events: u64) -> Vec<Row> {
    let folder = bench.folder();
    let file = folder.path().join("events.ndjson");
    fs::write(&file, bench.load.bytes(b't', 0..events)).expect("written");
    let once = || {
        let mut command = Command::new(binary);
        command.arg("transform").arg(&file).stdout(Stdio::null());
        let begun = Instant::now();
        assert!(command.status().is_ok_and(|status| status.success()));
        begun.elapsed().as_secs_f64() * 1e6 / events as f64
    };
    // The least disturbed of several.
    let least = (0..3).map(|_| once()).fold(f64::INFINITY, f64::min);
    vec![Row::new("transform of a file", least, "µs/event")]
}

pub fn alone(bench: &Bench, rounds: u64) -> Vec<Row> {
    let bytes = bench.load.bytes(b't', 0..1000);
    let lines: Vec<&[u8]> = bytes
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let transform = Transform::new(Options::default()).expect("the defaults");
    let events = (rounds * lines.len() as u64) as f64;
    let micros = |f: &dyn Fn(&[u8])| {
        let round = || {
            let begun = Instant::now();
            for _ in 0..rounds {
                lines.iter().for_each(|line| f(line));
            }
            begun.elapsed().as_secs_f64() * 1e6 / events
        };
        // The least disturbed of several.
        (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
    };
    let parse = micros(&|line| {
        black_box(serde_json::from_slice::<IgnoredAny>(line)).expect("an event");
    });
    let whole = micros(&|line| {
        let made = black_box(transform.payload(line, LATER, None, &|_| false));
        assert!(made.expect("a payload").notes.is_empty());
    });
    let row = Row::new("transform, one core", whole, "µs/event");
    vec![row.beside("parsing to IgnoredAny", parse).at_most(3.0)]
}
