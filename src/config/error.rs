//! Why there is no config.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::database_url::UrlError;
use super::raw::Problem;

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
    /// The id of this machine cannot be read, though there is one.
    #[error(
        "queue.machine_id_file {} cannot be read: {error}; without it a queue of another machine \
         would not be noticed: give the daemon's user access to it, or name another", file.display()
    )]
    MachineId {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no URL of the database that holds the queue.
    #[error(transparent)]
    DatabaseUrl(#[from] UrlError),
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
