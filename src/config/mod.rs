//! The configuration: one TOML file, with environment variables over it.
//!
//! `keys` is the table of every scalar key, `key` one row of it; `raw` reads file and environment into texts with
//! places; `values` and `units` give the texts their types; `token` finds the secret; `options`
//! hands each part what it has to know; `changes` compares two; `instance` is for several daemons.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod changes;
mod instance;
mod key;
mod keys;
mod options;
mod raw;
#[cfg(test)]
mod tests;
mod token;
mod units;
mod values;

pub use instance::Instance;
pub use key::Key;
pub use keys::{
    Admin, CustomProperties, DeadLetters, Delivery, Ingest, KEYS, Log, Metrics, Notify, Pinterest,
    Queue, UserData,
};
pub use raw::{Pair, Place, Problem};
pub use token::{
    CREDENTIAL, DEFAULT_TOKEN_FILE, FoundToken, TOKEN_VARIABLE, TokenError, TokenSource,
    TokenSources,
};
pub use units::{duration as parse_duration, show_duration, show_size};
pub use values::{BaseUrl, Kind};
pub use values::{ad_account_id as parse_ad_account_id, app_name as parse_app_name};

use crate::secret::Token;
use raw::Raw;

/// Pinterest processes no more events of a batch in test mode.
const TEST_BATCH: u32 = 20;

/// Behind `queue.path` in test mode.
const TEST_FOLDER: &str = "-test";

/// Everything the file and the environment say, in range and typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[pinterest]`
    pub pinterest: Pinterest,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[queue]`
    pub queue: Queue,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[dead_letters]`
    pub dead_letters: DeadLetters,
    /// `[user_data]`
    pub user_data: UserData,
    /// `[custom_properties]`
    pub custom_properties: CustomProperties,
    /// `[admin]`
    pub admin: Admin,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[notify]`
    pub notify: Notify,
    /// `[log]`
    pub log: Log,
    /// `[event_names]`: from a track's event to its event_name, in the order of the file.
    pub event_names: Vec<Pair>,
    /// `[[mappings]]`, in the order of the file.
    pub mappings: Vec<Pair>,
    /// Where the access token may be.
    pub token: TokenSources,
    /// The file that was read.
    pub file: Option<PathBuf>,
    texts: BTreeMap<(&'static str, &'static str), String>,
}

/// What a daemon cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Required<'a> {
    /// `[pinterest] ad_account_id`
    pub ad_account_id: &'a str,
    /// `[pinterest] app_name`
    pub app_name: &'a str,
}

/// Why there is no config. Its text has a line per problem, with file and line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {error}; name another with --config", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// All that is wrong in it.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Reads the file, if one is named, and lays `env` over it: `PINRELAY_<SECTION>__<KEY>` for
/// every scalar key. `CREDENTIALS_DIRECTORY` and `PINRELAY_TOKEN` are remembered as sources of
/// the token; every other variable is none of ours.
///
/// # Errors
/// Every problem at once, each with its place.
pub fn load(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let Some(path) = path else {
        return read(None, env);
    };
    let text = text_of(path)?;
    read(Some((path, &text)), env)
}

/// As [`load`], of this instance: its file has to be there.
///
/// # Errors
/// Those of [`load`].
pub fn load_instance(
    instance: &Instance,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let file = instance.file();
    let text = text_of(&file)?;
    read_as(Some((&file, &text)), env, Some(instance))
}

/// As [`load`], of a file that belongs to another instance than this process's: no variable of
/// this environment is meant for it.
///
/// # Errors
/// Those of [`load`].
pub fn load_other(file: &Path) -> Result<Config, ConfigError> {
    let text = text_of(file)?;
    let instance = Instance::of_file(file);
    read_as(Some((file, &text)), std::iter::empty(), instance.as_ref())
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| ConfigError::Unreadable {
        file: file.to_owned(),
        error,
    })
}

/// As [`load`], of a file's text that is at hand.
pub(crate) fn read(
    file: Option<(&Path, &str)>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    read_as(file, env, None)
}

fn read_as(
    file: Option<(&Path, &str)>,
    env: impl Iterator<Item = (String, String)>,
    instance: Option<&Instance>,
) -> Result<Config, ConfigError> {
    let mut raw = Raw::new(KEYS);
    if let Some((path, text)) = file {
        raw.file(path, text);
    }
    let (mut credential, mut variable) = (None, None);
    for (name, value) in env {
        match name.as_str() {
            "CREDENTIALS_DIRECTORY" => credential = Some(Path::new(&value).join(CREDENTIAL)),
            TOKEN_VARIABLE => variable = Some(Token::new(value)),
            _ => raw.variable(&name, value),
        }
    }
    for (section, name, text) in instance.into_iter().flat_map(Instance::defaults) {
        raw.fallback(section, name, text);
    }
    let sections = keys::Sections::read(&mut raw);
    check_event_names(&mut raw);
    if let Some(sections) = &sections {
        check_together(&mut raw, sections);
    }
    let sections = match sections {
        Some(sections) if raw.problems.is_empty() => sections,
        _ => {
            raw.problems.sort_by(|a, b| a.place.cmp(&b.place));
            return Err(ConfigError::Invalid(raw.problems));
        }
    };
    Ok(Config {
        token: TokenSources {
            explicit: sections.pinterest.token_file.clone(),
            default_file: match instance {
                Some(instance) => instance.token_file(),
                None => DEFAULT_TOKEN_FILE.into(),
            },
            credential,
            variable,
        },
        file: file.map(|(path, _)| path.to_owned()),
        event_names: std::mem::take(&mut raw.event_names),
        mappings: std::mem::take(&mut raw.mappings),
        texts: raw.into_texts(),
        pinterest: sections.pinterest,
        ingest: sections.ingest,
        queue: sections.queue,
        delivery: sections.delivery,
        dead_letters: sections.dead_letters,
        user_data: sections.user_data,
        custom_properties: sections.custom_properties,
        admin: sections.admin,
        metrics: sections.metrics,
        notify: sections.notify,
        log: sections.log,
    })
}

/// The environment variables of this process that a config looks at.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let ours = name.starts_with("PINRELAY_") || name == "CREDENTIALS_DIRECTORY";
        // What is not UTF-8 is no value of ours and fails where it is read.
        ours.then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// Two names that match the same events would leave it open which counts.
fn check_event_names(raw: &mut Raw) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for pair in std::mem::take(&mut raw.event_names) {
        match seen.insert(pair.from.trim().to_lowercase(), pair.from.clone()) {
            Some(other) => raw.problem(
                pair.place,
                format!(
                    "`{}` matches the same events as `{other}`: case and blanks around do not \
                     count; keep one",
                    pair.from
                ),
            ),
            None => raw.event_names.push(pair),
        }
    }
}

/// What only two keys together can get wrong.
fn check_together(raw: &mut Raw, sections: &keys::Sections) {
    if sections.delivery.backoff_initial > sections.delivery.backoff_max {
        raw.problem(
            raw.place_of("delivery", "backoff_initial"),
            "`backoff_initial` is longer than `backoff_max`".into(),
        );
    }
    if sections.ingest.socket == sections.admin.socket {
        raw.problem(
            raw.place_of("admin", "socket"),
            "`socket` is the same file in [ingest] and [admin]".into(),
        );
    }
}

impl Config {
    /// What `run` needs beyond the defaults; other commands do without.
    ///
    /// # Errors
    /// The missing keys, each with the two ways to set it.
    pub fn require_run(&self) -> Result<Required<'_>, ConfigError> {
        let pinterest = &self.pinterest;
        match (&pinterest.ad_account_id, &pinterest.app_name) {
            (Some(ad_account_id), Some(app_name)) => Ok(Required {
                ad_account_id,
                app_name,
            }),
            (id, name) => {
                let missing = [
                    ("ad_account_id", id.is_none()),
                    ("app_name", name.is_none()),
                ];
                let missing = missing.into_iter().filter(|(_, missing)| *missing);
                Err(ConfigError::Invalid(
                    missing.map(|(name, _)| self.missing(name)).collect(),
                ))
            }
        }
    }

    fn missing(&self, name: &str) -> Problem {
        let file = match &self.file {
            Some(file) => format!("[pinterest] of {}", file.display()),
            None => "[pinterest] of the configuration file".to_owned(),
        };
        let variable = name.to_ascii_uppercase();
        Problem {
            place: Place::Nowhere,
            message: format!(
                "`{name}` is not set: write it under {file}, or set PINRELAY_PINTEREST__{variable}"
            ),
        }
    }

    /// The queue's folder. Test mode has one of its own beside it, so that going live starts
    /// with no event and no messageId of the test.
    pub fn queue_folder(&self) -> PathBuf {
        let path = &self.queue.path;
        match self.pinterest.test {
            true => {
                // A slash at the end is no part of the name.
                let mut folder = path.components().as_path().as_os_str().to_owned();
                folder.push(TEST_FOLDER);
                folder.into()
            }
            false => path.clone(),
        }
    }

    /// Events of one request, test mode considered.
    pub fn max_batch_events(&self) -> u32 {
        match self.pinterest.test {
            true => self.delivery.max_batch_events.min(TEST_BATCH),
            false => self.delivery.max_batch_events,
        }
    }
}
