//! The one error of storage: every failure of the disk and of sled, with the path of its object,
//! and whether what is there is damaged or could only not be read.

use std::io;
use std::path::{Path, PathBuf};

use crate::queue::contract::OpenError;
use crate::queue::record::codec::DecodeError;

/// A failure of storage, naming its object.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused or failed.
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// sled refused or failed.
    #[error("store {path}: {source}")]
    Sled {
        path: PathBuf,
        #[source]
        source: sled::Error,
    },
    /// What is there cannot be used.
    #[error("store {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    /// Written by a newer release.
    #[error(
        "{path} was written by a newer pinrelay (format {version}); install that release again"
    )]
    Newer { path: PathBuf, version: u8 },
}

impl StoreError {
    pub fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }

    pub fn bad(path: &Path, what: &str, bad: DecodeError) -> Self {
        match bad {
            DecodeError::Newer(version) => Self::Newer {
                path: path.into(),
                version,
            },
            bad => Self::damaged(path, &format!("{what}: {bad}")),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            error @ StoreError::Newer { .. } => Self::Newer(error.to_string()),
            error @ StoreError::Damaged { .. } => Self::Damaged(format!("queue: {error}")),
            error => Self::Io(format!("queue: {error}")),
        }
    }
}

/// Adds the path to an I/O error.
pub trait At<T> {
    fn at(self, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            path: path.into(),
            source,
        })
    }
}

impl<T> At<T> for sled::Result<T> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| match source {
            // What the disk says is told as the disk's; an error of sled's own making is about
            // what it read.
            sled::Error::Io(source) if is_systems(&source) => StoreError::Io {
                path: path.into(),
                source,
            },
            sled::Error::Corruption { .. } => StoreError::damaged(path, "sled found corruption"),
            source => StoreError::Sled {
                path: path.into(),
                source,
            },
        })
    }
}

/// Whether the system said so. sled makes I/O errors of its own about what it reads, and hands
/// out copies of the system's that have kept the words alone.
pub fn is_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || error.to_string().contains("Os { code")
}
