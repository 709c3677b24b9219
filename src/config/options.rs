//! Each part's options, out of the config: the one place where the two meet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::error::ConfigError;
use super::keys::{Engine, Ingest, Sources, TagKind};
use super::raw::{Pair, Place, Problem};
use super::settings::Config;
use super::write_keys::{self, WriteKey, WriteKeyError};
use crate::ingest::{HttpLimits, TlsFiles};
use crate::policy::{self, Policy};
use crate::queue;
use crate::{admin, deliver, files, ingest, notify, transform};

/// Descriptors that are never given to clients, beside one for each request in flight. Some
/// 30 are in use at once.
const OWN_FILES: u64 = 128;
/// No file of an id is larger, in bytes.
const LARGEST_ID: u64 = 4096;
/// Clients served at once, however many descriptors there are: each may come to hold 1 MiB.
const MAX_CONNECTIONS: u64 = 4096;

impl Config {
    /// For the transform.
    pub fn transform_options(&self) -> transform::Options {
        transform::Options {
            partner_name: self.pinterest.app_name.clone(),
            default_action_source: self.pinterest.default_action_source.to_owned(),
            default_currency: self.pinterest.default_currency.clone(),
            default_user_agent: self.user_data.default_user_agent.clone(),
            hashing: self.user_data.hashing,
            extended: self.user_data.sources == Sources::Extended,
            codes: self.user_data.codes,
            limited_states: self.consent.ldp_states.clone(),
            requires_sale: (self.consent.require.iter())
                .any(|category| category.trim().eq_ignore_ascii_case(policy::SALE_OF_DATA)),
            content_ids: self.catalog.content_id.clone(),
            unreadable_time: self.event_time.unreadable,
            event_names: names(&self.event_names),
            tag: match self.pinterest.tag {
                TagKind::None => transform::Tag::None,
                TagKind::Chord => transform::Tag::Chord,
                TagKind::Custom => transform::Tag::Custom(names(&self.tag_names)),
            },
            mappings: (self.mappings.iter())
                .map(|pair| transform::MappingRule {
                    source: pair.from.clone(),
                    destination: pair.to.clone(),
                })
                .collect(),
        }
    }

    /// The transform under this config.
    ///
    /// # Errors
    /// What `mapping.md` calls an error in the config, with the line it stands in.
    pub fn transform(&self) -> Result<transform::Transform, ConfigError> {
        transform::Transform::new(self.transform_options()).map_err(|error| {
            ConfigError::Invalid(vec![Problem {
                place: self.place_of(&error),
                message: error.to_string(),
            }])
        })
    }

    /// Consent and filters under this config.
    ///
    /// # Errors
    /// What is wrong with them, with the line it stands in.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let options = policy::Options {
            consent: policy::Consent {
                require: self.consent.require.clone(),
                missing: self.consent.missing,
            },
            filters: self
                .filters
                .iter()
                .map(|entry| entry.filter.clone())
                .collect(),
        };
        Policy::new(&options).map_err(|error| {
            let entry = self.filters.get(error.filter() - 1);
            ConfigError::Invalid(vec![Problem {
                place: entry.map_or(Place::Nowhere, |entry| entry.place.clone()),
                message: error.to_string(),
            }])
        })
    }

    /// Where the culprit stands in the file.
    fn place_of(&self, error: &transform::OptionsError) -> Place {
        use transform::OptionsError;
        let pair = match error {
            OptionsError::Source { number, .. }
            | OptionsError::Each { number, .. }
            | OptionsError::Destination { number, .. }
            | OptionsError::PersonDestination { number, .. }
            | OptionsError::RefusedDestination { number, .. } => {
                number.checked_sub(1).and_then(|i| self.mappings.get(i))
            }
            OptionsError::LimitedState { .. } => return self.place_of_key("consent", "ldp_states"),
            OptionsError::ContentId { .. } => return self.place_of_key("catalog", "content_id"),
            // Held to their values when the file was read.
            OptionsError::ActionSource(_)
            | OptionsError::Currency(_)
            | OptionsError::EmptyEventKey
            | OptionsError::EmptyEventName { .. }
            | OptionsError::SameEvent { .. } => None,
        };
        pair.map_or(Place::Nowhere, |pair| pair.place.clone())
    }

    /// Where a key was set.
    fn place_of_key(&self, section: &'static str, name: &'static str) -> Place {
        let set = self.texts.get(&(section, name));
        set.map_or(Place::Nowhere, |(_, place)| place.clone())
    }

    /// For the ingest side of a process that may open `open_files` files. Stores, HTTPS and
    /// the admin socket have their share before clients do: a queue that cannot open its files
    /// would be a storage error.
    pub fn ingest_options(&self, open_files: u64) -> ingest::Options {
        let ours = OWN_FILES + u64::from(self.delivery.max_in_flight);
        let left = open_files.saturating_sub(ours).max(open_files / 4);
        ingest::Options {
            max_event_bytes: self.ingest.max_event_bytes as usize,
            max_connections: left.clamp(1, MAX_CONNECTIONS) as usize,
        }
    }

    /// Who may send over HTTP: none where everybody may who reaches it. Reads the keys' files.
    ///
    /// # Errors
    /// [`WriteKeyError`]; its text never holds a key.
    pub fn write_keys(&self) -> Result<Vec<WriteKey>, WriteKeyError> {
        write_keys::read(&self.write_key_entries)
    }

    /// The files of the certificate for HTTP over TCP, if there is to be one.
    pub fn http_tls(&self) -> Option<TlsFiles> {
        let (cert, key) = (&self.ingest.http_tls_cert, &self.ingest.http_tls_key);
        let (cert, key) = cert.clone().zip(key.clone())?;
        Some(TlsFiles { cert, key })
    }

    /// What a request over HTTP may be, and what it may say.
    pub fn http_limits(&self) -> HttpLimits {
        HttpLimits {
            trust_forwarded: self.ingest.http_trust_forwarded,
            max_body: self.ingest.http_max_body as usize,
        }
    }

    /// Whether events may be taken on this TCP address: `http_listen`'s own has been judged, one
    /// that the service manager passes has not.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), String> {
        self.may_listen_as(address, &self.ingest)
    }

    /// The same of one that was opened under other settings, with the keys of this config.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_listen_as(&self, address: SocketAddr, opened: &Ingest) -> Result<(), String> {
        let keys = self.write_key_entries.len();
        write_keys::refused(address, opened, keys).map_or(Ok(()), Err)
    }

    /// The id of this machine; none where it has none, as in containers, and where the queue is on
    /// no machine of its own.
    ///
    /// # Errors
    /// [`ConfigError::MachineId`], if there is one that cannot be read.
    pub fn machine_id(&self) -> Result<Option<String>, ConfigError> {
        if self.queue.engine == Engine::Postgres {
            return Ok(None);
        }
        let file = &self.queue.machine_id_file;
        match files::read_text(file, LARGEST_ID) {
            // "uninitialized": not yet made, as systemd writes on a first boot.
            Ok(id) => {
                Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id != "uninitialized"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::MachineId {
                file: file.clone(),
                error,
            }),
        }
    }

    /// For the durable queue on the machine with this id; `on_failure` is told once when storage
    /// has failed. Reads the database's URL where the queue is in one.
    ///
    /// # Errors
    /// Of a queue in a database: its URL is missing, or the ad account.
    pub fn queue_options(
        &self,
        machine_id: Option<String>,
        on_failure: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<queue::Options, ConfigError> {
        let storage = match self.queue.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres => queue::Storage::Postgres(Box::new(self.queue_in_postgres()?)),
            // Refused when it was read, where there is no such engine.
            #[cfg(not(feature = "postgres"))]
            Engine::Postgres => return Err(ConfigError::Invalid(Vec::new())),
            Engine::Sled => queue::Storage::Folder(queue::Folder {
                path: self.queue_folder(),
                min_free: self.queue.min_free,
                roll_events: self.queue.generation_events.into(),
                machine_id,
            }),
        };
        Ok(queue::Options {
            dedup_window: self.queue.dedup_window,
            max_bytes: self.queue.max_bytes,
            dead_retention: self.dead_letters.retention,
            dead_max_bytes: self.dead_letters.max_bytes,
            destination_remembers: deliver::REMEMBERS,
            on_failure,
            ..queue::Options::new(storage)
        })
    }

    /// The database that the queue is in. Reads its URL.
    ///
    /// # Errors
    /// It is missing, or the ad account.
    #[cfg(feature = "postgres")]
    pub fn queue_in_postgres(&self) -> Result<queue::Postgres, ConfigError> {
        let Some(account) = &self.pinterest.ad_account_id else {
            return Err(ConfigError::Invalid(vec![self.missing("ad_account_id")]));
        };
        self.queue_in_postgres_of(account.clone())
    }

    /// The same of this ad account.
    ///
    /// # Errors
    /// The URL is missing.
    #[cfg(feature = "postgres")]
    pub fn queue_in_postgres_of(&self, account: String) -> Result<queue::Postgres, ConfigError> {
        let (keys, url) = (&self.postgres, self.database.read()?.url);
        Ok(queue::Postgres {
            ca_file: keys.ca_file.clone(),
            durability: queue::Durability::named(keys.durability),
            lease: keys.lease,
            is_test: self.pinterest.test,
            ..queue::Postgres::new(url, self.queue_schema(), account)
        })
    }

    /// Where events go, and by whose word.
    pub fn destination(&self) -> admin::Destination {
        let base_url = self.pinterest.base_url.as_str();
        let account = self.pinterest.ad_account_id.clone().unwrap_or_default();
        let test = if self.pinterest.test {
            "?test=true"
        } else {
            ""
        };
        admin::Destination {
            url: format!(
                "{}/ad_accounts/{account}/events{test}",
                base_url.trim_end_matches('/')
            ),
            ad_account_id: account,
            // Whoever reads it is in another folder.
            config: self.file.as_ref().map(|file| {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                file.display().to_string()
            }),
            elsewhere: (!self.pinterest.base_url.is_pinterests())
                .then(|| self.base_url_from.to_string()),
        }
    }

    /// For the notifications.
    pub fn notify_options(&self) -> notify::Options {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let account = self
            .pinterest
            .ad_account_id
            .as_deref()
            .unwrap_or("without an ad account");
        notify::Options {
            webhook_url_file: self.notify.webhook_url_file.clone(),
            min_interval: self.notify.min_interval,
            backlog_age: self.notify.backlog_age,
            name: format!("{account} on {}", host.to_string_lossy()),
        }
    }

    /// For the delivery side of this ad account.
    pub fn delivery_options(&self, ad_account_id: &str) -> deliver::Options {
        deliver::Options {
            base_url: self.pinterest.base_url.as_str().to_owned(),
            ad_account_id: ad_account_id.to_owned(),
            test: self.pinterest.test,
            request_timeout: self.delivery.request_timeout,
            paused: None,
            limits: self.delivery_limits(),
        }
    }

    /// The part of the delivery side's options that a reload may change.
    pub fn delivery_limits(&self) -> deliver::Limits {
        let delivery = &self.delivery;
        deliver::Limits {
            max_batch_events: self.max_batch_events() as usize,
            max_batch_bytes: delivery.max_batch_bytes as usize,
            linger: delivery.linger,
            max_in_flight: delivery.max_in_flight as usize,
            max_age: delivery.max_age,
            max_calls_per_minute: delivery.max_calls_per_minute,
            backoff_initial: delivery.backoff_initial,
            backoff_max: delivery.backoff_max,
            on_refused: self.custom_properties.on_refused,
            late_after: delivery.late_after,
            on_late: delivery.on_late,
        }
    }
}

fn names(pairs: &[Pair]) -> Vec<(String, String)> {
    let of = |pair: &Pair| (pair.from.clone(), pair.to.clone());
    pairs.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::config::load;

    fn config(text: &str) -> (TempDir, PathBuf, Config) {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("pinrelay.toml");
        fs::write(&file, text).expect("a file");
        let config = load(Some(&file), std::iter::empty()).unwrap_or_else(|e| panic!("{e}"));
        (folder, file, config)
    }

    #[test]
    fn every_key_arrives() {
        let (_folder, _, config) = config(
            "[pinterest]\napp_name = \"ss-shop\"\ndefault_action_source = \"offline\"\n\
             default_currency = \"eur\"\n[user_data]\nhashing = \"sha256\"\n\
             default_user_agent = \"UA\"\n[event_names]\n\"B\" = \"b\"\n\"A\" = \"a\"\n\
             [[mappings]]\nsource = \"properties.x\"\ndestination = \"properties.y\"\n",
        );
        let options = config.transform_options();
        assert_eq!(options.partner_name.as_deref(), Some("ss-shop"));
        assert_eq!(options.default_action_source, "offline");
        assert_eq!(options.default_currency, "EUR");
        assert_eq!(options.default_user_agent, "UA");
        assert_eq!(options.hashing, transform::Hashing::Sha256);
        let names: Vec<_> = options
            .event_names
            .iter()
            .map(|(k, v)| (&k[..], &v[..]))
            .collect();
        assert_eq!(names, [("B", "b"), ("A", "a")]);
        assert_eq!(options.mappings[0].source, "properties.x");
        assert_eq!(options.mappings[0].destination, "properties.y");
        assert!(config.transform().is_ok());
    }

    #[test]
    fn without_keys_both_parts_agree_on_the_defaults() {
        let (_folder, _, config) = config("");
        let (ours, theirs) = (config.transform_options(), transform::Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn clients_leave_descriptors_for_the_rest() {
        let (_folder, _, config) = config("[delivery]\nmax_in_flight = 22\n");
        let most = |open_files| config.ingest_options(open_files).max_connections;
        assert_eq!(most(1024), 1024 - 150);
        assert_eq!(most(65_536), 4096);
        assert_eq!(most(u64::MAX), 4096);
        assert_eq!((most(160), most(40), most(0)), (40, 10, 1));
    }

    #[test]
    fn what_the_transform_refuses_is_named_with_its_line() {
        let good = "[[mappings]]\nsource = \"properties.x\"\ndestination = \"properties.y\"\n";
        let cases = [
            (
                format!(
                    "{good}[[mappings]]\nsource = \"properties.x\"\ndestination = \"properties.price\"\n"
                ),
                "properties.value",
            ),
            (
                format!(
                    "{good}[[mappings]]\nsource = \"properties..x\"\ndestination = \"properties.y\"\n"
                ),
                "dot path",
            ),
            (
                format!(
                    "{good}[[mappings]]\nsource = \"properties.x\"\ndestination = \"context.y\"\n"
                ),
                "properties.<key>",
            ),
        ];
        for (text, says) in cases {
            let (_folder, file, config) = config(&text);
            let Err(error) = config.transform() else {
                panic!("taken: {text}")
            };
            let error = error.to_string();
            let place = format!("{}:4: ", file.display());
            assert!(
                error.starts_with(&place) && error.contains(says),
                "{text}: {error}"
            );
        }
    }
}
