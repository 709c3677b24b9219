//! From a file and the environment to a config: in range, typed, and right together.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::ConfigError;
use super::instance::Instance;
use super::keys::{KEYS, Sections};
use super::raw::{Problem, Raw};
use super::settings::Config;
use super::token::{CREDENTIAL, DEFAULT_TOKEN_FILE, TOKEN_VARIABLE, TokenSources};
use crate::files;
use crate::secret::Token;

/// No config is larger, in bytes.
const LARGEST: u64 = 16 << 20;

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

/// As [`load`], or [`load_instance`] if there is one, of a file that may be broken: commands that
/// only ask the daemon need no more of it than where that is. With what is wrong, if anything is.
///
/// # Errors
/// [`ConfigError::Unreadable`] alone.
pub fn load_broken(
    path: Option<&Path>,
    instance: Option<&Instance>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<(Config, Option<ConfigError>), ConfigError> {
    let text = path.map(text_of).transpose()?;
    let (config, problems) = salvage(path.zip(text.as_deref()), env, instance);
    let wrong = (!problems.is_empty()).then_some(ConfigError::Invalid(problems));
    match (config, wrong) {
        (Some(config), wrong) => Ok((config, wrong)),
        // A default that means nothing is a bug, which a test finds.
        (None, wrong) => Err(wrong.unwrap_or(ConfigError::Invalid(Vec::new()))),
    }
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    files::read_text(file, LARGEST).map_err(|error| ConfigError::Unreadable {
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

pub(super) fn read_as(
    file: Option<(&Path, &str)>,
    env: impl Iterator<Item = (String, String)>,
    instance: Option<&Instance>,
) -> Result<Config, ConfigError> {
    match salvage(file, env, instance) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(ConfigError::Invalid(problems)),
    }
}

/// What of a config can be used, and everything that is wrong with it: defaults stand in for what
/// does not parse.
fn salvage(
    file: Option<(&Path, &str)>,
    env: impl Iterator<Item = (String, String)>,
    instance: Option<&Instance>,
) -> (Option<Config>, Vec<Problem>) {
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
    let sections = Sections::read(&mut raw);
    check_event_names(&mut raw);
    if let (Some(sections), false) = (&sections, raw.unparsed) {
        check_together(&mut raw, sections);
    }
    let mut problems = std::mem::take(&mut raw.problems);
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    let config = sections.map(|sections| Config {
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
        base_url_from: raw.place_of("pinterest", "base_url"),
        event_names: std::mem::take(&mut raw.event_names),
        mappings: std::mem::take(&mut raw.mappings),
        texts: raw.into_texts(),
        pinterest: sections.pinterest,
        ingest: sections.ingest,
        queue: sections.queue,
        delivery: sections.delivery,
        dead_letters: sections.dead_letters,
        user_data: sections.user_data,
        event_time: sections.event_time,
        custom_properties: sections.custom_properties,
        admin: sections.admin,
        metrics: sections.metrics,
        notify: sections.notify,
        log: sections.log,
    });
    (config, problems)
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
fn check_together(raw: &mut Raw, sections: &Sections) {
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
