//! `pinrelay init`: from nothing to a config and a token that Pinterest takes.
//!
//! `ask` gets the answers, from people or from flags; `files` writes them with the right owners
//! and modes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::check;
use super::exit::{Exit, OrExit, Outcome};
use super::{ConfigArg, DEFAULT_CONFIG};

mod ask;
mod files;

/// Flags of `pinrelay init`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Asks for what is not given. Writes the config (0640) and, beside it, the token (0640), both of
group pinrelay where that group exists; then runs `pinrelay check --online`.

Exit codes: 0 Pinterest takes events under this config · 64 --non-interactive and something is \
missing · 73 a file is there already · 74 it cannot be written · 78 the check found something wrong

Examples:
  sudo pinrelay init
  sudo pinrelay init --non-interactive --ad-account-id 549755885175 --app-name ss-mystorefront \\
       --token-file - < token")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The Pinterest ad account: 1 to 18 digits.
    #[arg(long, value_name = "DIGITS")]
    ad_account_id: Option<String>,
    /// Sent as partner_name, by convention "ss-<name>" or "direct".
    #[arg(long, value_name = "NAME")]
    app_name: Option<String>,
    /// Where to read the conversion access token from; `-` is stdin. Without it, it is asked
    /// for and not shown.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Ask nothing: what is missing is an error.
    #[arg(long)]
    non_interactive: bool,
    /// Replace files that are there; they are kept with .bak at the end.
    #[arg(long)]
    force: bool,
    /// Do not send the test event.
    #[arg(long)]
    offline: bool,
}

/// What the config needs that nobody can guess.
struct Answers {
    ad_account_id: String,
    app_name: String,
    token: crate::secret::Token,
}

/// Asks, writes, checks, and says what to do next.
pub fn run(args: Args) -> Outcome {
    let config = args.config.path().unwrap_or_else(|| DEFAULT_CONFIG.into());
    let token = match &args.config.instance {
        Some(instance) => config.with_file_name(format!("{}.token", instance.name())),
        None => config.with_file_name("token"),
    };
    files::refuse_existing(&[&config, &token], args.force)?;
    let answers = ask::answers(&args)?;
    files::write(&config, &token, &answers)?;

    let mut out = io::stdout().lock();
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
