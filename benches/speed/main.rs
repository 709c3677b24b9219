//! How fast it is, by the real binary over its real socket, each figure beside what the machine
//! can do at all in the same run. One table.
//!
//! `cargo bench --bench speed -- --help`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

mod accept;
mod both;
mod deliver;
mod floors;
mod growth;
mod http;
mod idle;
mod load;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
mod send;
mod table;
mod transform;

use table::Row;

/// Measures pinrelay and prints one table
#[derive(Parser)]
#[command(name = "cargo bench --bench speed --")]
struct Args {
    /// Only these parts: accept, http, deliver, both, growth, transform, send, idle; and, where they
    /// are named, postgres and postgres-ids
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare this build of pinrelay with the one just built, in alternating runs
    #[arg(long, value_name = "BINARY")]
    compare: Option<PathBuf>,
    /// Rounds of a comparison
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The most remembered messageIds to grow to
    #[arg(long, default_value_t = 50_000_000)]
    ids: u64,
    /// A folder on the disk to measure; the system's temporary one otherwise
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Shorter runs of it, for a first look
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all parts need.
struct Bench {
    /// What clients send.
    load: load::Load,
    root: PathBuf,
}

impl Bench {
    /// A folder that goes with its handle.
    fn folder(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(&self.root).expect("a folder")
    }

    /// Long work shows where it is.
    fn say(&self, what: &str) {
        eprintln!("# {what}");
    }
}

const PARTS: [&str; 8] = [
    "accept",
    "http",
    "deliver",
    "both",
    "growth",
    "transform",
    "send",
    "idle",
];

/// Parts that need servers of others.
const NAMED: [&str; 2] = ["postgres", "postgres-ids"];

/// The rows of one part; with `floor`, what they are held against too.
fn part(bench: &Bench, args: &Args, name: &str, binary: &Path, floor: bool) -> Vec<Row> {
    bench.say(name);
    match name {
        "accept" => {
            let mut rows = accept::pipelined(bench, binary, 800_000, floor);
            rows.extend(accept::one_at_a_time(bench, binary, 2_000, floor));
            rows
        }
        "http" => {
            let mut rows = http::stream(bench, binary, 800_000, floor);
            rows.push(http::batches(bench, binary, 400_000));
            rows.extend(http::singles(bench, binary, 64_000, floor));
            rows
        }
        "deliver" => deliver::backlog(bench, binary, 1_000_000, floor),
        // A comparison has many rounds.
        "both" => both::minute(
            bench,
            binary,
            400_000,
            if floor && !args.quick { 60.0 } else { 10.0 },
        ),
        "growth" => {
            let steps = [0, 1_000_000, 10_000_000, 50_000_000];
            let ids = steps.into_iter().filter(|&ids| ids <= args.ids).collect();
            let waiting = vec![1_000_000, 5_000_000];
            let probe = 1_600_000;
            growth::growth(
                bench,
                binary,
                &growth::Sizes {
                    ids,
                    waiting,
                    probe,
                },
            )
        }
        "transform" if floor => transform::alone(bench, 50),
        "transform" => transform::of_a_file(bench, binary, 300_000),
        "send" => send::files(bench, binary, 800_000),
        #[cfg(feature = "postgres")]
        "postgres" => postgres::all(bench, binary),
        #[cfg(feature = "postgres")]
        "postgres-ids" => postgres::ids(bench, binary, args.ids),
        _ => idle::idle(
            bench,
            binary,
            Duration::from_secs(5),
            Duration::from_secs(30),
        ),
    }
}

fn main() {
    let args = Args::parse();
    for only in &args.only {
        assert!(
            PARTS.contains(&only.as_str()) || NAMED.contains(&only.as_str()),
            "no part is called {only}; there are {PARTS:?}, and by name {NAMED:?}"
        );
    }
    let bench = Bench {
        load: load::Load::new(),
        root: args.folder.clone().unwrap_or_else(std::env::temp_dir),
    };
    let this = Path::new(env!("CARGO_BIN_EXE_pinrelay"));
    let wanted = |name: &&str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    println!("events of {} bytes on average", bench.load.mean);
    let Some(other) = &args.compare else {
        let named = NAMED
            .into_iter()
            .filter(|name| args.only.iter().any(|only| only == name));
        for name in PARTS.into_iter().filter(wanted).chain(named) {
            for row in part(&bench, &args, name, this, true) {
                println!("{}", row.line());
            }
        }
        return;
    };
    println!("this build's figures over those of {}", other.display());
    for name in PARTS.into_iter().filter(wanted) {
        let pair = |round: usize| {
            let run = |binary| part(&bench, &args, name, binary, false);
            // Whichever goes first has the same chances over all rounds.
            if round.is_multiple_of(2) {
                let other = run(other);
                (other, run(this))
            } else {
                let this = run(this);
                (run(other), this)
            }
        };
        let pairs: Vec<_> = (0..args.rounds).map(pair).collect();
        table::compared(&pairs)
            .iter()
            .for_each(|line| println!("{line}"));
    }
}
