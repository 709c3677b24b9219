//! The fuzz targets' short run: every seed, and some thousands of mutations of them, the same
//! in every run. The long run is libFuzzer's (`fuzz/run`).

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pinrelay::fuzzing::TARGETS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Mutations of each target in the ordinary suite; `PINRELAY_FUZZ_RUNS` sets another number.
const RUNS: u64 = 3000;
/// Longer inputs are cut: what they would find, shorter ones find faster.
const LONGEST: usize = 4096;

/// What a random byte hardly ever makes.
const TOKENS: &[&str] = &[
    "\n",
    "\r\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "null",
    "true",
    "-0",
    "1e400",
    "1e-400",
    "99999999999999999999999999999999999999999",
    "18446744073709551615",
    "\"messageId\":\"m\"",
    "\"type\":\"track\"",
    "\"email\":\"e\"",
    "\"products\":[{}]",
    "\"$serde_json::private::Number\":\"1\"",
    "\"events\":[]",
    "\"status\":\"processed\"",
    "[[mappings]]\n",
    "[event_names]\n",
    "= ",
    "\u{0}",
    "\u{feff}",
    "\u{a0}",
    "\u{10ffff}",
];

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.expect("a seed").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read(&path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

fn mutate(rng: &mut StdRng, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut data = seeds[rng.random_range(0..seeds.len())].1.clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=data.len());
        match rng.random_range(0..8) {
            0 if at < data.len() => data[at] ^= 1 << rng.random_range(0..8),
            1 if at < data.len() => data[at] = rng.random(),
            2 => data.truncate(at),
            3 => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())].bytes();
                data.splice(at..at, token);
            }
            4 => {
                // The tail of another.
                let other = &seeds[rng.random_range(0..seeds.len())].1;
                data.truncate(at);
                data.extend(&other[rng.random_range(0..=other.len())..]);
            }
            5 => {
                // Once more, or gone.
                let end = rng.random_range(at..=data.len());
                let piece = data[at..end].to_vec();
                let times = rng.random_range(0..4);
                data.splice(at..end, piece.repeat(times));
            }
            6 if at < data.len() => {
                let extreme = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)];
                let end = data.len().min(at + rng.random_range(1..9));
                data[at..end].fill(extreme);
            }
            _ => data.insert(at, rng.random_range(b' '..=b'~')),
        }
        data.truncate(LONGEST);
    }
    data
}

/// Runs the seeds of a target, then their mutations.
fn short_run(target: &str) {
    let runs = std::env::var("PINRELAY_FUZZ_RUNS");
    let runs = runs.map_or(RUNS, |runs| runs.parse().expect("a number"));
    let known = TARGETS.iter().find(|(name, _)| *name == target);
    let property = known.expect("a target").1;
    let seeds = seeds(target);
    assert!(seeds.len() >= 10, "few seeds");
    for (file, data) in &seeds {
        holds(property, data, &format!("fuzz/seeds/{target}/{file}"));
    }
    for run in 0..runs {
        let data = mutate(&mut StdRng::seed_from_u64(run), &seeds);
        holds(property, &data, &format!("{target}, mutation {run}"));
    }
}

fn holds(property: fn(&[u8]), data: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| property(data))).is_err() {
        panic!(
            "{origin} does not hold; save these bytes as a seed: {:?}",
            data.escape_ascii().to_string()
        );
    }
}

#[test]
fn lines() {
    short_run("lines");
}

#[test]
fn event() {
    short_run("event");
}

#[test]
fn transform() {
    short_run("transform");
}

#[test]
fn answer() {
    short_run("answer");
}

#[test]
fn chunk() {
    short_run("chunk");
}

#[test]
fn config() {
    short_run("config");
}

#[test]
fn each_target_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut files: Vec<String> = fs::read_dir(folder)
        .expect("the targets")
        .map(|file| {
            file.expect("a target")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut names = TARGETS.map(|(name, _)| format!("{name}.rs"));
    files.sort();
    names.sort();
    assert_eq!(files, names);
}
