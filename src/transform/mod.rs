//! From a stored line to the object that Pinterest gets. Pure: no clock, no I/O.
//!
//! `mapping.md` field by field, one file for each of its parts: `envelope` (event_name,
//! action_source, …), `user_data` and its `hashing`, `custom_data`, and `mappings`,
//! what the config adds. `scalar` and `money` are its words (*scalar text*, *text list*,
//! *amount*, *integer*), where `None` always means *absent* and gives the turn to the next
//! source. `payload` is the wire; `explain` tells
//! where each field of one came from.
//!
//! The line is read once into a borrowed tree, without the members that no row and no mapping
//! looks at; texts are borrowed from it up to the output.

mod custom_data;
mod envelope;
mod explain;
mod hashing;
mod mappings;
mod money;
mod payload;
mod scalar;
mod user_data;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use explain::{Explanation, Field, MappingNote, Tried};
pub use hashing::Hashing;

use crate::event::{self, Arena, Invalid, Kind, Node, Wanted};
use envelope::Names;
use mappings::{Applied, Mappings};
use payload::Event;
use user_data::Sources;

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
    /// `[event_names]`: a track's name (matched trimmed, without regard to case) → the name
    /// on the wire, as written.
    pub event_names: Vec<(String, String)>,
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
            event_names: Vec::new(),
            mappings: Vec::new(),
        }
    }
}

/// One of `[[mappings]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRule {
    /// A dot path into the event: object keys, decimal array indices.
    pub source: String,
    /// `properties.<key>`.
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
    /// Not `properties.<key>`.
    #[error(
        "mappings[{number}].destination = \"{destination}\": use properties.<key> with one key \
         without a dot, such as properties.loyalty_tier"
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

/// The mapping under one config.
pub struct Transform {
    partner_name: Option<String>,
    default_action_source: &'static str,
    default_currency: String,
    default_user_agent: Option<String>,
    hashing: Hashing,
    names: Names,
    mappings: Mappings,
    /// All that the rows and the mappings may look at.
    wanted: Wanted,
}

/// What is looked at besides the paths of the rows; the properties, in many places, whole.
const LOOKED_AT: [&str; 4] = ["messageId", "type", "event", "properties"];

impl Transform {
    /// Takes the config's word for it, or says what is wrong with it.
    ///
    /// # Errors
    /// The first key that `mapping.md` calls an error.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        let default_action_source =
            envelope::action_source_named(&options.default_action_source)
                .ok_or(OptionsError::ActionSource(options.default_action_source))?;
        let default_currency = custom_data::currency_code(&options.default_currency)
            .map(Cow::into_owned)
            .ok_or(OptionsError::Currency(options.default_currency))?;
        let mappings = Mappings::new(&options.mappings)?;
        let mut wanted = Wanted::nothing();
        for path in LOOKED_AT.into_iter().chain(explain::paths()) {
            wanted.add(path.split('.'));
        }
        for rule in &options.mappings {
            wanted.add(rule.source.split('.'));
        }
        Ok(Self {
            partner_name: options.partner_name.filter(|name| !name.trim().is_empty()),
            default_action_source,
            default_currency,
            default_user_agent: scalar::trimmed(&options.default_user_agent).map(str::to_owned),
            hashing: options.hashing,
            names: Names::new(&options.event_names)?,
            mappings,
            wanted,
        })
    }

    /// What `check` warns of: mappings that put personal data under a custom key.
    pub fn warnings(&self) -> Vec<String> {
        self.mappings.warnings().to_vec()
    }

    /// The object that is sent for a stored line: one that [`event::check`] took.
    ///
    /// - `event_time`: Unix seconds, fixed at acceptance.
    /// - `sent_as`: the name of the first attempt, if there was one; it goes out again byte
    ///   for byte, whatever the config says now.
    /// - `without`: the custom keys to leave out.
    ///
    /// # Errors
    /// [`Dead`]: the event cannot be sent, now or later, under this config.
    pub fn payload(
        &self,
        body: &[u8],
        event_time: i64,
        sent_as: Option<&str>,
        without: &dyn Fn(&str) -> bool,
    ) -> Result<Payload, Dead> {
        let arena = Arena::default();
        let root = event::parse_wanted(&arena, body, &self.wanted)?;
        let of = identity(&root)?;
        let event_name = match sent_as {
            Some(name) => Arc::from(name),
            None => self.names.wire(of.0, of.2),
        };
        let (event, applied) = self.event(&root, of, &event_name, event_time, without);
        if let Some(missing) = event.user_data.missing_match_key() {
            return Err(Dead::NoMatchKey { missing });
        }
        // What goes out is seldom longer than what came in.
        let mut json = arena.bytes(body.len());
        // Unwrap safety: the arena takes every write, every key is a string, and a number's digits
        // came from a parser, so there is nothing left to fail.
        serde_json::to_writer(&mut json, &event).expect("an event can be written as JSON");
        Ok(Payload {
            message_id: of.1.to_owned(),
            // In its own length: it is held until Pinterest has answered.
            json: json.to_vec(),
            custom_keys: applied.custom_keys,
            unusable: applied.unusable,
            event_name: Arc::clone(&event_name),
        })
    }

    /// The wire event of a parsed line, match key or not, and what the mappings did.
    fn event<'t>(
        &'t self,
        root: &'t Node<'t>,
        (kind, message_id, _): Identity<'t>,
        event_name: &'t str,
        event_time: i64,
        without: &dyn Fn(&str) -> bool,
    ) -> (Event<'t>, Applied<'t>) {
        let (properties, context) = (root.at("properties"), root.at("context"));
        let mut custom_data =
            custom_data::computed(kind, properties, context, &self.default_currency);
        let mut applied = self.mappings.apply(root, &mut custom_data, without);
        let user_data = Sources {
            root,
            properties,
            context,
            mapped: std::mem::take(&mut applied.pii),
            default_user_agent: self.default_user_agent.as_deref(),
            hashing: self.hashing,
        }
        .read();
        let url = envelope::url(context.at("page"));
        let event = Event {
            event_name,
            action_source: envelope::action_source(
                kind,
                properties,
                context,
                url,
                self.default_action_source,
            ),
            event_time,
            event_id: message_id,
            event_source_url: url,
            partner_name: self.partner_name.as_deref(),
            opt_out: envelope::opt_out(context),
            user_data,
            custom_data,
        };
        (event, applied)
    }
}

/// Kind, messageId and a track's name.
type Identity<'t> = (Kind, &'t str, &'t str);

/// What the socket has checked.
fn identity<'t>(root: &'t Node<'_>) -> Result<Identity<'t>, Invalid> {
    let message_id = root.at("messageId").as_str().ok_or(Invalid::NoMessageId)?;
    let kind = root
        .at("type")
        .as_str()
        .and_then(Kind::from_name)
        .filter(|kind| kind.ignored().is_none())
        .ok_or(Invalid::UnknownType)?;
    let name = root.at("event").as_str();
    match kind {
        Kind::Track => Ok((kind, message_id, name.ok_or(Invalid::NoEvent)?)),
        _ => Ok((kind, message_id, "")),
    }
}
