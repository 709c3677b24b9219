//! The transform alone, on one core.

use std::hint::black_box;
use std::time::Instant;

use pinrelay::transform::{Options, Transform};
use serde::de::IgnoredAny;

use super::Bench;
use super::table::Row;

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
        black_box(transform.payload(line, 1_700_000_000, None, &|_| false)).expect("a payload");
    });
    let row = Row::new("transform, one core", whole, "µs/event");
    vec![row.beside("parsing to IgnoredAny", parse).at_most(3.0)]
}
