//! The operator's pause, as the delivery side knows it: that it holds, since when, until when.
//! Who keeps it over a restart and who ends it is the daemon.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// Nothing leaves while it holds; what is in flight is still taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when, wall-clock milliseconds.
    pub since: Millis,
    /// When it ends by itself, wall-clock milliseconds of the moment it was said; `None`: when
    /// it is ended.
    pub until: Option<Millis>,
    /// The operator's words.
    pub reason: Option<String>,
}
