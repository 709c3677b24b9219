//! user_data: who did it, and whether Pinterest could match it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hashing::{Hashing, Normal};
use super::notes::{Fault, Notes, Place, Read};
use super::payload::UserData;
use super::scalar::{Text, Texts, any, id_text, is_placeholder, real, text_list, trimmed_cow};
use crate::event::Node;
use crate::note::Word;

/// What a text of a list has to be.
pub(super) type Rule = for<'t> fn(Text<'t>) -> Result<Text<'t>, Fault>;

/// One of the eight lists.
pub(super) struct List {
    pub field: &'static str,
    normal: Normal,
    pub rule: Rule,
    /// Where it stands, by precedence.
    pub sources: [&'static str; 2],
}

const fn list(field: &'static str, normal: Normal, rule: Rule, sources: [&'static str; 2]) -> List {
    List {
        field,
        normal,
        rule,
        sources,
    }
}

const LIST_COUNT: usize = 8;

/// The lists, in the order of the payload.
pub(super) static LISTS: [List; LIST_COUNT] = [
    list(
        "em",
        Normal::Lower,
        email,
        ["properties.email", "context.traits.email"],
    ),
    list(
        "ph",
        Normal::Phone,
        phone,
        ["properties.phone", "context.traits.phone"],
    ),
    // People are called Null.
    list(
        "fn",
        Normal::Lower,
        any,
        ["properties.first_name", "context.traits.firstName"],
    ),
    list(
        "ln",
        Normal::Lower,
        any,
        ["properties.last_name", "context.traits.lastName"],
    ),
    list(
        "ct",
        Normal::City,
        real,
        ["context.traits.address.city", "properties.address.city"],
    ),
    list(
        "st",
        Normal::Lower,
        real,
        ["context.traits.address.state", "properties.address.state"],
    ),
    list(
        "zp",
        Normal::Postal,
        real,
        [
            "context.traits.address.postalCode",
            "properties.address.postalCode",
        ],
    ),
    list(
        "country",
        Normal::Lower,
        real,
        [
            "context.traits.address.country",
            "properties.address.country",
        ],
    ),
];

/// What mappings give of [`LISTS`], each with the path that it is from.
pub(super) type Pii<'t> = [Option<(Texts<'t>, &'t str)>; LIST_COUNT];

/// What the rows of user_data read, and what the config adds.
pub(super) struct Sources<'t, 'n> {
    pub root: &'t Node<'t>,
    pub properties: &'t Node<'t>,
    pub context: &'t Node<'t>,
    /// Personal fields fed by `[[mappings]]`, as if the properties had carried them.
    pub mapped: Option<Box<Pii<'t>>>,
    pub default_user_agent: Option<&'t str>,
    pub hashing: Hashing,
    pub notes: &'n Notes,
}

impl<'t> Sources<'t, '_> {
    /// Every row of user_data.
    pub(super) fn read(mut self) -> UserData<'t> {
        let (root, properties, context) = (self.root, self.properties, self.context);
        let (notes, traits) = (self.notes, self.context.at("traits"));
        let (home, address) = (traits.at("address"), properties.at("address"));
        let place = |key: &str| [home.at(key), address.at(key)];
        let [em, ph, first_name, last_name, ct, st, zp, country] = [
            [properties.at("email"), traits.at("email")],
            [properties.at("phone"), traits.at("phone")],
            [properties.at("first_name"), traits.at("firstName")],
            [properties.at("last_name"), traits.at("lastName")],
            place("city"),
            place("state"),
            place("postalCode"),
            place("country"),
        ];
        let id = |field, path, node: &'t Node<'t>, read: fn(&'t Node<'t>) -> Read<Text<'t>>| {
            notes.take(field, Place::at(path), read(node))
        };
        let external = |path| id("external_id", path, root.at(path), external_id);
        let external_id = external("userId").or_else(|| external("anonymousId"));
        let user_agent = context.at("userAgent");
        let user_agent = id(
            "client_user_agent",
            "context.userAgent",
            user_agent,
            id_text,
        );
        let partner = |path, node| id("partner_id", path, node, id_text);
        let partner_id = partner("properties.partner_id", properties.at("partner_id"))
            .or_else(|| partner("context.campaign.name", context.at("campaign").at("name")));
        UserData {
            em: self.list(0, em),
            ph: self.list(1, ph),
            first_name: self.list(2, first_name),
            last_name: self.list(3, last_name),
            ct: self.list(4, ct),
            st: self.list(5, st),
            zp: self.list(6, zp),
            country: self.list(7, country),
            // Hashed as it is, so that nothing of it is emptied.
            external_id: (self.hashing).apply(
                external_id.into_iter().collect(),
                Normal::AsIs,
                notes,
                "external_id",
                "userId",
            ),
            client_ip_address: id(
                "client_ip_address",
                "context.ip",
                context.at("ip"),
                address_of,
            ),
            client_user_agent: user_agent.or(self.default_user_agent.map(Text::Borrowed)),
            click_id: click_id(context.at("page"), notes),
            partner_id,
        }
    }

    /// The first source of one of [`LISTS`] that gives anything.
    fn list(&mut self, number: usize, nodes: [&'t Node<'t>; 2]) -> Texts<'t> {
        let List {
            field,
            normal,
            rule,
            sources,
        } = LISTS[number];
        let mapped = self
            .mapped
            .as_mut()
            .and_then(|mapped| mapped[number].take());
        let found = mapped.or_else(|| {
            nodes.into_iter().zip(sources).find_map(|(node, source)| {
                let texts = text_list(node, rule, self.notes, field, Place::at(source));
                texts.map(|texts| (texts, source))
            })
        });
        match found {
            Some((texts, source)) => (self.hashing).apply(texts, normal, self.notes, field, source),
            None => Texts::new(),
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

/// An address, or its hash. Any other text would only look like a match key.
fn email(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let text = real(text)?;
    // A byte beside an @ belongs to another character, whichever that is.
    let bytes = text.as_bytes();
    let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| *b != b'@');
    let is_sign = |(at, byte): (usize, &u8)| {
        *byte == b'@' && is_part(at.checked_sub(1)) && is_part(Some(at + 1))
    };
    let is_address = bytes.iter().enumerate().any(is_sign);
    let is_hash = || text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_address || is_hash() {
        true => Ok(text),
        false => Err(Fault::unreadable(
            "is neither an address with an @ nor a SHA-256",
        )),
    }
}

fn phone(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let text = real(text)?;
    match text.bytes().any(|b| b.is_ascii_digit()) {
        true => Ok(text),
        false => Err(Fault::unreadable("has no digit")),
    }
}

/// An id of the shop's; 0 is what shops write for a guest.
pub(super) fn external_id<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match id_text(node)? {
        Some(text) if text == "0" => Err(Fault::new(
            Word::Placeholder,
            "is 0, which shops write for a guest",
        )),
        found => Ok(found),
    }
}

const NO_ADDRESS: Fault = Fault::unreadable("is no address");
const PRIVATE: Fault = Fault::unreadable("is a private or local address, which matches nobody");

/// One address that means somebody: of a list, an array or a text with commas, the first.
pub(super) fn address_of<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match node {
        Node::Null => Ok(None),
        Node::String(text) => match one_address(text.trim()) {
            Err(_) if node.is_missing() => Ok(None),
            Err(_) if text.contains(',') => first(text.split(',').map(str::trim)),
            address => address.map(Some),
        },
        node if node.is_missing() => Ok(None),
        Node::Array(elements) if elements.iter().all(Node::is_missing) => Ok(None),
        Node::Array(elements) => {
            let texts = elements.iter().filter_map(Node::as_str);
            // A header that came several times, each a list of its own.
            first(texts.flat_map(|text| text.split(',')).map(str::trim))
        }
        _ => Err(NO_ADDRESS),
    }
}

/// The first that can be used; else what is wrong with them.
fn first<'t>(texts: impl Iterator<Item = &'t str>) -> Read<Text<'t>> {
    let mut fault = NO_ADDRESS;
    for text in texts {
        match one_address(text) {
            Ok(address) => return Ok(Some(address)),
            Err(wrong) if wrong == PRIVATE => fault = wrong,
            Err(_) => {}
        }
    }
    Err(fault)
}

/// The address that a trimmed text is, without port, brackets and zone; as written, but an
/// IPv4-mapped one as IPv4.
fn one_address(text: &str) -> Result<Text<'_>, Fault> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return usable_v4(ip).map(|()| Cow::Borrowed(text));
    }
    if let Some((host, port)) = text.split_once(':')
        && is_port(port)
        && let Ok(ip) = host.parse::<Ipv4Addr>()
    {
        return usable_v4(ip).map(|()| Cow::Borrowed(host));
    }
    let bare = match text.strip_prefix('[') {
        None => text,
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => host,
            Some((host, port)) if port.strip_prefix(':').is_some_and(is_port) => host,
            _ => return Err(NO_ADDRESS),
        },
    };
    let host = match bare.split_once('%') {
        None => bare,
        Some((host, zone)) if !zone.is_empty() => host,
        Some(_) => return Err(NO_ADDRESS),
    };
    let ip: Ipv6Addr = host.parse().map_err(|_| NO_ADDRESS)?;
    match IpAddr::V6(ip).to_canonical() {
        IpAddr::V4(ip) => usable_v4(ip).map(|()| Cow::Owned(ip.to_string())),
        IpAddr::V6(ip) => usable_v6(ip).map(|()| Cow::Borrowed(host)),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn usable_v4(ip: Ipv4Addr) -> Result<(), Fault> {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && b & 0b1100_0000 == 64;
    let is_nobodys = ip.is_private()
        || is_shared
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified();
    if is_nobodys { Err(PRIVATE) } else { Ok(()) }
}

fn usable_v6(ip: Ipv6Addr) -> Result<(), Fault> {
    let is_nobodys = ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unicast_link_local()
        || ip.is_unique_local();
    if is_nobodys { Err(PRIVATE) } else { Ok(()) }
}

/// The `epik` parameter of the page's URL, otherwise of its `search`. That the URL is no text is
/// told where it is sent.
fn click_id<'t>(page: &'t Node<'_>, notes: &Notes) -> Option<Text<'t>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};

    fn address(json: &str) -> Result<Option<String>, &'static str> {
        let arena = Arena::default();
        let Ok(node) = parse(&arena, json.as_bytes()) else {
            panic!("{json}")
        };
        let read = address_of(&node).map(|found| found.map(Cow::into_owned));
        read.map_err(|fault| fault.reason)
    }

    #[test]
    fn addresses_as_proxies_write_them() {
        for (text, expected) in [
            (" 203.0.113.7 ", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7:0", "203.0.113.7"),
            ("2001:DB8::1", "2001:DB8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1%eth0", "2001:db8::1"),
            ("[2001:db8::1%25en0]:65535", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::FFFF:cb00:7107", "203.0.113.7"),
            ("[0:0:0:0:0:ffff:203.0.113.7]:80", "203.0.113.7"),
            ("::203.0.113.7", "::203.0.113.7"),
            (
                "unknown, 10.0.0.1 ,203.0.113.7:80,198.51.100.1",
                "203.0.113.7",
            ),
            ("255.255.255.255", "255.255.255.255"),
            ("100.63.255.255", "100.63.255.255"),
            ("172.32.0.1", "172.32.0.1"),
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Ok(Some(expected.into())),
                "{text}"
            );
        }
        assert_eq!(
            address(r#"[null,7,"x","10.0.0.1","203.0.113.7"]"#),
            Ok(Some("203.0.113.7".into()))
        );
        assert_eq!(
            address(r#"["10.0.0.1, 203.0.113.7","198.51.100.1"]"#),
            Ok(Some("203.0.113.7".into()))
        );
        for missing in ["null", r#"" ""#, "[]", "{}", r#"[null,""]"#] {
            assert_eq!(address(missing), Ok(None), "{missing}");
        }
        for text in [
            "203.0.113.7:65536",
            "203.0.113.7:",
            "203.0.113.7:+80",
            "203.0.113.7:x",
            "[203.0.113.7]",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "2001:db8::1%",
            "203.0.113",
            "203.000.113.007",
            "example.org",
            ",",
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Err(NO_ADDRESS.reason),
                "{text}"
            );
        }
        for json in ["7", "true", r#"{"a":1}"#, r#"[7]"#] {
            assert_eq!(address(json), Err(NO_ADDRESS.reason), "{json}");
        }
    }

    #[test]
    fn addresses_that_match_nobody() {
        for text in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1:80",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "::",
            "::1",
            "fe80::1%eth0",
            "fd00::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "::ffff:0.0.0.0",
            "unknown, 10.0.0.1",
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Err(PRIVATE.reason),
                "{text}"
            );
        }
    }

    #[test]
    fn what_looks_like_an_address_of_somebody() {
        let taken = |text: &'static str| email(Text::Borrowed(text)).map_err(|fault| fault.word);
        let hash = "AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789AbCdEf0123456789";
        for good in ["a@b", "@@a@b", "a@b@", "é@ü", "a @ b", hash] {
            assert_eq!(taken(good).as_deref(), Ok(good));
        }
        for bad in ["a", "@b", "a@", "a@@b", "@", &hash[1..]] {
            assert_eq!(taken(bad), Err(Word::Unreadable), "{bad}");
        }
        assert_eq!(taken("N/A"), Err(Word::Placeholder));
    }
}
