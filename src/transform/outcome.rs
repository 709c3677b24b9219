//! What comes of a line: what is sent, or why nothing can be.

use std::fmt;
use std::sync::Arc;

use crate::coverage::Coverage;
use crate::event::Invalid;
use crate::note::Note;

/// What is to become of an event whose time is there and cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnreadableTime {
    /// It waits as a dead letter: nobody books it on another day unseen.
    #[default]
    DeadLetter,
    /// It goes out with the time that was fixed when it was accepted.
    AcceptedAt,
}

impl UnreadableTime {
    /// As the config writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead_letter",
            Self::AcceptedAt => "accepted_at",
        }
    }
}

/// Why an event cannot be sent as it is. The texts hold nothing of the event but keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dead {
    /// Nothing that Pinterest could match it by. Reason `no_match_key`.
    #[error(
        "no match key: Pinterest needs an email (em), or client_ip_address together with \
         client_user_agent; there is no em, and no {missing}{unreadable}"
    )]
    NoMatchKey {
        /// What would have completed the second key.
        missing: &'static str,
        /// What is there of either and cannot be read; empty, or begins with "; ".
        unreadable: String,
    },
    /// Its time is there, and no machine can know which it is. Reason `unreadable_time`.
    #[error(
        "the event's time cannot be told{unreadable}. To send it: `pinrelay dead export`, mend the \
         line, `pinrelay dead import`; or set [event_time] unreadable = \"accepted_at\", which \
         books it on the moment of its acceptance, and `pinrelay dead retry`"
    )]
    UnreadableTime {
        /// What is there and cannot be read; begins with ": ".
        unreadable: String,
    },
    /// The stored line is not an event that the socket takes: it was stored by a version that
    /// took more.
    #[error("the stored line is no event: {0}")]
    Invalid(#[from] Invalid),
}

impl Dead {
    /// The reason of the dead letter that it becomes; `None`: it is no event at all.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::NoMatchKey { .. } => Some("no_match_key"),
            Self::UnreadableTime { .. } => Some("unreadable_time"),
            Self::Invalid(_) => None,
        }
    }
}

/// An event that cannot be sent, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsendable {
    /// Why.
    pub why: Dead,
    /// The event's; empty if it is none.
    pub message_id: String,
    /// In the order of the payload.
    pub notes: Vec<Note>,
}

impl From<Invalid> for Unsendable {
    fn from(invalid: Invalid) -> Self {
        Self {
            why: invalid.into(),
            message_id: String::new(),
            notes: Vec::new(),
        }
    }
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
    /// In the order of the payload.
    pub notes: Vec<Note>,
    /// Which parts it has.
    pub coverage: Coverage,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The JSON holds personal data and stays out; a messageId or a name may.
        f.debug_struct("Payload")
            .field("bytes", &self.json.len())
            .field("custom_keys", &self.custom_keys)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}
