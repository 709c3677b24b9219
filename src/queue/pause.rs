//! What a queue keeps of the operator's pause.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// A pause, kept with the queue, so that it goes where the queue goes. What it means is not the
/// queue's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRecord {
    /// Since when, wall-clock milliseconds.
    pub since: Millis,
    /// When it ends by itself, wall-clock milliseconds of the moment it was said; `None`: when
    /// it is ended.
    pub until: Option<Millis>,
    /// The operator's words.
    pub reason: Option<String>,
    /// How long it was to be, milliseconds; there is one where there is an `until`.
    pub length: Option<u64>,
}
