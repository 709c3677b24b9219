//! event_name, action_source, event_source_url, opt_out.

use std::collections::HashMap;
use std::sync::Arc;

use super::options::OptionsError;
use super::scalar::{same_without_case, trimmed};
use crate::event::{Kind, Node};

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
        })
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
) -> &'static str {
    let own = properties.at("action_source").as_str();
    if let Some(source) = own.and_then(action_source_named) {
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

/// `context.page.url`, trimmed; `page` is `context.page`.
pub(super) fn url<'t>(page: &'t Node<'_>) -> Option<&'t str> {
    page.at("url").as_str().and_then(trimmed)
}

/// Whether the device says that ad tracking is off.
pub(super) fn opt_out(context: &Node<'_>) -> bool {
    matches!(
        context.at("device").at("adTrackingEnabled"),
        Node::Bool(false)
    )
}
