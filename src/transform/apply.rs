//! A stored line into the object that is sent, under one config: the parts of the mapping put
//! together.

use std::borrow::Cow;
use std::sync::Arc;

use super::envelope::{self, Names};
use super::hashing::Hashing;
use super::mappings::{Applied, Mappings};
use super::options::{Options, OptionsError};
use super::outcome::{Dead, Payload};
use super::payload::Event;
use super::user_data::Sources;
use super::{custom_data, rows, scalar};
use crate::event::{self, Arena, Invalid, Kind, Node, Wanted};

/// The mapping under one config.
pub struct Transform {
    partner_name: Option<String>,
    default_action_source: &'static str,
    default_currency: String,
    default_user_agent: Option<String>,
    hashing: Hashing,
    pub(super) names: Names,
    pub(super) mappings: Mappings,
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
        for path in LOOKED_AT.into_iter().chain(rows::paths()) {
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

    /// All that the rows and the mappings may look at.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The wire event of a parsed line, match key or not, and what the mappings did.
    pub(super) fn event<'t>(
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
pub(super) type Identity<'t> = (Kind, &'t str, &'t str);

/// What the socket has checked.
pub(super) fn identity<'t>(root: &'t Node<'_>) -> Result<Identity<'t>, Invalid> {
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
