//! `pinrelay transform`: what would become of each line, without sending or storing any.
//!
//! `source` reads what the daemon holds; `lines` gives the payloads, `explain` where each field
//! comes from, `compare` what another config would change.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::config_arg::ConfigArg;
use super::daemon;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::source::Source;
use super::text::{buffered, say};
use crate::clock::Clock;
use crate::config::{self, Config, Pair, Place, process_env};
use crate::transform::Transform;

mod compare;
mod explain;
mod lines;
mod source;

use lines::{Line, When, read_line};

/// Flags of `pinrelay transform`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Needs no daemon (but for --from), token or queue, and neither ad_account_id nor app_name. Without
--compare, what it prints holds the events' own data.

Exit codes: 0 whatever becomes of the events · 69 --from, and no daemon is there · 74 the input
cannot be read · 78 the config is wrong

Examples:
  pinrelay transform events.ndjson
  pinrelay transform --explain events.ndjson
  pinrelay transform --explain --map properties.total=properties.value events.ndjson
  pinrelay transform --compare pinrelay.toml.old events.ndjson
  pinrelay transform --from dead --compare pinrelay.toml.old")]
pub struct Args {
    /// The events, one JSON object per line, gzip or not; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// Take the running daemon's own events instead: those that wait, or its dead letters.
    #[arg(long, value_name = "WHICH", conflicts_with = "file")]
    from: Option<source::Held>,
    /// With --from: at most so many, the oldest first.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        requires = "from",
        conflicts_with = "file"
    )]
    limit: u64,
    /// For each field: what gave it, what was tried before, what was omitted and why, which
    /// mapping stands over it.
    #[arg(long)]
    explain: bool,
    /// Which fields this other config would have made otherwise, and how many events would
    /// have died under each.
    #[arg(long, value_name = "OLD.toml", conflicts_with = "explain")]
    compare: Option<PathBuf>,
    #[allow(rustdoc::broken_intra_doc_links, reason = "a table of the config")]
    /// Try one more [[mappings]] without writing it, like
    /// properties.total=properties.value.
    #[arg(long, value_name = "SRC=DST", value_parser = pair)]
    map: Vec<(String, String)>,
    #[allow(rustdoc::broken_intra_doc_links, reason = "a table of the config")]
    /// Try one more of [event_names] without writing it, like "Signed Up=signup".
    #[arg(long, value_name = "EVENT=NAME", value_parser = pair)]
    event_name: Vec<(String, String)>,
    /// With --explain or --compare: as JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Writes what would become of each line to stdout.
pub fn run(args: Args) -> Outcome {
    let mut config = config_of(&args.config)?;
    try_on(&mut config, &args);
    let transform = config.transform().or_exit(Exit::Config)?;
    let limit = usize::try_from(config.ingest.max_event_bytes).unwrap_or(usize::MAX);
    let now_seconds = Clock::system().now().div_euclid(1000);
    // An answer is a line of JSON, unless it is for people.
    let is_json = args.json || !(args.explain || args.compare.is_some());
    let mut output = buffered(is_json);
    let mut comparison = match &args.compare {
        Some(old) => Some((other(old)?, compare::Comparison::default())),
        None => None,
    };
    let mut tell = |line: &[u8], when: When| match &mut comparison {
        Some((old, comparison)) => {
            comparison.add(line, old, &transform, when);
            Ok(())
        }
        None if args.explain => explain::write(&mut output, line, &transform, when, args.json),
        None => lines::answer(&mut output, line, &transform, when),
    };
    let done = match args.from {
        Some(held) => {
            let client = daemon::Client::connect(&config.admin.socket)?;
            source::each(&client, held, args.limit, tell)?
        }
        None => {
            let (_name, mut input) = open(args.file.as_deref()).or_exit(Exit::Io)?;
            match args.compare.is_some() || args.explain {
                true => each(&mut input, limit, |line| tell(line, When::Now(now_seconds))),
                false => lines::lines(&mut input, &mut output, &transform, now_seconds, limit),
            }
        }
    };
    let done = done.and_then(|()| match comparison {
        Some((_, comparison)) => comparison.write(&mut output, args.json),
        None => output.flush(),
    });
    let name = args.file.as_deref().unwrap_or(Path::new("-"));
    done.with_context(|| format!("transforming {} failed", name.display()))
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// The config that is named has to be right. One that happens to be there need not: what of it can
/// be used is, and without its mappings if these cannot.
fn config_of(arg: &ConfigArg) -> Result<Config, Failure> {
    if arg.path().is_some() {
        return arg.load(process_env()).or_exit(Exit::Config);
    }
    let mut salvaged = arg.salvage()?;
    if salvaged.wrong.is_none()
        && let Err(wrong) = salvaged.config.transform()
    {
        salvaged.wrong = Some(wrong);
    }
    if salvaged.wrong.is_some() && salvaged.config.transform().is_err() {
        salvaged.config.mappings.clear();
        salvaged.config.event_names.clear();
        salvaged.tell("going on without its [[mappings]] and [event_names]");
    } else {
        salvaged.tell("going on with the rest of it");
    }
    Ok(salvaged.config)
}

fn open(file: Option<&Path>) -> anyhow::Result<(String, impl BufRead)> {
    let source = Source::open(file.unwrap_or(Path::new("-")))?;
    let name = source.name.clone();
    let text = source.text(Arc::default(), |said| say(&format!("pinrelay: {said}\n")));
    Ok((name, BufReader::with_capacity(1 << 16, text)))
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
