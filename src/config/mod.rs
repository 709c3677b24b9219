//! The configuration: one TOML file, with environment variables over it.
//!
//! `read` makes [`Config`], which `settings` describes, or an `error` that names every problem:
//! `keys` is the table of every scalar key, `key` one row of it; `raw` is file and environment as
//! texts with places; `values` and `units` give the texts their types; `token` finds the secret,
//! `database_url` the database,
//! `write_keys` those of who sends over HTTP, `tls` its certificate; `filters` reads `[[filters]]`; `suggest` guesses what was meant. `options` hands each part what it has to know; `changes` compares two configs, `shown` tells where each value comes from; `instance` is for
//! several daemons.

mod changes;
mod database_url;
mod error;
mod filters;
#[cfg(test)]
mod http_tests;
mod instance;
mod key;
mod keys;
mod options;
#[cfg(all(test, feature = "postgres"))]
mod postgres_tests;
mod raw;
mod read;
mod settings;
mod shown;
mod suggest;
#[cfg(test)]
mod tests;
mod token;
mod units;
mod values;
mod write_keys;

pub use database_url::{FoundUrl, URL_CREDENTIAL, URL_VARIABLE, UrlError, UrlSources};
pub use error::ConfigError;
pub use filters::show_filter;
pub use instance::Instance;
pub use key::Key;
pub use keys::{
    Admin, Catalog, Consent, CustomProperties, DeadLetters, Delivery, Engine, EventTime, Ingest,
    KEYS, Log, Metrics, Notify, Pinterest, Postgres, Queue, Sources, TagKind, UserData,
};
pub use raw::{FilterEntry, Pair, Place, Problem};
pub(crate) use read::read;
pub use read::{load, load_broken, load_instance, load_other, process_env};
pub use settings::{Config, Required};
pub use shown::{Origin, Setting};
pub use token::{
    CREDENTIAL, DEFAULT_TOKEN_FILE, FoundToken, TOKEN_VARIABLE, TokenError, TokenSource,
    TokenSources,
};
pub use units::{duration as parse_duration, show_duration, show_size};
pub use values::{BaseUrl, Kind, entries};
pub use values::{ad_account_id as parse_ad_account_id, app_name as parse_app_name};
pub use write_keys::{WriteKey, WriteKeyEntry, WriteKeyError, WriteKeySource};
