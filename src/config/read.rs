//! From a file and the environment to a config: in range, typed, and right together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::database_url::{URL_CREDENTIAL, URL_VARIABLE, UrlSources};
use super::error::ConfigError;
use super::instance::Instance;
use super::keys::{Engine, KEYS, Sections, TagKind};
use super::raw::{Pair, Place, Problem, Raw};
use super::settings::Config;
use super::token::{CREDENTIAL, DEFAULT_TOKEN_FILE, TOKEN_VARIABLE, TokenSources};
use super::write_keys::{self, WriteKeyEntry};
use crate::files;
use crate::net::LONGEST_PATH;
use crate::secret::Token;

/// No config is larger, in bytes.
const LARGEST: u64 = 16 << 20;
/// The name of the HTTP socket where nothing else is said.
const HTTP_SOCKET: &str = "http.sock";

/// Reads the file, if one is named, and lays `env` over it: `PINRELAY_<SECTION>__<KEY>` for
/// every scalar key. `CREDENTIALS_DIRECTORY`, `PINRELAY_TOKEN` and `PINRELAY_DB_URL` are remembered
/// as sources of the token and of the database's URL; every other variable is none of ours.
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
    let (mut credentials, mut variable, mut database) = (None, None, None);
    for (name, value) in env {
        match name.as_str() {
            _ if is_no_text(&name, &value) => {
                let what = "its value is not UTF-8, and would name something else: set it anew";
                raw.problem(Place::Variable(name), what.into());
            }
            "CREDENTIALS_DIRECTORY" => credentials = Some(Path::new(&value).to_owned()),
            TOKEN_VARIABLE => variable = Some(Token::new(value)),
            URL_VARIABLE => database = Some(Token::new(value)),
            _ => raw.variable(&name, value),
        }
    }
    for (section, name, text) in instance.into_iter().flat_map(Instance::defaults) {
        raw.fallback(section, name, text);
    }
    let http_socket_from = raw.place_of("ingest", "http_socket");
    beside_the_ingest_socket(&mut raw);
    let sections = Sections::read(&mut raw);
    let event_names = std::mem::take(&mut raw.event_names);
    let event_names = distinct(&mut raw, event_names);
    let tag_names = std::mem::take(&mut raw.tag_names);
    let tag_names = distinct(&mut raw, tag_names);
    let write_keys = write_keys::entries(&mut raw);
    if let (Some(sections), false) = (&sections, raw.unparsed) {
        check_together(&mut raw, sections);
        check_http(&mut raw, sections, &write_keys);
        check_tag(&mut raw, sections, &tag_names);
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
            credential: credentials.as_ref().map(|folder| folder.join(CREDENTIAL)),
            variable,
        },
        database: UrlSources {
            explicit: sections.postgres.url_file.clone(),
            credential: credentials.map(|folder| folder.join(URL_CREDENTIAL)),
            variable: database,
        },
        file: file.map(|(path, _)| path.to_owned()),
        base_url_from: raw.place_of("pinterest", "base_url"),
        http_socket_from,
        write_key_entries: write_keys,
        event_names,
        tag_names,
        mappings: std::mem::take(&mut raw.mappings),
        filters: std::mem::take(&mut raw.filters),
        unusable: std::mem::take(&mut raw.unusable),
        texts: raw.into_texts(),
        pinterest: sections.pinterest,
        ingest: sections.ingest,
        queue: sections.queue,
        postgres: sections.postgres,
        delivery: sections.delivery,
        dead_letters: sections.dead_letters,
        user_data: sections.user_data,
        consent: sections.consent,
        catalog: sections.catalog,
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
        // What is not UTF-8 shows by its U+FFFD, and is refused where it is read.
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("PINRELAY_") || name == "CREDENTIALS_DIRECTORY";
        ours.then(|| (name, value.to_string_lossy().into_owned()))
    })
}

/// Whether a variable of ours was no UTF-8. The token has a check of its own.
fn is_no_text(name: &str, value: &str) -> bool {
    let ours = name.contains("__") || name == "CREDENTIALS_DIRECTORY";
    ours && value.contains(char::REPLACEMENT_CHARACTER)
}

/// Two names that match the same events would leave it open which counts.
fn distinct(raw: &mut Raw, pairs: Vec<Pair>) -> Vec<Pair> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut kept = Vec::new();
    for pair in pairs {
        match seen.insert(pair.from.trim().to_lowercase(), pair.from.clone()) {
            Some(other) => raw.problem(
                pair.place,
                format!(
                    "`{}` matches the same events as `{other}`: case and blanks around do not \
                     count; keep one",
                    pair.from
                ),
            ),
            None => kept.push(pair),
        }
    }
    kept
}

/// Names of a Tag that has its own, or that nobody runs, would say nothing and seem to.
fn check_tag(raw: &mut Raw, sections: &Sections, tag_names: &[Pair]) {
    if let (Some(first), false) = (tag_names.first(), sections.pinterest.tag == TagKind::Custom) {
        raw.problem(
            first.place.clone(),
            "[tag_names] is for another Tag than Chord's: set tag = \"custom\" in [pinterest], or \
             remove it"
                .into(),
        );
    }
}

/// Where the ingest socket was moved to there is a folder that the daemon may use; where it is by
/// default there need not be.
fn beside_the_ingest_socket(raw: &mut Raw) {
    if let Some(socket) = raw.text_of("ingest", "socket") {
        let beside = Path::new(socket).with_file_name(HTTP_SOCKET);
        raw.fallback("ingest", "http_socket", beside.display().to_string());
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
    if sections.queue.engine == Engine::Postgres && !cfg!(feature = "postgres") {
        raw.problem(
            raw.place_of("queue", "engine"),
            "`engine` is \"postgres\", and this pinrelay was built without it (cargo feature \
             `postgres`): take another build, or set \"sled\""
                .into(),
        );
    }
    check_socket_paths(raw, sections);
    if sections.ingest.socket == sections.admin.socket {
        raw.problem(
            raw.place_of("admin", "socket"),
            "`socket` is the same file in [ingest] and [admin]".into(),
        );
    }
}

/// No socket has so long a path. An HTTP socket that nobody asked for is done without.
fn check_socket_paths(raw: &mut Raw, sections: &Sections) {
    let http = sections.ingest.http_socket.as_ref();
    let http = http.filter(|_| raw.place_of("ingest", "http_socket") != Place::Nowhere);
    let sockets = [
        ("ingest", "socket", Some(&sections.ingest.socket)),
        ("ingest", "http_socket", http),
        ("admin", "socket", Some(&sections.admin.socket)),
    ];
    for (section, name, path) in sockets {
        let length = path.map_or(0, |path| path.as_os_str().len());
        if length > LONGEST_PATH {
            raw.problem(
                raw.place_of(section, name),
                format!(
                    "`{name}` in [{section}] has {length} bytes, and the path of a socket at most \
                     {LONGEST_PATH}: choose a shorter one"
                ),
            );
        }
    }
}

/// The same of HTTP.
fn check_http(raw: &mut Raw, sections: &Sections, write_keys: &[WriteKeyEntry]) {
    let ingest = &sections.ingest;
    for (section, other) in [
        ("ingest", &ingest.socket),
        ("admin", &sections.admin.socket),
    ] {
        if ingest.http_socket.as_ref() == Some(other) {
            raw.problem(
                raw.place_of("ingest", "http_socket"),
                format!("`http_socket` is the same file as `socket` in [{section}]"),
            );
        }
    }
    let alone = match (&ingest.http_tls_cert, &ingest.http_tls_key) {
        (Some(_), None) => Some(("http_tls_cert", "http_tls_key")),
        (None, Some(_)) => Some(("http_tls_key", "http_tls_cert")),
        _ => None,
    };
    if let Some((name, missing)) = alone {
        raw.problem(
            raw.place_of("ingest", name),
            format!("`{name}` is of no use without `{missing}`: set both, or neither"),
        );
    }
    let Some(address) = ingest.http_listen else {
        return;
    };
    let place = raw.place_of("ingest", "http_listen");
    if let Some(why) = write_keys::refused(address, ingest, write_keys.len()) {
        raw.problem(place.clone(), format!("`http_listen`: {why}"));
    }
    if sections
        .metrics
        .listen
        .is_some_and(|metrics| is_same(address, metrics))
    {
        raw.problem(
            place,
            "`http_listen` is the port of `listen` in [metrics]: choose another".into(),
        );
    }
}

/// Whether only one of two listeners can have its address. Of port 0 each gets another.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = a == b || a.is_unspecified() || b.is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}
