//! click_id: the `epik` parameter of where the customer landed.

use super::notes::{Fault, Notes, Place, Read};
use super::scalar::{Text, is_placeholder, trimmed_cow};
use crate::event::Node;
use crate::note::Word;

/// The `epik` parameter of the page's URL, otherwise of its `search`. That the URL is no text is
/// told where it is sent.
pub(super) fn click_id<'t>(page: &'t Node<'_>, notes: &Notes) -> Option<Text<'t>> {
    let of_url = page.at("url").as_str().map_or(Ok(None), epik_of_url);
    let of_url = notes.take("click_id", Place::at("context.page.url"), of_url);
    of_url.or_else(|| {
        let of_search = search(page.at("search"));
        notes.take("click_id", Place::at("context.page.search"), of_search)
    })
}

/// The `epik` parameter of a page's `search`.
pub(super) fn search<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match node {
        Node::String(text) => epik_of_search(text),
        node if node.is_missing() => Ok(None),
        _ => Err(Fault::unreadable("is no text")),
    }
}

/// The `epik` parameter of a URL's query.
pub(super) fn epik_of_url(url: &str) -> Read<Text<'_>> {
    match before_fragment(url).split_once('?') {
        Some((_, query)) => epik(query),
        None => Ok(None),
    }
}

/// The `epik` parameter of a query, with or without its question mark.
fn epik_of_search(search: &str) -> Read<Text<'_>> {
    let search = before_fragment(search);
    epik(search.strip_prefix('?').unwrap_or(search))
}

fn before_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(before, _)| before)
}

/// The first that says something.
fn epik(query: &str) -> Read<Text<'_>> {
    let mut fault = None;
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "epik");
    for value in values.filter_map(|(_, value)| trimmed_cow(value)) {
        if !is_placeholder(&value) {
            return Ok(Some(value));
        }
        fault = Some(Fault::new(
            Word::Placeholder,
            "has an epik that is only a word for nothing",
        ));
    }
    fault.map_or(Ok(None), Err)
}
