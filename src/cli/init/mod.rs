//! `pinrelay init`: from nothing to a config and a token that Pinterest takes.
//!
//! `args` are the flags; `ask` gets the answers, from people or from flags; `files` writes them
//! with the right owners and modes.

use std::io::Write;
use std::path::Path;

use super::check;
use super::config_arg::{ConfigArg, DEFAULT_CONFIG};
use super::exit::{Exit, OrExit, Outcome};
use super::text::out;

mod args;
mod ask;
mod files;

pub use args::Args;

/// Asks, writes, checks, and says what to do next.
pub fn run(args: Args) -> Outcome {
    let config = args.config.path().unwrap_or_else(|| DEFAULT_CONFIG.into());
    let token = match &args.config.instance {
        Some(instance) => config.with_file_name(format!("{}.token", instance.name())),
        None => config.with_file_name("token"),
    };
    files::refuse_unwritable(&token)?;
    files::refuse_existing(&[&config, &token], args.force)?;
    let answers = ask::answers(&args)?;
    let base_url = std::env::var("PINRELAY_PINTEREST__BASE_URL").ok();
    files::write(&config, &token, &answers, base_url.as_deref())?;

    let mut out = out(false);
    writeln!(out, "wrote {} and {}\n", config.display(), token.display()).or_exit(Exit::Io)?;
    let written = match args.config.instance {
        Some(_) => args.config.clone(),
        None => ConfigArg::of(&config),
    };
    let checked = check::findings(&written, !args.offline);
    let wrong = check::print(&checked).or_exit(Exit::Io)?;
    if wrong > 0 {
        return Ok(Exit::Config);
    }
    let (unit, instance) = match &args.config.instance {
        Some(of) => (
            format!("pinrelay@{}", of.name()),
            format!(" --instance {}", of.name()),
        ),
        None if config == Path::new(DEFAULT_CONFIG) => ("pinrelay".to_owned(), String::new()),
        None => (
            "pinrelay".to_owned(),
            format!(" --config {}", config.display()),
        ),
    };
    writeln!(
        out,
        "\nBefore you start: switch off every other sender of the same events (an older \
         integration, another CDP's destination). With two of them Pinterest counts each sale \
         twice. If the Pinterest Tag runs too, its event_id has to be the same messageId.\n\n\
         Next:\n  \
         systemctl enable --now {unit}.socket {unit}.service\n  \
         pinrelay send --follow{instance} events.ndjson"
    )
    .or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}
