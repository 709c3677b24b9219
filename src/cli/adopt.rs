//! `pinrelay adopt`: take over a queue from another machine, or one restored from a copy.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args as ClapArgs;
use serde_json::json;

use super::config_arg::ConfigArg;
use super::exit::{Exit, OrExit, Outcome};
use super::text::{out, say};
use super::{offline, verify};
use crate::clock::Clock;
use crate::config::process_env;
use crate::queue;

/// Flags of `pinrelay adopt`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
What the copy does not know was delivered is in doubt from then on: it is sent again under its \
first event_id, which Pinterest recognises for 48 hours, and counted. The machine that the queue \
comes from must not send any more. The daemon has to be stopped; with the queue in a database it
is enough that none delivers from it.

Exit codes: 0 adopted · 69 a daemon runs on it · 74 it holds no queue, or cannot be opened · \
78 a newer pinrelay wrote it

Example:
  pinrelay adopt && systemctl start pinrelay")]
pub struct Args {
    /// Which config file; it says where the queue is.
    #[command(flatten)]
    config: ConfigArg,
    /// The queue's folder, instead of the config's; not where the queue is in a database.
    #[arg(long, value_name = "DIR")]
    queue: Option<PathBuf>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Opens the queue once as this machine's.
pub fn run(args: Args) -> Outcome {
    let config = args.config.load(process_env()).or_exit(Exit::Config)?;
    let root = offline::folder(&config, args.queue)?;
    if let Some(root) = &root {
        offline::become_owner_of(root)?;
    }
    offline::log_to_stderr();
    let failed = Arc::new(|why: &str| say(&format!("pinrelay: storage failed: {why}\n")));
    let machine_id = config.machine_id().or_exit(Exit::Config)?;
    let options = (config.queue_options(machine_id, failed)).or_exit(Exit::Config)?;
    let options = match root {
        Some(root) => options.in_folder(root),
        None => options,
    };
    let queue = queue::adopt(&options, Clock::system())
        .map_err(verify::failure)?
        .queue;
    let place = queue.place();
    let census = queue.census();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .or_exit(Exit::Io)?;
    runtime.block_on(queue.close()).or_exit(Exit::Io)?;
    let queued = census.queued + census.sending;
    let (in_doubt, dead) = (census.in_doubt, census.dead_total());
    if args.json {
        let account = json!({"queue": place, "queued": queued, "in_doubt": in_doubt, "dead": dead});
        writeln!(out(true), "{account}").or_exit(Exit::Io)?;
        return Ok(Exit::Ok);
    }
    writeln!(
        out(false),
        "adopted {place}: {queued} events queued, {in_doubt} of them in doubt, {dead} dead letters"
    )
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
