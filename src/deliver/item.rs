//! One event on its way, and the seam to the transform.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::coverage::Coverage;
use crate::note::Notes;
use crate::queue::{DeadReason, Entry};

/// Makes a stored event into what is sent. Pure; replaced as a whole by a reload.
///
/// An entry with `sent_as` must come out under that name.
pub type Prepare = Arc<dyn Fn(&Entry, &StrippedKeys) -> Result<Prepared, Dead> + Send + Sync>;

/// An event as it will stand in the request.
pub struct Prepared {
    /// `event_name` on the wire.
    pub name: Arc<str>,
    /// `event_id` on the wire.
    pub message_id: String,
    /// The event's JSON object.
    pub json: Vec<u8>,
    /// The configured custom properties in it, each once.
    pub custom_keys: Vec<String>,
    /// What of the event could not be read as it stands.
    pub notes: Option<Notes>,
    /// Which parts it has.
    pub coverage: Coverage,
}

/// The event cannot be sent.
#[derive(Debug)]
pub struct Dead {
    /// Which of the fixed reasons.
    pub reason: DeadReason,
    /// What was missing.
    pub message: String,
    /// `event_id` on the wire, had it been sent.
    pub message_id: String,
    /// What of the event could not be read as it stands.
    pub notes: Option<Notes>,
}

/// Custom keys that the destination refuses for now: the transform asks once per custom key of an
/// event and leaves out what is stripped. It also counts how many were left out.
#[derive(Default)]
pub struct StrippedKeys {
    every: bool,
    keys: Vec<(String, AtomicU64)>,
}

impl StrippedKeys {
    /// Strips these keys.
    pub(super) fn these(keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            every: false,
            keys: keys.into_iter().map(|k| (k, AtomicU64::new(0))).collect(),
        }
    }

    /// Strips every custom key.
    pub(super) fn every() -> Self {
        Self {
            every: true,
            keys: Vec::new(),
        }
    }

    /// Whether the event must go without this custom key.
    pub fn strips(&self, key: &str) -> bool {
        if let Some((_, count)) = self.keys.iter().find(|(k, _)| k == key) {
            count.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.every
    }

    /// How often each key was left out.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.keys.iter();
        counts.map(|(key, count)| (key.as_str(), count.load(Ordering::Relaxed)))
    }
}

/// A prepared event together with its claim.
pub(super) struct Item {
    pub entry: Entry,
    pub name: Arc<str>,
    pub message_id: String,
    /// Once the event is part of a request, a slice of that request's body.
    pub json: Bytes,
    pub notes: Option<Notes>,
    pub coverage: Coverage,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The JSON holds personal data and stays out.
        f.debug_struct("Item")
            .field("entry", &self.entry)
            .field("name", &self.name)
            .field("bytes", &self.json.len())
            .finish()
    }
}
