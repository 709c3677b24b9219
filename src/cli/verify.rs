//! `pinrelay verify`: whether the queue holds what it promised.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args as ClapArgs;

use super::config_arg::ConfigArg;
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::stdout::Stdout;
use super::text::{out, say};
use super::{daemon, offline};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, process_env};
use crate::queue::{self, OpenError, Verdict};

/// How long a running daemon may take to read its whole queue.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Flags of `pinrelay verify`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Exit codes: 0 the queue holds what it promised · 65 it does not, each finding is named · \
69 --repair while the daemon runs · 74 it cannot be read · 78 a newer pinrelay wrote it

Examples:
  pinrelay verify
  systemctl stop pinrelay.socket pinrelay && pinrelay verify --repair")]
pub struct Args {
    /// Which config file; it says where the queue and the admin socket are.
    #[command(flatten)]
    config: ConfigArg,
    /// The queue's folder, instead of the config's; not where the queue is in a database.
    #[arg(long, value_name = "DIR")]
    queue: Option<PathBuf>,
    /// Move what is damaged to the queue's quarantine/ folder, settle its events as set aside,
    /// keep everything else. Deletes nothing. The daemon has to be stopped.
    #[arg(long)]
    repair: bool,
    /// Only print where the queue is, by the config; nothing is opened.
    #[arg(long = "where", conflicts_with_all = ["repair", "json"])]
    place: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Checks the folder, or asks the daemon that runs on it.
pub fn run(args: Args) -> Outcome {
    let config = match (args.config.load(process_env()), &args.queue) {
        (Ok(config), _) => config,
        // The folder is named: a mistake in the file must not stand before it.
        (Err(ConfigError::Invalid(_) | ConfigError::Unreadable { .. }), Some(queue)) => {
            let salvaged = args.config.salvage()?;
            salvaged.tell(&format!("reading {}", queue.display()));
            salvaged.config
        }
        (Err(error), _) => return Err(error).or_exit(Exit::Config),
    };
    let root = offline::folder(&config, args.queue)?;
    if args.place {
        let shown = match &root {
            Some(root) => root.as_os_str().as_encoded_bytes().to_vec(),
            None => in_a_database(&config)?.into_bytes(),
        };
        let line = [&shown[..], b"\n"].concat();
        Stdout::of_an_answer().write_all(&line).or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    if let Some(root) = &root {
        offline::become_owner_of(root)?;
    }
    let shows = io::stderr().is_terminal();
    let mut tell = |what: &str| {
        if shows {
            say(&format!("reading {what}\n"));
        }
    };
    offline::log_to_stderr();
    let failed = Arc::new(|why: &str| say(&format!("pinrelay: storage failed: {why}\n")));
    let machine_id = config.machine_id().or_exit(Exit::Config)?;
    let options = (config.queue_options(machine_id, failed)).or_exit(Exit::Config)?;
    let options = match root {
        Some(root) => options.in_folder(root),
        None => options,
    };
    let clock = Clock::system();
    if args.repair {
        let (before, after) = queue::repair(&options, clock, &mut tell).map_err(failure)?;
        if !args.json && !before.findings.is_empty() {
            print(&before, false)?;
            writeln!(out(false), "after the repair:").or_exit(Exit::Io)?;
        }
        return print(&after, args.json);
    }
    match queue::verify(&options, &clock, &mut tell) {
        Ok(verdict) => print(&verdict, args.json),
        Err(OpenError::InUse(_)) => {
            let answer = daemon::Client::connect(&config.admin.socket)?.get("/verify", PATIENCE)?;
            let verdict = serde_json::from_str(&answer).or_exit(Exit::Io)?;
            print(&verdict, args.json)
        }
        Err(error) => Err(failure(error)),
    }
}

/// Where that is. The URL is read, and nothing is connected to.
fn in_a_database(config: &Config) -> Result<String, Failure> {
    let options = config.queue_options(None, Arc::new(|_| {}));
    let storage = options.or_exit(Exit::Config)?.storage;
    let shown = storage.shown().map_err(|why| anyhow!(why));
    shown.or_exit(Exit::Config)
}

/// The exit code of a queue that cannot be opened.
pub(super) fn failure(error: OpenError) -> Failure {
    let exit = match error {
        OpenError::InUse(_) => Exit::Unavailable,
        OpenError::Newer(_) | OpenError::Foreign(_) => Exit::Config,
        OpenError::Damaged(_) | OpenError::Io(_) | OpenError::GivenUp(_) => Exit::Io,
    };
    Failure {
        exit,
        error: anyhow!(error),
    }
}

fn print(verdict: &Verdict, json: bool) -> Outcome {
    let mut out = out(json);
    match json {
        true => writeln!(out, "{}", verdict.to_json()),
        false => write!(out, "{verdict}"),
    }
    .or_exit(Exit::Io)?;
    Ok(match verdict.findings.is_empty() {
        true => Exit::Ok,
        false => Exit::Data,
    })
}
