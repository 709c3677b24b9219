//! What the config says of the transform, and what can be wrong with it.

use super::hashing::Hashing;
use super::outcome::UnreadableTime;

/// What the config says about the transform.
#[derive(Clone, Debug)]
pub struct Options {
    /// `pinterest.app_name`; `None` or empty omits partner_name.
    pub partner_name: Option<String>,
    /// `pinterest.default_action_source`.
    pub default_action_source: String,
    /// `pinterest.default_currency`: three ASCII letters.
    pub default_currency: String,
    /// `user_data.default_user_agent`; empty omits the field.
    pub default_user_agent: String,
    /// `user_data.hashing`.
    pub hashing: Hashing,
    /// `user_data.sources`: whether what the document does not name is tried as well.
    pub extended: bool,
    /// `user_data.codes`: whether countries and states become codes.
    pub codes: bool,
    /// `catalog.content_id`: the keys of a product that hold its id, by precedence.
    pub content_ids: Vec<String>,
    /// `consent.ldp_states`: codes of states of the US.
    pub limited_states: Vec<String>,
    /// Whether `consent.require` names sale_of_data.
    pub requires_sale: bool,
    /// `[event_time] unreadable`.
    pub unreadable_time: UnreadableTime,
    /// `[event_names]`: a track's name (matched trimmed, without regard to case) → the name
    /// on the wire, as written.
    pub event_names: Vec<(String, String)>,
    /// `pinterest.tag`, with `[tag_names]`.
    pub tag: Tag,
    /// `[[mappings]]`, in file order.
    pub mappings: Vec<MappingRule>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partner_name: None,
            default_action_source: "web".to_owned(),
            default_currency: "USD".to_owned(),
            default_user_agent: "Mozilla/5.0".to_owned(),
            hashing: Hashing::Raw,
            extended: false,
            codes: false,
            limited_states: Vec::new(),
            requires_sale: false,
            content_ids: vec!["product_id".to_owned(), "sku".to_owned()],
            unreadable_time: UnreadableTime::DeadLetter,
            event_names: Vec::new(),
            tag: Tag::None,
            mappings: Vec::new(),
        }
    }
}

/// Which Tag runs on the shop's pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// None that anybody spoke of.
    #[default]
    None,
    /// Chord's own destination for the Tag.
    Chord,
    /// Another, which gives a track's event (matched trimmed, without regard to case) this name.
    Custom(Vec<(String, String)>),
}

/// One of `[[mappings]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRule {
    /// A dot path into the event: object keys, decimal array indices, one `*` for each entry.
    pub source: String,
    /// `properties.<key>` or `user_data.<field>`.
    pub destination: String,
}

/// What is wrong in the config. Each text names the key and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not one of Pinterest's four.
    #[error(
        "pinterest.default_action_source = \"{0}\": use one of web, app_android, app_ios, offline"
    )]
    ActionSource(String),
    /// Not a currency code.
    #[error("pinterest.default_currency = \"{0}\": use a code of three letters, such as USD")]
    Currency(String),
    /// An event that no track can have.
    #[error("event_names: a key is empty; name the track it is for, or remove the line")]
    EmptyEventKey,
    /// A name that Pinterest cannot take.
    #[error("event_names: \"{key}\" has an empty value; give it Pinterest's name for the event")]
    EmptyEventName {
        /// As configured.
        key: String,
    },
    /// Keys are matched trimmed and without regard to case.
    #[error("event_names: \"{first}\" and \"{second}\" name the same event; keep one of them")]
    SameEvent {
        /// As configured.
        first: String,
        /// As configured.
        second: String,
    },
    /// A path with nothing in it or in a part of it.
    #[error(
        "mappings[{number}].source = \"{source_path}\": use a dot path into the event, \
         such as properties.loyalty_tier or properties.products.0.color"
    )]
    Source {
        /// Which of the mappings, from 1.
        number: usize,
        /// As configured.
        source_path: String,
    },
    /// More than one `*`, or nothing before it.
    #[error(
        "mappings[{number}].source = \"{source_path}\": one * may stand for each entry of a list, behind \
         the list's path, such as properties.products.*.variant_id"
    )]
    Each {
        /// Which of the mappings, from 1.
        number: usize,
        /// As configured.
        source_path: String,
    },
    /// No field of user_data that a mapping may fill.
    #[error(
        "mappings[{number}].destination = \"{destination}\": of user_data a mapping fills em, ph, fn, \
         ln, ct, st, zp, country, external_id, click_id, partner_id, db, ge, hashed_maids and \
         customer_type"
    )]
    PersonDestination {
        /// Which of the mappings, from 1.
        number: usize,
        /// As configured.
        destination: String,
    },
    /// No state of the US.
    #[error(
        "consent.ldp_states: entry {number} is no code of a state of the United States, such as CA; \
         limited data processing is for those"
    )]
    LimitedState {
        /// Which of the states, from 1.
        number: usize,
    },
    /// A product has no id under such a key.
    #[error(
        "catalog.content_id: {why}; name the keys of a product that hold its id, such as \
         [\"variant_id\", \"product_id\"]"
    )]
    ContentId {
        /// What is wrong.
        why: String,
    },
    /// Not `properties.<key>`.
    #[error(
        "mappings[{number}].destination = \"{destination}\": use properties.<key> with one key \
         without a dot, such as properties.loyalty_tier, or user_data.<field>"
    )]
    Destination {
        /// Which of the mappings, from 1.
        number: usize,
        /// As configured.
        destination: String,
    },
    /// A key that stands for a field of another name.
    #[error("mappings[{number}].destination = \"{destination}\" is not forwarded: {instead}")]
    RefusedDestination {
        /// Which of the mappings, from 1.
        number: usize,
        /// As configured.
        destination: String,
        /// The field to use instead.
        instead: &'static str,
    },
}
