//! What comes of a line: what is sent, or why nothing can be.

use std::fmt;
use std::sync::Arc;

use crate::event::Invalid;

/// Why an event cannot be sent as it is. The texts hold nothing of the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dead {
    /// Nothing that Pinterest could match it by. Reason `no_match_key`.
    #[error(
        "no match key: Pinterest needs an email (em), or client_ip_address together with \
         client_user_agent; there is no em, and no {missing}"
    )]
    NoMatchKey {
        /// What would have completed the second key.
        missing: &'static str,
    },
    /// The stored line is not an event that the socket takes: it was stored by a version that
    /// took more.
    #[error("the stored line is no event: {0}")]
    Invalid(#[from] Invalid),
}

/// One event as it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The name in `json`: what a mark must remember.
    pub event_name: Arc<str>,
    /// The `event_id` in `json`.
    pub message_id: String,
    /// Exactly the object that is sent, as UTF-8 JSON.
    pub json: Vec<u8>,
    /// The keys of custom_data that are not in Pinterest's schema: sorted, each once.
    pub custom_keys: Vec<Arc<str>>,
    /// How many mapped values could not be brought to their type.
    pub unusable: u32,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The JSON holds personal data and stays out; a messageId or a name may.
        f.debug_struct("Payload")
            .field("bytes", &self.json.len())
            .field("custom_keys", &self.custom_keys)
            .field("unusable", &self.unusable)
            .finish_non_exhaustive()
    }
}
