//! Flags of `pinrelay init`.

use std::path::PathBuf;

use crate::cli::config_arg::ConfigArg;

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
    pub(super) config: ConfigArg,
    /// The Pinterest ad account: 1 to 18 digits.
    #[arg(long, value_name = "DIGITS")]
    pub(super) ad_account_id: Option<String>,
    #[allow(rustdoc::invalid_html_tags, reason = "no tag, but a place for a name")]
    /// Sent as partner_name, by convention "ss-<name>" or "direct".
    #[arg(long, value_name = "NAME")]
    pub(super) app_name: Option<String>,
    /// Where to read the conversion access token from; `-` is stdin. Without it, it is asked
    /// for and not shown.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The Pinterest Tag that runs beside this: none, chord, or custom.
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Option<String>,
    /// Categories of consent without which no event is sent, with commas between them; "": none.
    #[arg(long, value_name = "CATEGORIES")]
    pub(super) consent: Option<String>,
    /// The keys of a product that hold its id in the catalogue, with commas between them: the first
    /// that is there counts.
    #[arg(long, value_name = "KEYS")]
    pub(super) content_id: Option<String>,
    /// Ask nothing: what is missing is an error, but for --tag, --consent and --content-id, which
    /// have defaults.
    #[arg(long)]
    pub(super) non_interactive: bool,
    /// Replace files that are there; they are kept with .bak at the end.
    #[arg(long)]
    pub(super) force: bool,
    /// Do not send the test event.
    #[arg(long)]
    pub(super) offline: bool,
}
