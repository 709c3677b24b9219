//! What only the daemon's own loop can do, and what it answers.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::clock::Millis;
use crate::deliver::{Held, TriedAtOnce};
use crate::queue::EntryId;

/// Asked of the daemon's loop.
pub enum Command {
    /// Read config and token again; the answer is what changed, or what is wrong.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Let nothing leave; the answer is the pause, or that a restart would end it.
    Pause {
        /// How long; `None`: until it is resumed.
        length: Option<Duration>,
        /// The operator's words.
        reason: Option<String>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Paused, String>>,
    },
    /// End a pause and open the gate; the answer is what was ended, or why it was not.
    Resume {
        /// Refused events become dead letters one by one.
        isolate: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Resumed, String>>,
    },
    /// What events wait for, in their order; `None`: nobody here knows.
    Held {
        /// Which.
        ids: Vec<EntryId>,
        /// Where the answer goes.
        answer: oneshot::Sender<Option<Vec<Held>>>,
    },
    /// Try at once what backs off; `None`: delivery has ended.
    TryAtOnce {
        /// This event's batch; `None`: all.
        id: Option<EntryId>,
        /// Where the answer goes.
        answer: oneshot::Sender<Option<TriedAtOnce>>,
    },
}

/// One key of the config with another value, or one pair of its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `section.name`, `event_names`, `tag_names`, `mappings` or `filters`.
    pub key: String,
    /// As the config writes it; `null`: not set, and without a default.
    pub old: Option<String>,
    /// Likewise.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        write!(f, "{}: {} → {}", self.key, set(&self.old), set(&self.new))
    }
}

/// What a reload found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What differs from what was read last, and is in effect.
    pub changed: Vec<Change>,
    /// What differs from what the daemon was started with, and takes a restart.
    pub needs_restart: Vec<Change>,
    /// The token is another one.
    pub token_changed: bool,
}

/// A pause that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Unix milliseconds.
    pub since: Millis,
    /// When it ends by itself, Unix milliseconds.
    pub until: Option<Millis>,
    /// The operator's words.
    pub reason: Option<String>,
    /// Requests that had left before; their answers are still taken.
    pub in_flight: usize,
}

/// What a resume ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// How the gate stood before: `open`, `shut`, `parked` or `paused`.
    pub was: String,
    /// As it was asked.
    pub isolate: bool,
}
