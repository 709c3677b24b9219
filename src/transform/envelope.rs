//! event_name, action_source, event_time, event_source_url, opt_out.

use std::collections::HashMap;
use std::sync::Arc;

use super::notes::{Fault, Notes, Place, Read};
use super::options::OptionsError;
use super::scalar::{same_without_case, scalar_text, trimmed};
use crate::event::time::{self, Choice, Odd, PATHS};
use crate::event::{Kind, Node};
use crate::note::Word;

/// The values of `action_source` that Pinterest takes.
const ACTION_SOURCES: [&str; 4] = ["web", "app_android", "app_ios", "offline"];

/// Pages and screens go under this name.
const PAGE_VISIT: &str = "page_visit";

/// Chord's standard tracks, in lower case, and Pinterest's names for them.
const STANDARD: [(&str, &str); 6] = [
    ("order completed", "checkout"),
    ("checkout started", "initiate_checkout"),
    ("product added", "add_to_cart"),
    ("product viewed", "view_content"),
    ("products searched", "search"),
    ("product added to wishlist", "add_to_wishlist"),
];

/// The table of event names: the standard ones and `[event_names]` over them.
pub(super) struct Names {
    page_visit: Arc<str>,
    /// Trimmed, in lower case → as it goes on the wire.
    tracks: HashMap<String, Arc<str>>,
    /// The events of `[event_names]`, as written.
    configured: Vec<String>,
}

impl Names {
    pub(super) fn new(configured: &[(String, String)]) -> Result<Self, OptionsError> {
        let mut tracks: HashMap<String, Arc<str>> = STANDARD
            .iter()
            .map(|(from, to)| ((*from).to_owned(), Arc::from(*to)))
            .collect();
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (from, to) in configured {
            let key = from.trim().to_lowercase();
            if key.is_empty() {
                return Err(OptionsError::EmptyEventKey);
            }
            if to.trim().is_empty() {
                return Err(OptionsError::EmptyEventName { key: from.clone() });
            }
            if let Some(other) = seen.insert(key.clone(), from) {
                return Err(OptionsError::SameEvent {
                    first: other.to_owned(),
                    second: from.clone(),
                });
            }
            tracks.insert(key, Arc::from(to.as_str()));
        }
        Ok(Self {
            page_visit: Arc::from(PAGE_VISIT),
            tracks,
            configured: configured.iter().map(|(from, _)| from.clone()).collect(),
        })
    }

    /// The events that the config names, in its order.
    pub(super) fn configured(&self) -> impl Iterator<Item = &str> {
        self.configured.iter().map(String::as_str)
    }

    /// The name on the wire. `event` is a track's name, which without an entry stays as it
    /// is, byte for byte.
    pub(super) fn wire(&self, kind: Kind, event: &str) -> Arc<str> {
        if kind != Kind::Track {
            return self.page_visit.clone();
        }
        match self.tracks.get(&event.trim().to_lowercase()) {
            Some(name) => name.clone(),
            None => Arc::from(event),
        }
    }
}

impl Names {
    /// In words, what [`Names::wire`] goes by.
    pub(super) fn source(&self, kind: Kind, event: &str) -> &'static str {
        let key = event.trim().to_lowercase();
        match (kind, self.tracks.get(&key)) {
            (Kind::Page, _) => "type page",
            (Kind::Screen, _) => "type screen",
            (_, None) => "event, which is no standard name and goes as it is",
            (_, Some(name)) => {
                let standard = STANDARD
                    .iter()
                    .any(|(from, to)| *from == key && **name == **to);
                match standard {
                    true => "event, a standard name",
                    false => "event, by [event_names] of the config",
                }
            }
        }
    }
}

/// The action_source of exactly this name.
pub(super) fn action_source_named(name: &str) -> Option<&'static str> {
    ACTION_SOURCES.into_iter().find(|source| *source == name)
}

/// Where it happened: what the event says, otherwise what its device says, otherwise `default`.
pub(super) fn action_source(
    kind: Kind,
    properties: &Node<'_>,
    context: &Node<'_>,
    url: Option<&str>,
    default: &'static str,
    notes: &Notes,
) -> &'static str {
    let own = own_action_source(properties.at("action_source"));
    let place = Place::at("properties.action_source");
    if let Some(source) = notes.take("action_source", place, own) {
        return source;
    }
    if kind != Kind::Screen && url.is_some() {
        return "web";
    }
    let device = context.at("device").at("type");
    let os = context.at("os").at("name");
    [device, os]
        .into_iter()
        .find_map(|hint| platform(hint.as_str()?))
        .unwrap_or(default)
}

/// What the event says of itself.
pub(super) fn own_action_source(node: &Node<'_>) -> Read<&'static str> {
    match node.as_str().and_then(action_source_named) {
        None if node.is_missing() => Ok(None),
        None => Err(Fault::unreadable(
            "is none of web, app_android, app_ios, offline",
        )),
        source => Ok(source),
    }
}

/// The app platform that a device or an operating system stands for.
pub(super) fn platform(hint: &str) -> Option<&'static str> {
    let is = |name| same_without_case(hint, name);
    if is("android") {
        Some("app_android")
    } else if is("ios") || is("ipados") || is("iphone os") {
        Some("app_ios")
    } else {
        None
    }
}

/// `context.page.url`, trimmed.
pub(super) fn url<'t>(node: &'t Node<'_>) -> Read<&'t str> {
    match node {
        Node::String(text) => Ok(trimmed(text)),
        node if node.is_missing() => Ok(None),
        _ => Err(Fault::unreadable("is no text")),
    }
}

/// Whether the device says that ad tracking is off, in whatever type: an opt-out must not be lost
/// to one.
pub(super) fn opt_out(node: &Node<'_>) -> Read<bool> {
    let says = |word: &str| match node {
        Node::String(text) => same_without_case(text, word),
        _ => false,
    };
    let is_number = |digits: &str| match node {
        Node::Number(_) => scalar_text(node).is_ok_and(|text| text.as_deref() == Some(digits)),
        _ => says(digits),
    };
    match node {
        Node::Bool(on) => Ok(Some(!on)),
        node if node.is_missing() => Ok(None),
        _ if says("false") || is_number("0") => Ok(Some(true)),
        _ if says("true") || is_number("1") => Ok(Some(false)),
        _ => Err(Fault::unreadable("is neither true nor false")),
    }
}

/// Which of the event's times counts for one that was accepted at `accepted` (Unix seconds), and
/// what is odd about those that came to count.
pub(super) fn event_time(root: &Node<'_>, accepted: i64, notes: &Notes) -> Choice {
    let read = |at: usize| root.at(PATHS[at]).as_time();
    let tell = |at: usize, odd| notes.add("event_time", Place::at(PATHS[at]), odd_time(odd));
    time::choose(accepted, read, tell)
}

/// What is told of a time.
pub(super) const fn odd_time(odd: Odd) -> Fault {
    match odd {
        Odd::Unreadable => Fault::unreadable(
            "is no time that can be read for certain: an ISO 8601 date and time, an RFC 2822 date, \
             or Unix time, from 2001 to 2100",
        ),
        Odd::Future => Fault::new(
            Word::Future,
            "is more than 10 minutes after the event was accepted",
        ),
        Odd::AssumedUtc => Fault::new(Word::AssumedUtc, "has no zone, and was taken for UTC"),
    }
}
