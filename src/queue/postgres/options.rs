//! What a queue on PostgreSQL is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::place::{NoPlace, Place};
use crate::observe::Observer;
use crate::secret::Token;

/// Where the queue is, and the settings of one there.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The database's URL, which holds a password: no text ever shows it.
    pub url: Token,
    /// Certificates that vouch for the server, PEM; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// The schema, one for each ad account and mode: `[a-z_][a-z0-9_]*`.
    pub schema: String,
    /// What a commit has to have reached before it counts.
    pub durability: Durability,
    /// How long the right to deliver lasts unless it is renewed, which is done at a third.
    pub lease: Duration,
    /// The ad account whose queue it is.
    pub account: String,
    /// Whether its events are marked as tests: their queue is another.
    pub is_test: bool,
    /// Events after which a piece of the line is full; it is dropped as a whole.
    pub generation_events: u64,
    /// Remembered ids after which their table is full.
    pub table_ids: u64,
}

/// What a commit has to have reached before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A synchronous standby: where the server does not ask for one, nothing is accepted.
    Replicated,
    /// Whatever the provider of the database answers for.
    Managed,
    /// One server's disk.
    Single,
}

/// About an hour of a busy shop.
const GENERATION_EVENTS: u64 = 1_000_000;
/// A filter of so many is some 9 MB.
const TABLE_IDS: u64 = 4_000_000;

impl Postgres {
    /// This schema of the database, for this ad account, with the defaults.
    pub fn new(url: Token, schema: String, account: String) -> Self {
        Self {
            url,
            ca_file: None,
            schema,
            durability: Durability::Replicated,
            lease: Duration::from_secs(10),
            account,
            is_test: false,
            generation_events: GENERATION_EVENTS,
            table_ids: TABLE_IDS,
        }
    }

    /// Where that is, for people: schema, hosts and database.
    ///
    /// # Errors
    /// What is wrong with the URL, without the URL.
    pub fn shown(&self) -> Result<String, NoPlace> {
        let place = Place::parse(&self.url, self.ca_file.clone())?;
        Ok(format!("schema {} at {place}", self.schema))
    }
}

impl Durability {
    /// The one of this name; the strictest where there is none.
    pub fn named(name: &str) -> Self {
        let all = [Self::Managed, Self::Single];
        let named = all.into_iter().find(|durability| durability.name() == name);
        named.unwrap_or(Self::Replicated)
    }

    /// As the config has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replicated => "replicated",
            Self::Managed => "managed",
            Self::Single => "single",
        }
    }
}

/// All that the engine goes by.
#[derive(Clone)]
pub struct Options {
    pub place: Postgres,
    pub dedup_window: Duration,
    pub max_bytes: u64,
    pub dead_retention: Duration,
    pub dead_max_bytes: u64,
    pub destination_remembers: Duration,
    pub observer: Observer,
    pub on_progress: Arc<dyn Fn(&str) + Send + Sync>,
    pub is_given_up: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The queue was restored from a copy: all that is unsettled is in doubt.
    pub adopt: bool,
}
