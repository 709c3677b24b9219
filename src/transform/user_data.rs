//! user_data: who did it, and whether Pinterest could match it.

use std::borrow::Cow;

use super::address::address_of;
use super::codes::{State, country_code, state_code};
use super::epik::{click_id, epik_of_url};
use super::hashing::{Hashing, Normal, is_hash};
use super::notes::{Fault, Notes, Place, Read};
use super::payload::UserData;
use super::scalar::{Text, Texts, any, id_text, real, same_without_case, text_list, value_at};
use crate::event::Node;
use crate::note::Word;
use crate::policy::{Choice, SALE_OF_DATA, choice};

/// What a text of a list has to be.
pub(super) type Rule = for<'t> fn(Text<'t>) -> Result<Text<'t>, Fault>;

/// One of the lists.
pub(super) struct List {
    pub field: &'static str,
    normal: Normal,
    pub rule: Rule,
    /// Where it stands, by precedence; without any only a mapping fills it.
    pub sources: &'static [&'static str],
    /// Behind these, where `user_data.sources` is extended.
    pub extended: &'static [&'static str],
}

const fn list(
    field: &'static str,
    normal: Normal,
    rule: Rule,
    sources: &'static [&'static str],
    extended: &'static [&'static str],
) -> List {
    List {
        field,
        normal,
        rule,
        sources,
        extended,
    }
}

pub(super) const LIST_COUNT: usize = 11;

/// Places in [`LISTS`].
const STATE: usize = 5;
const COUNTRY: usize = 7;
const MAIDS: usize = 10;

/// The lists, in the order of the payload.
pub(super) static LISTS: [List; LIST_COUNT] = [
    list(
        "em",
        Normal::Lower,
        email,
        &["properties.email", "context.traits.email"],
        &["traits.email"],
    ),
    list(
        "ph",
        Normal::Phone,
        phone,
        &["properties.phone", "context.traits.phone"],
        &["traits.phone"],
    ),
    // People are called Null.
    list(
        "fn",
        Normal::Lower,
        any,
        &["properties.first_name", "context.traits.firstName"],
        &["traits.firstName"],
    ),
    list(
        "ln",
        Normal::Lower,
        any,
        &["properties.last_name", "context.traits.lastName"],
        &["traits.lastName"],
    ),
    list(
        "ct",
        Normal::City,
        real,
        &["context.traits.address.city", "properties.address.city"],
        &["properties.shipping_city", "properties.ship_address.city"],
    ),
    list(
        "st",
        Normal::Lower,
        real,
        &["context.traits.address.state", "properties.address.state"],
        &[
            "properties.shipping_state",
            "properties.address.state_name",
            "properties.ship_address.state_name",
        ],
    ),
    list(
        "zp",
        Normal::Postal,
        real,
        &[
            "context.traits.address.postalCode",
            "properties.address.postalCode",
        ],
        &[
            "properties.shipping_zipcode",
            "properties.address.zipcode",
            "properties.address.zip",
            "properties.ship_address.zipcode",
        ],
    ),
    list(
        "country",
        Normal::Lower,
        real,
        &[
            "context.traits.address.country",
            "properties.address.country",
        ],
        &[
            "properties.shipping_country",
            "properties.ship_address.country",
        ],
    ),
    list("db", Normal::AsIs, birthday, &[], &[]),
    list("ge", Normal::Lower, gender, &[], &[]),
    // Hashed whatever `user_data.hashing` says: Pinterest takes no others.
    list("hashed_maids", Normal::Lower, advertising_id, &[], &[]),
];

/// Behind the document's sources of click_id, where they are extended.
pub(super) const EXTENDED_CLICK_IDS: [&str; 3] =
    ["properties.click_id", "properties.epik", "properties.url"];

/// Texts, and the path that they are from.
pub(super) type From<'t, T> = (T, &'t str);

/// What mappings give of a person, before every other source.
#[derive(Default)]
pub(super) struct MappedPerson<'t> {
    pub lists: [Option<From<'t, Texts<'t>>>; LIST_COUNT],
    pub external_id: Option<From<'t, Text<'t>>>,
    pub click_id: Option<Text<'t>>,
    pub partner_id: Option<Text<'t>>,
    pub customer_type: Option<&'static str>,
}

/// Whose data is to be processed within limits, where they refuse its sale.
#[derive(Default)]
pub(super) struct Limits {
    /// Those of these states, by their codes in lower case.
    pub states: Vec<String>,
    /// Everybody: an event of somebody who refuses comes in for such a state alone, and whatever the
    /// config has become since, it does not go without.
    pub everywhere: bool,
}

/// What the rows of user_data read, and what the config adds.
pub(super) struct Sources<'t, 'n> {
    pub root: &'t Node<'t>,
    pub properties: &'t Node<'t>,
    pub context: &'t Node<'t>,
    pub mapped: Option<Box<MappedPerson<'t>>>,
    pub default_user_agent: Option<&'t str>,
    pub hashing: Hashing,
    /// Whether the extended sources are tried.
    pub extended: bool,
    /// Whether countries and states become codes.
    pub codes: bool,
    /// Whose data is to be processed within limits.
    pub limits: &'t Limits,
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
        let mapped = self.mapped.take();
        let (mut lists, mapped) = match mapped {
            Some(mut mapped) => (std::mem::take(&mut mapped.lists), Some(mapped)),
            None => Default::default(),
        };
        let mut found = |number: usize, nodes: &[&'t Node<'t>]| {
            let of_mapping = lists[number].take();
            of_mapping.or_else(|| self.found(number, nodes))
        };
        let [em, ph, first_name, last_name, ct] = [
            found(0, &em),
            found(1, &ph),
            found(2, &first_name),
            found(3, &last_name),
            found(4, &ct),
        ];
        let (mut st, zp, mut country) =
            (found(STATE, &st), found(6, &zp), found(COUNTRY, &country));
        let [db, ge, maids] = [found(8, &[]), found(9, &[]), found(MAIDS, &[])];
        let from_limited_state = self.is_from_limited_state(st.as_ref(), country.as_ref());
        let is_limited = self.is_limited(from_limited_state);
        if self.codes {
            country = country.map(|country| self.country_codes(country));
            let of = country.as_ref().and_then(|(texts, _)| texts.first());
            st = st.map(|st| self.state_codes(st, of.map(|text| &**text)));
        }
        let id = |field, path, node: &'t Node<'t>, read: fn(&'t Node<'t>) -> Read<Text<'t>>| {
            notes.take(field, Place::at(path), read(node))
        };
        let mapped = mapped.unwrap_or_default();
        let external = |path| {
            let text = id("external_id", path, root.at(path), external_id);
            text.map(|text| (text, path))
        };
        let external_id = (mapped.external_id)
            .or_else(|| external("userId"))
            .or_else(|| external("anonymousId"));
        let user_agent = context.at("userAgent");
        let user_agent = id(
            "client_user_agent",
            "context.userAgent",
            user_agent,
            id_text,
        );
        let partner = |path, node| id("partner_id", path, node, id_text);
        let partner_id = (mapped.partner_id)
            .or_else(|| partner("properties.partner_id", properties.at("partner_id")))
            .or_else(|| partner("context.campaign.name", context.at("campaign").at("name")));
        let click_id = (mapped.click_id)
            .or_else(|| click_id(context.at("page"), notes))
            .or_else(|| self.extended.then(|| self.extended_click_id()).flatten());
        let (ip, repeat) = (context.at("ip"), properties.at("repeat"));
        let customer_type = mapped.customer_type.or_else(|| {
            let place = Place::at("properties.repeat");
            let read = || notes.take("customer_type", place, customer_type(repeat));
            self.extended.then(read).flatten()
        });
        UserData {
            em: self.sent(0, em),
            ph: self.sent(1, ph),
            first_name: self.sent(2, first_name),
            last_name: self.sent(3, last_name),
            ct: self.sent(4, ct),
            st: self.sent(STATE, st),
            zp: self.sent(6, zp),
            country: self.sent(COUNTRY, country),
            db: self.sent(8, db),
            ge: self.sent(9, ge),
            hashed_maids: self.sent(MAIDS, maids),
            // Hashed as it is, so that nothing of it is emptied.
            external_id: external_id.map_or_else(Texts::new, |(text, source)| {
                let texts = Texts::from_iter([text]);
                (self.hashing).apply(texts, Normal::AsIs, notes, "external_id", source)
            }),
            client_ip_address: id("client_ip_address", "context.ip", ip, address_of),
            client_user_agent: user_agent.or(self.default_user_agent.map(Text::Borrowed)),
            click_id,
            partner_id,
            customer_type,
            from_limited_state,
            is_limited,
        }
    }

    /// Whether an event is from a state whose people may refuse the sale of their data.
    fn is_from_limited_state(
        &self,
        state: Option<&From<'t, Texts<'t>>>,
        country: Option<&From<'t, Texts<'t>>>,
    ) -> bool {
        if self.limits.states.is_empty() {
            return false;
        }
        let country = country.and_then(|(texts, _)| country_code(texts.first()?));
        // The states are those of one country; of another, a state may have the same code.
        let elsewhere = country.is_some_and(|country| country != "us");
        let is_listed = |text: &Text<'t>| match state_code(text, Some("us")) {
            State::Code(code) => self.limits.states.iter().any(|state| state == code),
            _ => false,
        };
        !elsewhere && state.is_some_and(|(texts, _)| texts.iter().any(is_listed))
    }

    /// Whether what is sent has to say that processing is limited. A refusal is not lost to a type:
    /// whatever stands there and is not true is one.
    fn is_limited(&self, from_limited_state: bool) -> bool {
        if !from_limited_state && !self.limits.everywhere {
            return false;
        }
        matches!(
            choice(self.root, SALE_OF_DATA),
            Choice::Refused | Choice::Unreadable
        )
    }

    /// The first source of one of [`LISTS`] that gives anything: of `nodes`, which are its sources',
    /// then of the extended ones.
    fn found(&self, number: usize, nodes: &[&'t Node<'t>]) -> Option<From<'t, Texts<'t>>> {
        let list = &LISTS[number];
        let read = |node: &'t Node<'t>, source: &'static str| {
            let texts = text_list(node, list.rule, self.notes, list.field, Place::at(source));
            texts.map(|texts| (texts, source))
        };
        let mut own = nodes.iter().zip(list.sources);
        let own = own.find_map(|(node, source)| read(node, source));
        own.or_else(|| {
            let mut more = list.extended.iter().filter(|_| self.extended);
            more.find_map(|source| read(value_at(self.root, source), source))
        })
    }

    /// The texts of one of [`LISTS`] as they are sent.
    fn sent(&self, number: usize, found: Option<From<'t, Texts<'t>>>) -> Texts<'t> {
        let Some((texts, source)) = found else {
            return Texts::new();
        };
        let List { field, normal, .. } = LISTS[number];
        let hashing = match number {
            MAIDS => Hashing::Sha256,
            _ => self.hashing,
        };
        hashing.apply(texts, normal, self.notes, field, source)
    }

    fn country_codes(&self, (texts, source): From<'t, Texts<'t>>) -> From<'t, Texts<'t>> {
        let code = |text: Text<'t>| match country_code(&text) {
            Some(code) => Cow::Owned(code),
            None => self.without_code("country", text, source, "is in no table of countries"),
        };
        (texts.into_iter().map(code).collect(), source)
    }

    /// `country`: what is sent as country.
    fn state_codes(
        &self,
        (texts, source): From<'t, Texts<'t>>,
        country: Option<&str>,
    ) -> From<'t, Texts<'t>> {
        let known = country.and_then(country_code);
        let code = |text: Text<'t>| match state_code(&text, known.as_deref()) {
            // Of a country that nobody knows, nor is the state.
            _ if country.is_some() && known.is_none() => text,
            State::Code(code) => Cow::Borrowed(code),
            State::Elsewhere => text,
            State::Unknown => {
                let reason = "is no state of the United States, Canada or Australia";
                self.without_code("st", text, source, reason)
            }
        };
        (texts.into_iter().map(code).collect(), source)
    }

    /// What is in no table stays as it was; a hash is whatever it was made of.
    fn without_code(
        &self,
        field: &'static str,
        text: Text<'t>,
        source: &'t str,
        reason: &'static str,
    ) -> Text<'t> {
        if !is_hash(&text) {
            let fault = Fault::new(Word::NoCode, reason);
            self.notes.add(field, Place::configured(source), fault);
        }
        text
    }

    fn extended_click_id(&self) -> Option<Text<'t>> {
        let [click_id, epik, url] = EXTENDED_CLICK_IDS;
        let read = |path: &'static str, read: fn(&'t Node<'t>) -> Read<Text<'t>>| {
            let node = value_at(self.root, path);
            self.notes.take("click_id", Place::at(path), read(node))
        };
        let of_url = |node: &'t Node<'t>| node.as_str().map_or(Ok(None), epik_of_url);
        read(click_id, id_text)
            .or_else(|| read(epik, id_text))
            .or_else(|| read(url, of_url))
    }
}

impl UserData<'_> {
    /// What stands between this event and a match at Pinterest, which needs `em`, `hashed_maids`
    /// or both of client_ip_address and client_user_agent; `None` if it has enough.
    pub(super) fn missing_match_key(&self) -> Option<&'static str> {
        if !self.em.is_empty() || !self.hashed_maids.is_empty() {
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

/// Whether a text has an `@` with another character directly on both sides.
pub(super) fn is_address(text: &str) -> bool {
    // A byte beside an @ belongs to another character, whichever that is.
    let bytes = text.as_bytes();
    let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| *b != b'@');
    let is_sign = |(at, byte): (usize, &u8)| {
        *byte == b'@' && is_part(at.checked_sub(1)) && is_part(Some(at + 1))
    };
    bytes.iter().enumerate().any(is_sign)
}

/// An address, or its hash. Any other text would only look like a match key.
fn email(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let text = real(text)?;
    match is_address(&text) || is_hash(&text) {
        true => Ok(text),
        false => Err(Fault::unreadable(
            "is neither an address with an @ nor a SHA-256",
        )),
    }
}

/// An id of a phone. Zeros alone are what phones say whose owners allow none.
fn advertising_id(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let text = real(text)?;
    match text.bytes().any(|b| b != b'0' && b != b'-') {
        true => Ok(text),
        false => Err(Fault::new(
            Word::Placeholder,
            "is zeros alone, which phones say for none",
        )),
    }
}

/// Eight digits that are a day of the calendar.
fn birthday(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i16>().ok();
    let is_day = || {
        let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(year, month, day).ok()
    };
    let is_digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    match is_hash(&text) || (is_digits && is_day().is_some()) {
        true => Ok(text),
        false => Err(Fault::unreadable("is no day as YYYYMMDD")),
    }
}

/// One of Pinterest's three letters, in lower case.
fn gender(text: Text<'_>) -> Result<Text<'_>, Fault> {
    let letter = ["f", "m", "n"]
        .into_iter()
        .find(|letter| text.eq_ignore_ascii_case(letter));
    match letter {
        Some(letter) => Ok(Cow::Borrowed(letter)),
        None if is_hash(&text) => Ok(text),
        None => Err(Fault::unreadable("is none of f, m, n")),
    }
}

/// Whether the customer has bought before: yes and no, or Pinterest's words for it.
pub(super) fn customer_type(node: &Node<'_>) -> Read<&'static str> {
    match node {
        Node::Bool(true) => Ok(Some("returning")),
        Node::Bool(false) => Ok(Some("new")),
        node if node.is_missing() => Ok(None),
        Node::String(text) if same_without_case(text, "returning") => Ok(Some("returning")),
        Node::String(text) if same_without_case(text, "new") => Ok(Some("new")),
        _ => Err(Fault::unreadable(
            "is neither true nor false, nor new or returning",
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

#[cfg(test)]
mod tests {
    use super::*;
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
