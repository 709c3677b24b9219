//! What an answer can mean: one verdict per event, or one word about the whole request.

use std::time::Duration;

use super::normalise::normalise;

/// What the destination says against an event or a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: Option<i64>,
    /// Its words; they may quote values, so they go into the dead letter alone.
    pub message: String,
    /// It came as an HTML page, which `message` names in words of our own.
    pub is_page: bool,
}

impl Refusal {
    /// Its words without ids and values, fit for a log. `json`: the event that they are about, or
    /// nothing.
    pub fn words(&self, json: &[u8]) -> String {
        match self.is_page {
            true => self.message.clone(),
            false => normalise(&self.message, "", json),
        }
    }
}

/// One event's fate, by its position in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Processed,
    Failed(Refusal),
    /// A status that is neither: proves nothing about this event.
    Unclear,
}

/// What the answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// One verdict per event of the request, in order.
    Judged(Vec<Verdict>),
    /// The request as a whole was refused for what is in it: none was taken.
    Refused {
        /// For its size.
        too_large: bool,
        refusal: Refusal,
    },
    /// The credential or the account is in trouble: none was taken.
    Auth(Refusal),
    /// Too many calls: none was taken.
    Limited {
        /// As long as it asks for, if it says.
        wait: Option<Duration>,
    },
    /// Neither a judgement nor a known trouble, such as a redirect: none was taken, and
    /// somebody has to look at the config.
    Unexpected(Refusal),
    /// Whether any was taken is not known. In words that are fit for a log.
    Unknown(String),
}

/// The class and, beside it, how often each kind of warning came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub class: Class,
    /// Normalised text and count.
    pub warnings: Vec<(String, u64)>,
    /// Which events were warned of, ascending by position, and of which of `warnings`.
    pub warned: Vec<(u32, u32)>,
}

impl Judgement {
    /// About the request as a whole.
    pub const fn whole(class: Class) -> Self {
        Self {
            class,
            warnings: Vec::new(),
            warned: Vec::new(),
        }
    }
}
