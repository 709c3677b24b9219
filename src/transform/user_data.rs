//! user_data: who did it, and whether Pinterest could match it.

use std::net::IpAddr;

use super::hashing::{Hashing, Normal};
use super::mappings::Pii;
use super::payload::UserData;
use super::scalar::{Text, Texts, scalar_text, text_list, trimmed_cow};
use crate::event::Node;

/// What the rows of user_data read, and what the config adds.
pub(super) struct Sources<'t> {
    pub root: &'t Node<'t>,
    pub properties: &'t Node<'t>,
    pub context: &'t Node<'t>,
    /// Personal fields fed by `[[mappings]]`, as if the properties had carried them.
    pub mapped: Pii<'t>,
    pub default_user_agent: Option<&'t str>,
    pub hashing: Hashing,
}

impl<'t> Sources<'t> {
    /// Every row of user_data.
    pub(super) fn read(self) -> UserData<'t> {
        let (properties, context) = (self.properties, self.context);
        let traits = context.at("traits");
        let address = (traits.at("address"), properties.at("address"));
        let hashing = self.hashing;
        let list = |mapped: Option<Texts<'t>>, first, second, normal| {
            let texts = mapped
                .or_else(|| text_list(first))
                .or_else(|| text_list(second));
            hashing.apply(texts.unwrap_or_default(), normal)
        };
        let place = |key, normal| list(None, address.0.at(key), address.1.at(key), normal);
        let person = |mapped, property, name, normal| {
            list(mapped, properties.at(property), traits.at(name), normal)
        };
        let [email, phone, first_name, last_name] = self.mapped;
        let external_id = scalar_text(self.root.at("userId"))
            .or_else(|| scalar_text(self.root.at("anonymousId")));
        let default_user_agent = self.default_user_agent.map(Text::Borrowed);
        UserData {
            em: person(email, "email", "email", Normal::Lower),
            ph: person(phone, "phone", "phone", Normal::Phone),
            first_name: person(first_name, "first_name", "firstName", Normal::Lower),
            last_name: person(last_name, "last_name", "lastName", Normal::Lower),
            ct: place("city", Normal::City),
            st: place("state", Normal::Lower),
            zp: place("postalCode", Normal::Postal),
            country: place("country", Normal::Lower),
            external_id: hashing.apply(external_id.into_iter().collect(), Normal::AsIs),
            client_ip_address: context.at("ip").as_str().and_then(address_of),
            client_user_agent: scalar_text(context.at("userAgent")).or(default_user_agent),
            click_id: click_id(context.at("page")),
            partner_id: scalar_text(properties.at("partner_id"))
                .or_else(|| scalar_text(context.at("campaign").at("name"))),
        }
    }
}

impl UserData<'_> {
    /// What stands between this event and a match at Pinterest, which needs `em` or both of
    /// client_ip_address and client_user_agent; `None` if it has enough.
    pub(super) fn missing_match_key(&self) -> Option<&'static str> {
        if !self.em.is_empty() {
            return None;
        }
        match (&self.client_ip_address, &self.client_user_agent) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some("client_ip_address"),
            (Some(_), None) => Some("client_user_agent"),
            (None, None) => Some("client_ip_address and client_user_agent"),
        }
    }
}

/// The text as written, trimmed, if it is one address that means somebody.
pub(super) fn address_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let unspecified = match text.parse().ok()? {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_unspecified() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_unspecified())
        }
    };
    (!unspecified).then_some(text)
}

/// The `epik` parameter of the page's URL, otherwise of its `search`.
fn click_id<'t>(page: &'t Node<'_>) -> Option<Text<'t>> {
    let of_url = page.at("url").as_str().and_then(epik_of_url);
    of_url.or_else(|| epik_of_search(page.at("search").as_str()?))
}

/// The `epik` parameter of a URL's query.
pub(super) fn epik_of_url(url: &str) -> Option<Text<'_>> {
    let (_, query) = before_fragment(url).split_once('?')?;
    epik(query)
}

/// The `epik` parameter of a query, with or without its question mark.
pub(super) fn epik_of_search(search: &str) -> Option<Text<'_>> {
    let search = before_fragment(search);
    epik(search.strip_prefix('?').unwrap_or(search))
}

fn before_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(before, _)| before)
}

fn epik(query: &str) -> Option<Text<'_>> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "epik")
        .find_map(|(_, value)| trimmed_cow(value))
}
