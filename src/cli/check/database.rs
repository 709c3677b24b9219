//! The database that the queue is in: its URL, whether it can be reached and written, and whether a
//! commit there is what was promised.
//!
//! Invariant: nothing is changed there, and nothing shows the URL.

use std::path::PathBuf;

use super::finding::Finding::{self, Advice, Fine};
use crate::config::{Config, Engine, URL_VARIABLE};

/// Where its URL is. Gives its file, if it is in one.
pub(super) fn url(config: &Config, found: &mut Vec<Finding>) -> Option<PathBuf> {
    if config.queue.engine != Engine::Postgres {
        return None;
    }
    // What is wrong with it is told with the database.
    let read = config.database.read().ok()?;
    match &read.file {
        Some(file) => {
            let file = file.display();
            found.push(Fine(format!(
                "the database's URL in {file}; a change of it takes a restart"
            )));
            if read.exposed {
                found.push(Advice(format!(
                    "{file} can be read by every user, and holds a password: chmod 0640 {file}"
                )));
            }
        }
        None => found.push(Advice(format!(
            "the database's URL comes from the environment ({URL_VARIABLE}), which other programs of \
             the same user can read: a file, as [postgres] url_file, is safer"
        ))),
    }
    read.file
}

/// What is found there.
#[cfg(feature = "postgres")]
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    use super::finding::Finding::Wrong;
    use crate::queue::{Probed, probe};
    // That the account is missing is told before.
    let account = config.pinterest.ad_account_id.clone().unwrap_or_default();
    let place = match config.queue_in_postgres_of(account) {
        Ok(place) => place,
        Err(error) => return vec![Wrong(error.to_string())],
    };
    let found = probe(&place).into_iter().map(|probed| match probed {
        Probed::Fine(text) => Fine(text),
        Probed::Advice(text) => Advice(text),
        Probed::Wrong(text) => Wrong(text),
    });
    found.collect()
}

/// A config that asks for one is refused before.
#[cfg(not(feature = "postgres"))]
pub(super) fn findings(_: &Config) -> Vec<Finding> {
    Vec::new()
}

/// What somebody set, and means nothing.
pub(super) fn unused(config: &Config) -> Option<Finding> {
    let keys = config.unused_queue_keys();
    let engine = match config.queue.engine {
        Engine::Sled => "sled",
        Engine::Postgres => "postgres",
    };
    let verb = if keys.len() == 1 { "does" } else { "do" };
    (!keys.is_empty()).then(|| {
        Advice(format!(
            "{} {verb} not count with [queue] engine = \"{engine}\"",
            keys.join(", ")
        ))
    })
}
