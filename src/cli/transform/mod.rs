//! `pinrelay transform`: what would become of each line, without sending or storing any.
//!
//! `source` reads what the daemon holds, `lines` an input; `trial` is one line and what it is tried
//! on. `lines` gives the payloads, `explain` where each field comes from, `compare` what another
//! config would change.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::config_arg::ConfigArg;
use super::daemon;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::letter_filter::FilterArgs;
use super::source::Source;
use super::text::{buffered, say};
use crate::clock::Clock;
use crate::config::{self, Config, Pair, Place, process_env};
use crate::deliver::AgeRules;
use crate::transform::Transform;

mod compare;
mod explain;
mod lines;
mod source;
mod trial;

use explain::Form;
use source::Held;
use trial::{Came, Trial};

/// Flags of `pinrelay transform`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Needs no daemon (but for --from), token or queue, and neither ad_account_id nor app_name. Prints \
personal data, the events' own; --compare does so with --full alone.

Exit codes: 0 whatever becomes of the events · 64 a filter without --from dead · 69 --from, and no \
daemon is there · 74 the input cannot be read · 78 the config is wrong

Examples:
  pinrelay transform events.ndjson
  pinrelay transform --explain events.ndjson
  pinrelay transform --explain --brief events.ndjson.gz
  pinrelay transform --explain --map properties.total=properties.value events.ndjson
  pinrelay transform --compare pinrelay.toml.old events.ndjson
  pinrelay transform --from dead --compare pinrelay.toml.old
  pinrelay transform --from dead --reason no_match_key --since 2h --explain --brief")]
pub struct Args {
    /// The events, one JSON object per line, gzip or not; `-` or nothing is stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// Take the running daemon's own events instead: those that wait, or its dead letters.
    #[arg(long, value_name = "WHICH", conflicts_with = "file")]
    from: Option<Held>,
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
    /// With --explain: only the fields that are sent, and the notes.
    #[arg(long, requires = "explain")]
    brief: bool,
    /// Which fields this other config would have made otherwise, before and after, and how many
    /// events would have died under each.
    #[arg(long, value_name = "OLD.toml", conflicts_with = "explain")]
    compare: Option<PathBuf>,
    /// With --compare: the values of all fields: personal data. Otherwise those that say nothing
    /// of a person, and the shape of the others.
    #[arg(long, requires = "compare")]
    full: bool,
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
    #[command(flatten, next_help_heading = "With --from dead, which letters")]
    filter: FilterArgs,
}

/// Writes what would become of each line to stdout.
pub fn run(args: Args) -> Outcome {
    if !args.filter.is_empty() && args.from != Some(Held::Dead) {
        return Err(anyhow!(
            "--reason, --event, --since, --until, --message and --id say which dead letters: they \
             go with --from dead"
        ))
        .or_exit(Exit::Usage);
    }
    let mut config = config_of(&args.config)?;
    try_on(&mut config, &args);
    let transform = config.transform().or_exit(Exit::Config)?;
    let now = Clock::system().now();
    let delivery = &config.delivery;
    let policy = config.policy().or_exit(Exit::Config)?;
    let trial = Trial {
        transform: &transform,
        policy: &policy,
        ages: &AgeRules::new(now, delivery.max_age, delivery.late_after, delivery.on_late),
        now_seconds: now.div_euclid(1000),
    };
    let mut comparison = match &args.compare {
        Some(old) => Some((other(old)?, compare::Comparison::new(args.full))),
        None => None,
    };
    // An answer is a line of JSON, unless it is for people.
    let is_json = args.json || !(args.explain || args.compare.is_some());
    let mut output = buffered(is_json);
    let form = Form {
        is_json: args.json,
        is_brief: args.brief,
    };
    let tell = |came: Came<'_>| match &mut comparison {
        Some((old, comparison)) => {
            comparison.add(old, &trial, came);
            Ok(())
        }
        None if args.explain => explain::write(&mut output, &trial, came, form),
        None => lines::answer(&mut output, &trial, came),
    };
    let (name, done) = each(&args, &config, &trial, tell)?;
    let done = done.and_then(|()| match comparison {
        Some((_, comparison)) => comparison.write(&mut output, args.json),
        None => output.flush(),
    });
    done.with_context(|| format!("transforming {name} failed"))
        .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// Hands every event to `tell`; what they are, in words, and what `tell` or the input failed with.
fn each(
    args: &Args,
    config: &Config,
    trial: &Trial<'_>,
    tell: impl FnMut(Came<'_>) -> io::Result<()>,
) -> Result<(String, io::Result<()>), Failure> {
    if let Some(held) = args.from {
        let client = daemon::Client::connect(&config.admin.socket)?;
        let done = source::each(&client, held, &args.filter, args.limit, tell)?;
        return Ok(("the daemon's events".to_owned(), done));
    }
    let limit = usize::try_from(config.ingest.max_event_bytes).unwrap_or(usize::MAX);
    let (name, input) = open(args.file.as_deref()).or_exit(Exit::Io)?;
    let done = lines::each(input, &name, trial.now_seconds, limit, tell);
    Ok((name, done))
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
