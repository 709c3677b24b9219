//! What the config says of consent and filters, and what can be wrong with it.

use crate::event::Kind;

/// Consent and filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `[consent]`.
    pub consent: Consent,
    /// `[[filters]]`, in file order.
    pub filters: Vec<Filter>,
}

/// `[consent]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Categories that a customer must have granted; compared without regard to case.
    pub require: Vec<String>,
    /// What an event without the choices means.
    pub missing: Missing,
}

/// What an event that carries no choices means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It goes.
    Allow,
    /// It is kept back.
    #[default]
    Deny,
}

/// One of `[[filters]]`. All that it asks for has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// For counts and answers; without one its place, `filters[1]`.
    pub name: Option<String>,
    /// Tracks, compared trimmed and without regard to case; empty: any event.
    pub events: Vec<String>,
    /// Kinds; empty: any.
    pub kinds: Vec<Kind>,
    /// What stands in the event.
    pub conditions: Vec<Where>,
    /// Whether it has to be a crawler's, by its user agent.
    pub bots: bool,
    /// What becomes of such an event.
    pub action: Action,
}

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keeps it back.
    Drop,
    /// Lets it go; no filter behind this one is asked.
    Keep,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// A dot path into the event: object keys, decimal array indices.
    pub path: String,
    /// What has to stand there.
    pub test: Test,
}

/// What has to stand at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// One of these.
    In(Vec<Scalar>),
    /// Anything that is not missing, or nothing.
    Exists(bool),
}

/// A value that an event may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Byte for byte.
    Text(String),
    /// As digits.
    Number(String),
    /// True or false.
    Flag(bool),
}

/// What is wrong in the config. Each text names the key and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A path with nothing in a part of it.
    #[error(
        "filters[{number}].where: path = \"{path}\" is no path into an event: use keys with dots \
         between them and no *, such as context.page.url or properties.products.0.sku"
    )]
    Path {
        /// Which of the filters, from 1.
        number: usize,
        /// As configured.
        path: String,
    },
    /// Every event would be meant.
    #[error(
        "filters[{number}] asks for nothing, and would mean every event: give it an event, a type, a \
         where or bots = true"
    )]
    Everything {
        /// Which of the filters, from 1.
        number: usize,
    },
    /// Two rules would be counted as one.
    #[error("filters[{number}].name = \"{name}\" is the name of another filter: choose another")]
    SameName {
        /// Which of the filters, from 1.
        number: usize,
        /// As configured.
        name: String,
    },
    /// Events without a name never have one of these.
    #[error(
        "filters[{number}] asks for the event of a track and for a type that is none: remove one of \
         the two"
    )]
    NoTrack {
        /// Which of the filters, from 1.
        number: usize,
    },
}

impl PolicyError {
    /// Which of the filters it is about, from 1.
    pub const fn filter(&self) -> usize {
        match self {
            Self::Path { number, .. }
            | Self::Everything { number }
            | Self::SameName { number, .. }
            | Self::NoTrack { number } => *number,
        }
    }
}
