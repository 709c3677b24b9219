//! What the durable engine is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Millis, millis};
use crate::observe::Observer;

/// Settings of the durable engine.
#[derive(Clone)]
pub struct Options {
    /// The queue's folder.
    pub path: PathBuf,
    /// How long a messageId is remembered.
    pub dedup_window: Duration,
    /// Quota of the generations in bytes; at it, acceptance waits.
    pub max_bytes: u64,
    /// Reserve of the file system in bytes (at most a quarter of it counts); below it,
    /// acceptance is `unavailable`.
    pub min_free: u64,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// Quota of the dead letters in bytes; beyond it the oldest period is purged.
    pub dead_max_bytes: u64,
    /// How long the destination remembers an event_id.
    pub destination_remembers: Duration,
    /// Events after which a generation is full.
    pub roll_events: u64,
    /// The id of this machine; none where it has none, and then it is not compared.
    pub machine_id: Option<String>,
    /// Take the folder over from another machine, or after it was restored from a copy:
    /// everything unsettled is in doubt from then on.
    pub adopt: bool,
    /// Told once when storage has failed: the process must end.
    pub on_failure: Arc<dyn Fn(&str) + Send + Sync>,
    /// Hears how long syncs take.
    pub observer: Observer,
    /// Told while the queue is opened, at each store that is copied or read: how far it
    /// has come, in words for people. An opening that stays silent hangs.
    pub on_progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Options {
    /// The engine's defaults for a folder; `on_failure` does nothing beyond the latch, and
    /// `on_progress` nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            dedup_window: Duration::from_secs(7 * 86_400),
            max_bytes: 8 << 30,
            min_free: 256 << 20,
            dead_retention: Duration::from_secs(30 * 86_400),
            dead_max_bytes: 1 << 30,
            destination_remembers: Duration::from_secs(48 * 3_600),
            roll_events: 200_000,
            machine_id: None,
            adopt: false,
            on_failure: Arc::new(|_| {}),
            observer: Observer::default(),
            on_progress: Arc::new(|_| {}),
        }
    }
    /// The wall time below which messageIds are forgotten.
    pub fn horizon(&self, now: Millis) -> Millis {
        now.saturating_sub(millis(self.dedup_window))
    }
}
