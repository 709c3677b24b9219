//! Everything that is configured, and what follows from it alone.

use std::collections::BTreeSet;
use std::path::{self, PathBuf};

use super::database_url::UrlSources;
use super::error::ConfigError;
use super::keys::{
    Admin, Catalog, Consent, CustomProperties, DeadLetters, Delivery, Engine, EventTime, Ingest,
    Log, Metrics, Notify, Pinterest, Postgres, Queue, UserData,
};
use super::raw::{FilterEntry, Pair, Place, Problem, Texts};
use super::token::TokenSources;
use super::write_keys::{WriteKeyEntry, WriteKeySource};

/// Pinterest processes no more events of a batch in test mode.
const TEST_BATCH: u32 = 20;

/// Behind `queue.path` in test mode.
const TEST_FOLDER: &str = "-test";

/// Behind `postgres.schema` in test mode.
const TEST_SCHEMA: &str = "_test";

/// What is of no meaning while the queue is in a database.
const OF_A_FOLDER: [&str; 4] = ["path", "min_free", "machine_id_file", "generation_events"];

/// Everything the file and the environment say, in range and typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[pinterest]`
    pub pinterest: Pinterest,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[queue]`
    pub queue: Queue,
    /// `[postgres]`
    pub postgres: Postgres,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[dead_letters]`
    pub dead_letters: DeadLetters,
    /// `[user_data]`
    pub user_data: UserData,
    /// `[consent]`
    pub consent: Consent,
    /// `[catalog]`
    pub catalog: Catalog,
    /// `[event_time]`
    pub event_time: EventTime,
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
    /// `[[ingest.write_keys]]`, in the order of the file.
    pub write_key_entries: Vec<WriteKeyEntry>,
    /// `[event_names]`: from a track's event to its event_name, in the order of the file.
    pub event_names: Vec<Pair>,
    /// `[tag_names]`: from a track's event to its name in the Pinterest Tag, in the order of the file.
    pub tag_names: Vec<Pair>,
    /// `[[mappings]]`, in the order of the file.
    pub mappings: Vec<Pair>,
    /// `[[filters]]`, in the order of the file.
    pub filters: Vec<FilterEntry>,
    /// Where the access token may be.
    pub token: TokenSources,
    /// Where the database's URL may be.
    pub database: UrlSources,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where `pinterest.base_url` stands.
    pub base_url_from: Place,
    /// Where `ingest.http_socket` stands.
    pub http_socket_from: Place,
    /// What was set, as it was written.
    pub(super) texts: Texts,
    /// The keys whose values mean nothing, so that a default stands in.
    pub(super) unusable: BTreeSet<(&'static str, &'static str)>,
}

/// What a daemon cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Required<'a> {
    /// `[pinterest] ad_account_id`
    pub ad_account_id: &'a str,
    /// `[pinterest] app_name`
    pub app_name: &'a str,
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

    pub(super) fn missing(&self, name: &str) -> Problem {
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

    /// The schema of the database that the queue is in with engine = "postgres". Test mode has one of
    /// its own.
    pub fn queue_schema(&self) -> String {
        let schema = &self.postgres.schema;
        match self.pinterest.test {
            true => format!("{schema}{TEST_SCHEMA}"),
            false => schema.clone(),
        }
    }

    /// The keys that somebody set and that mean nothing under the engine that is set, as
    /// `section.name`.
    pub fn unused_queue_keys(&self) -> Vec<String> {
        let is_idle = |section: &str, name: &str| match self.queue.engine {
            Engine::Sled => section == "postgres",
            Engine::Postgres => section == "queue" && OF_A_FOLDER.contains(&name),
        };
        let set = self.texts.iter();
        let set = set.filter(|(_, (_, place))| *place != Place::Nowhere);
        set.filter(|((section, name), _)| is_idle(section, name))
            .map(|((section, name), _)| format!("{section}.{name}"))
            .collect()
    }

    /// Whether both keep their events in the same place.
    pub fn has_queue_of(&self, other: &Self) -> bool {
        match (self.queue.engine, other.queue.engine) {
            (Engine::Sled, Engine::Sled) => self.queue_folder() == other.queue_folder(),
            (Engine::Postgres, Engine::Postgres) => {
                self.database == other.database && self.queue_schema() == other.queue_schema()
            }
            _ => false,
        }
    }

    /// The queue's folder with engine = "sled", from `/` on. Test mode has one of its own beside it, so that going live starts
    /// with no event and no messageId of the test.
    pub fn queue_folder(&self) -> PathBuf {
        // A name alone has no folder that it could be looked for in.
        let path = &path::absolute(&self.queue.path).unwrap_or_else(|_| self.queue.path.clone());
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

    /// The keys whose paths do not begin at `/`, as `section.name`.
    pub fn relative_paths(&self) -> Vec<&'static str> {
        let (ingest, pinterest) = (&self.ingest, &self.pinterest);
        let in_a_folder = self.queue.engine == Engine::Sled;
        let paths = [
            ("pinterest.token_file", pinterest.token_file.as_ref()),
            ("ingest.socket", Some(&ingest.socket)),
            ("ingest.http_socket", ingest.http_socket.as_ref()),
            ("ingest.http_tls_cert", ingest.http_tls_cert.as_ref()),
            ("ingest.http_tls_key", ingest.http_tls_key.as_ref()),
            ("queue.path", in_a_folder.then_some(&self.queue.path)),
            (
                "queue.machine_id_file",
                in_a_folder.then_some(&self.queue.machine_id_file),
            ),
            ("postgres.url_file", self.postgres.url_file.as_ref()),
            ("postgres.ca_file", self.postgres.ca_file.as_ref()),
            ("admin.socket", Some(&self.admin.socket)),
            (
                "notify.webhook_url_file",
                self.notify.webhook_url_file.as_ref(),
            ),
        ];
        let relative = |path: Option<&PathBuf>| path.is_some_and(|path| path.is_relative());
        let named = paths.into_iter().filter(|(_, path)| relative(*path));
        let is_relative_file = |entry: &WriteKeyEntry| matches!(&entry.source, WriteKeySource::File(file) if file.is_relative());
        let key_files = self.write_key_entries.iter().any(is_relative_file);
        named
            .map(|(key, _)| key)
            .chain(key_files.then_some("ingest.write_keys"))
            .collect()
    }

    /// Events of one request, test mode considered.
    pub fn max_batch_events(&self) -> u32 {
        match self.pinterest.test {
            true => self.delivery.max_batch_events.min(TEST_BATCH),
            false => self.delivery.max_batch_events,
        }
    }
}
