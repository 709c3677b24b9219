//! What was lost to damage: shown to the operator until it is acknowledged.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// What it is that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Acknowledged events that cannot be delivered: they are set aside.
    Events,
    /// Dead letters that cannot be read: they are set aside.
    DeadLetters,
    /// messageIds that are not remembered any more: an event that comes again under one of them
    /// is taken for new.
    MessageIds,
    /// The account: it was made anew from what the other files show.
    Account,
}

impl LossKind {
    /// All, by [`LossKind::index`].
    pub const ALL: [Self; 4] = [
        Self::Events,
        Self::DeadLetters,
        Self::MessageIds,
        Self::Account,
    ];

    /// The word in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::DeadLetters => "dead_letters",
            Self::MessageIds => "message_ids",
            Self::Account => "account",
        }
    }

    /// As stored.
    pub const fn index(self) -> u8 {
        match self {
            Self::Events => 0,
            Self::DeadLetters => 1,
            Self::MessageIds => 2,
            Self::Account => 3,
        }
    }
}

/// One loss. No personal data is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What was lost.
    pub kind: LossKind,
    /// The store, file or numbers that held it, below the queue's folder.
    pub object: String,
    /// How many.
    pub count: u64,
    /// When it was found, Unix milliseconds; the last time, if it was found in pieces.
    pub at: Millis,
    /// Of messageIds: until when a duplicate is possible by it, Unix milliseconds.
    pub until: Option<Millis>,
}

impl Loss {
    /// In words, without the times.
    pub fn message(&self) -> String {
        let Self { object, count, .. } = self;
        match self.kind {
            LossKind::Events => format!("{count} events of {object} are lost: they are set aside"),
            LossKind::DeadLetters => {
                format!("{count} dead letters of {object} are lost: they are set aside")
            }
            LossKind::MessageIds => format!(
                "{count} messageIds of {object} are no longer remembered: events that come again \
                 under them are sent again"
            ),
            LossKind::Account => format!(
                "the account ({object}) was made anew: {count} events are in doubt and sent again"
            ),
        }
    }
}
