//! `pinrelay transform`: what would become of each line, without sending or storing any.
//!
//! `lines` gives the payloads, `explain` where each field comes from, `compare` what another
//! config would change.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::ConfigArg;
use super::exit::{Exit, Failure, OrExit, Outcome};
use crate::clock::Clock;
use crate::config::{self, Config, Pair, Place, process_env};
use crate::transform::Transform;

mod compare;
mod explain;
mod lines;

use lines::{Line, read_line};

/// Flags of `pinrelay transform`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Needs no daemon, token or queue, and neither ad_account_id nor app_name. What it prints holds the
events' own data.

Exit codes: 0 whatever becomes of the events · 74 the input cannot be read · 78 the config is wrong

Examples:
  pinrelay transform events.ndjson
  pinrelay transform --explain events.ndjson
  pinrelay transform --explain --map properties.total=properties.value events.ndjson
  pinrelay transform --compare pinrelay.toml.old events.ndjson")]
pub struct Args {
    /// The events, one JSON object per line; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// For each field: what gave it, what was tried before, what was omitted and why, which
    /// mapping stands over it.
    #[arg(long)]
    explain: bool,
    /// Which fields this other config would have made otherwise, and how many events would
    /// have died under each.
    #[arg(long, value_name = "OLD.toml", conflicts_with = "explain")]
    compare: Option<PathBuf>,
    /// Try one more [[mappings]] without writing it, like
    /// properties.total=properties.value.
    #[arg(long, value_name = "SRC=DST", value_parser = pair)]
    map: Vec<(String, String)>,
    /// Try one more of [event_names] without writing it, like "Signed Up=signup".
    #[arg(long, value_name = "EVENT=NAME", value_parser = pair)]
    event_name: Vec<(String, String)>,
    /// With --explain or --compare: as JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Writes what would become of each line to stdout.
pub fn run(args: Args) -> Outcome {
    let mut config = args.config.load(process_env()).or_exit(Exit::Config)?;
    try_on(&mut config, &args);
    let transform = config.transform().or_exit(Exit::Config)?;
    let limit = usize::try_from(config.ingest.max_event_bytes).unwrap_or(usize::MAX);
    let now_seconds = Clock::system().now().div_euclid(1000);
    let mut input = open(args.file.as_deref()).or_exit(Exit::Io)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let done = if let Some(old) = &args.compare {
        let old = other(old)?;
        let mut comparison = compare::Comparison::default();
        each(&mut input, limit, |line| {
            comparison.add(line, &old, &transform, now_seconds);
            Ok(())
        })
        .and_then(|()| comparison.write(&mut output, args.json))
    } else if args.explain {
        each(&mut input, limit, |line| {
            explain::write(&mut output, line, &transform, now_seconds, args.json)
        })
        .and_then(|()| output.flush())
    } else {
        lines::lines(&mut input, &mut output, &transform, now_seconds, limit)
    };
    match done {
        // Whoever reads has seen enough (`| head`).
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        done => {
            let name = args.file.as_deref().unwrap_or(Path::new("-"));
            done.with_context(|| format!("transforming {} failed", name.display()))
                .or_exit(Exit::Io)?;
            Ok(Exit::Ok)
        }
    }
}

fn open(file: Option<&Path>) -> anyhow::Result<Box<dyn BufRead>> {
    match file.filter(|path| *path != Path::new("-")) {
        None => Ok(Box::new(io::stdin().lock())),
        Some(path) => {
            let opened = File::open(path);
            let file = opened.with_context(|| format!("transforming {} failed", path.display()))?;
            Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
        }
    }
}

/// `A=B`, split at the first `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.into(), to.into())),
        _ => Err("has to be two names with = between them".to_owned()),
    }
}

/// Lays the command line's mappings and names over the config, as its last ones.
fn try_on(config: &mut Config, args: &Args) {
    let made = |(from, to): &(String, String)| Pair {
        from: from.clone(),
        to: to.clone(),
        place: Place::Nowhere,
    };
    config.mappings.extend(args.map.iter().map(made));
    for name in &args.event_name {
        let same = |other: &Pair| other.from.trim().to_lowercase() == name.0.trim().to_lowercase();
        config.event_names.retain(|other| !same(other));
        config.event_names.push(made(name));
    }
}

/// The transform of another config file, under the same environment.
fn other(file: &Path) -> Result<Transform, Failure> {
    let config = config::load(Some(file), process_env()).or_exit(Exit::Config)?;
    config.transform().or_exit(Exit::Config)
}

/// Hands every line that is not blank to `with`. A line over the limit ends it: what it would
/// become under any config is the same refusal.
fn each(
    input: &mut impl BufRead,
    limit: usize,
    mut with: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        number += 1;
        match read_line(input, &mut line, limit)? {
            Line::End => return Ok(()),
            Line::Whole if crate::event::is_blank(&line) => {}
            Line::Whole => with(&line)?,
            Line::TooLong => {
                let why = anyhow!("line {number} is over ingest.max_event_bytes ({limit})");
                return Err(io::Error::other(why));
            }
        }
    }
}
