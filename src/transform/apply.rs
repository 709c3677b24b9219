//! A stored line into the object that is sent, under one config: the parts of the mapping put
//! together.

use std::borrow::Cow;
use std::sync::Arc;

use super::codes::{State, state_code};
use super::envelope::{self, Names};
use super::hashing::Hashing;
use super::items::Catalog;
use super::mappings::Mappings;
use super::notes::{Notes, Place};
use super::options::{Options, OptionsError, Tag};
use super::outcome::{Dead, Payload, UnreadableTime, Unsendable};
use super::payload::Event;
use super::rows::EXTENDED_URL;
use super::tag::Unlike;
use super::user_data::Limits;
use super::{custom_data, extended, rows, scalar, user_data};
use crate::event::time::{self, Choice};
use crate::event::{self, Arena, Invalid, Kind, Node, Wanted};
use crate::note::Note;

/// When an event came and when it happened, as both were fixed at its acceptance. Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The moment of acceptance.
    pub accepted_at: i64,
    /// What is sent as event_time.
    pub event_time: i64,
}

/// The mapping under one config.
pub struct Transform {
    partner_name: Option<String>,
    default_action_source: &'static str,
    default_currency: String,
    default_user_agent: Option<String>,
    hashing: Hashing,
    extended: bool,
    codes: bool,
    pub(super) catalog: Catalog,
    limits: Limits,
    unreadable_time: UnreadableTime,
    pub(super) names: Names,
    tag: Tag,
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
        for path in LOOKED_AT
            .into_iter()
            .chain(time::PATHS)
            .chain(rows::paths())
        {
            wanted.add(path.split('.'));
        }
        if !options.limited_states.is_empty() || options.requires_sale {
            wanted.add(["context", "consent"].into_iter());
        }
        if options.extended {
            rows::extended_paths().for_each(|path| wanted.add(path.split('.')));
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
            extended: options.extended,
            codes: options.codes,
            limits: Limits {
                states: (options.limited_states.iter())
                    .zip(1..)
                    .map(|(state, number)| {
                        limited_state(state).ok_or(OptionsError::LimitedState { number })
                    })
                    .collect::<Result<_, _>>()?,
                everywhere: options.requires_sale,
            },
            catalog: Catalog::new(content_ids(&options.content_ids)?, options.extended),
            unreadable_time: options.unreadable_time,
            names: Names::new(&options.event_names)?,
            tag: options.tag,
            mappings,
            wanted,
        })
    }

    /// What `check` warns of: mappings that put personal data under a custom key.
    pub fn warnings(&self) -> Vec<String> {
        self.mappings.warnings().to_vec()
    }

    /// The tracks that the Pinterest Tag sends under other names, and Pinterest counts twice.
    pub fn unlike_tag(&self) -> Vec<Unlike> {
        self.tag.unlike(&self.names)
    }

    /// The keys of a product that hold its id, by precedence.
    pub fn content_ids(&self) -> &[String] {
        &self.catalog.ids
    }

    /// What stands in for a missing user agent.
    pub fn default_user_agent(&self) -> Option<&str> {
        self.default_user_agent.as_deref()
    }

    /// Whether a line is from one of `consent.ldp_states`, as what is sent for it would say.
    pub fn is_from_limited_state(&self, body: &[u8]) -> bool {
        let arena = Arena::default();
        let Ok(root) = event::parse_wanted(&arena, body, &self.wanted) else {
            return false;
        };
        let fixed = Fixed {
            accepted_at: 0,
            event_time: 0,
        };
        let made = |of| self.event(&root, &arena, of, "", fixed, &|_| true);
        identity(&root).is_ok_and(|of| made(of).event.user_data.from_limited_state)
    }

    /// The object that is sent for a stored line: one that [`event::check`] took.
    ///
    /// - `sent_as`: the name of the first attempt, if there was one; it goes out again byte
    ///   for byte, whatever the config says now.
    /// - `without`: the custom keys to leave out.
    ///
    /// # Errors
    /// [`Unsendable`]: the event cannot be sent, now or later, under this config.
    pub fn payload(
        &self,
        body: &[u8],
        fixed: Fixed,
        sent_as: Option<&str>,
        without: &dyn Fn(&str) -> bool,
    ) -> Result<Payload, Unsendable> {
        let arena = Arena::default();
        let root = event::parse_wanted(&arena, body, &self.wanted)?;
        let of = identity(&root)?;
        let event_name = match sent_as {
            Some(name) => Arc::from(name),
            None => self.names.wire(of.0, of.2),
        };
        let made = self.event(&root, &arena, of, &event_name, fixed, without);
        if let Some(why) = self.dead(&made) {
            return Err(Unsendable {
                why,
                message_id: of.1.to_owned(),
                notes: made.notes,
            });
        }
        // What goes out is seldom longer than what came in.
        let mut json = arena.bytes(body.len());
        // Unwrap safety: the arena takes every write, every key is a string, and a number's digits
        // came from a parser, so there is nothing left to fail.
        serde_json::to_writer(&mut json, &made.event).expect("an event can be written as JSON");
        Ok(Payload {
            message_id: of.1.to_owned(),
            // In its own length: it is held until Pinterest has answered.
            json: json.to_vec(),
            coverage: made.event.coverage(self.default_user_agent.as_deref()),
            custom_keys: made.custom_keys,
            notes: made.notes,
            event_name: Arc::clone(&event_name),
        })
    }

    /// Why an event cannot be sent, if it cannot.
    pub(super) fn dead(&self, made: &Made<'_>) -> Option<Dead> {
        // One of each source, without the places in lists: letters of the same trouble read alike.
        let unreadable =
            |fields: &[&str]| {
                let mut said: Vec<String> = Vec::new();
                for field in fields {
                    let note = made.notes.iter().find(|note| note.field == *field);
                    said.extend(note.map(|note| {
                        format!("{} is there, but {}", note.path.source(), note.reason)
                    }));
                }
                said.join(", and ")
            };
        if let Some(missing) = made.event.user_data.missing_match_key() {
            let unreadable = unreadable(&["em", "client_ip_address", "client_user_agent"]);
            return Some(Dead::NoMatchKey {
                missing,
                unreadable: match unreadable.is_empty() {
                    true => unreadable,
                    false => format!("; {unreadable}"),
                },
            });
        }
        let is_dead =
            made.time == Choice::Unreadable && self.unreadable_time == UnreadableTime::DeadLetter;
        is_dead.then(|| Dead::UnreadableTime {
            unreadable: format!(": {}", unreadable(&["event_time"])),
        })
    }

    pub(super) const fn is_extended(&self) -> bool {
        self.extended
    }

    pub(super) const fn codes(&self) -> bool {
        self.codes
    }

    /// All that the rows and the mappings may look at.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The wire event of a parsed line, dead or not, and what is told of it.
    pub(super) fn event<'t>(
        &'t self,
        root: &'t Node<'t>,
        arena: &'t Arena,
        (kind, message_id, _): Identity<'t>,
        event_name: &'t str,
        fixed: Fixed,
        without: &dyn Fn(&str) -> bool,
    ) -> Made<'t> {
        let notes = Notes::default();
        let (properties, context) = (root.at("properties"), root.at("context"));
        let time = envelope::event_time(root, fixed.accepted_at, &notes);
        let mut mapped = (self.mappings).apply(root, arena, &self.catalog, &notes, without);
        let custom_keys = std::mem::take(&mut mapped.custom_keys);
        let user_data = user_data::Sources {
            root,
            properties,
            context,
            mapped: mapped.person.take(),
            default_user_agent: self.default_user_agent.as_deref(),
            hashing: self.hashing,
            extended: self.extended,
            codes: self.codes,
            limits: &self.limits,
            notes: &notes,
        }
        .read();
        let custom_data = custom_data::Sources {
            properties,
            context,
            default_currency: &self.default_currency,
            catalog: &self.catalog,
            notes: &notes,
        }
        .read(kind, mapped, user_data.is_limited);
        let page_url = envelope::url(context.at("page").at("url"));
        let page_url = notes.take("event_source_url", Place::at("context.page.url"), page_url);
        let url = page_url.or_else(|| {
            let place = Place::at(EXTENDED_URL);
            let read = || envelope::url(properties.at("url"));
            self.extended
                .then(|| notes.take("event_source_url", place, read()))
                .flatten()
        });
        let opt_out = envelope::opt_out(context.at("device").at("adTrackingEnabled"));
        let opt_out_at = Place::at("context.device.adTrackingEnabled");
        let action_source = envelope::action_source(
            kind,
            properties,
            context,
            page_url,
            self.default_action_source,
            &notes,
        );
        let extended = || extended::read(root, kind, action_source, &notes);
        Made {
            event: Event {
                event_name,
                action_source,
                event_time: fixed.event_time,
                event_id: message_id,
                event_source_url: url,
                partner_name: self.partner_name.as_deref(),
                opt_out: notes.take("opt_out", opt_out_at, opt_out).unwrap_or(false),
                extended: self.extended.then(extended),
                user_data,
                custom_data,
            },
            custom_keys,
            time,
            // Last: what stands above has read all.
            notes: notes.finish(),
        }
    }
}

/// One of `consent.ldp_states`: the code of a state of the US, which it gives in lower case.
pub fn limited_state(state: &str) -> Option<String> {
    let lower = state.trim().to_lowercase();
    match state_code(&lower, Some("us")) {
        State::Code(code) if code == lower => Some(lower),
        _ => None,
    }
}

/// `catalog.content_id`: keys of a product, if each can be one.
///
/// # Errors
/// [`OptionsError::ContentId`].
pub fn content_ids(keys: &[String]) -> Result<&[String], OptionsError> {
    let wrong = |why: String| Err(OptionsError::ContentId { why });
    if keys.is_empty() {
        return wrong("it is empty".to_owned());
    }
    for (at, key) in keys.iter().enumerate() {
        if key.contains('.') || key.trim() != key || key.is_empty() {
            return wrong(format!(
                "entry {} is no key of a product, which has no dot",
                at + 1
            ));
        }
        if keys[..at].contains(key) {
            return wrong(format!("entry {} stands there twice", at + 1));
        }
    }
    Ok(keys)
}

/// What is made of a line.
pub(super) struct Made<'t> {
    pub event: Event<'t>,
    /// The custom keys that got in, sorted.
    pub custom_keys: Vec<Arc<str>>,
    /// Which of the event's times counts.
    pub time: Choice,
    pub notes: Vec<Note>,
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
