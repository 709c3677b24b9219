//! Room on disk, and whether events may come in.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

/// Inodes that are kept free, at most a quarter of all: a generation, a period of dead letters and
/// what recovery copies take tens of them, and a file that cannot be made ends the process.
const FILES_RESERVE: u64 = 1_000;

/// Bytes and inodes, as last looked at (about once a second).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// There is no disk that this process could look at: all numbers are 0 and say nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub unknown: bool,
    /// What the generations of events take.
    pub used: u64,
    /// `queue.max_bytes`: at it, reading stops.
    pub quota: u64,
    /// What the dead letters take.
    pub dead_used: u64,
    /// `dead_letters.max_bytes`.
    pub dead_quota: u64,
    /// Free on the file system for this user.
    pub free: u64,
    /// Kept free: below it events are answered `unavailable`.
    pub reserve: u64,
    /// Inodes free on the file system for this user.
    pub files_free: u64,
    /// Kept free likewise; 0 where the file system does not number them, and without a reserve.
    pub files_reserve: u64,
    /// Why no events come in, if so.
    pub closed: Option<Closed>,
}

impl Disk {
    /// Of a queue whose storage is elsewhere.
    pub fn unknown() -> Self {
        Self {
            unknown: true,
            ..Self::default()
        }
    }

    /// What the file system of `path` has free, and keeps with this `queue.min_free`; `None` where
    /// the system does not say.
    pub fn of(path: &Path, min_free: u64) -> Option<Self> {
        let stat = statvfs(path).ok()?;
        let block = stat.fragment_size();
        Some(Self {
            free: stat.blocks_available() * block,
            reserve: min_free.min(stat.blocks() * block / 4),
            // Where files are not numbered beforehand the system says that there are none at all.
            files_free: stat.files_available(),
            files_reserve: match min_free {
                0 => 0,
                _ => FILES_RESERVE.min(stat.files() / 4),
            },
            ..Self::default()
        })
    }

    /// Whether the file system is nearly out of inodes.
    pub const fn lacks_files(&self) -> bool {
        self.files_free < self.files_reserve
    }
}

// As serde wants it.
fn is_false(is: &bool) -> bool {
    !is
}

/// Why no events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The generations reached their quota: clients wait.
    Quota,
    /// The file system is below the reserve: clients are answered `unavailable`.
    Reserve,
    /// The file system is nearly out of inodes: clients are answered `unavailable`.
    Inodes,
    /// The database is away: clients are answered `unavailable`.
    Away,
    /// The database does not know what it acknowledged: it waits for the operator.
    WentBack,
    /// Storage failed, or the queue is closed.
    Stopped,
}

impl Closed {
    /// The reason in words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Quota => "the queue is at queue.max_bytes",
            Self::Reserve => "the disk is below queue.min_free",
            Self::Inodes => "the file system of queue.path is nearly out of inodes",
            Self::Away => "the database is away",
            Self::WentBack => {
                "the database was put back to an earlier state, and waits for `pinrelay adopt`"
            }
            Self::Stopped => "the queue has stopped",
        }
    }
}
