//! Which parts a payload has, and what else of its event would give those that it lacks.

use super::apply::{Transform, identity};
use super::codes::{State, country_code, state_code};
use super::items::Items;
use super::money::{Micros, amount};
use super::notes::Notes;
use super::payload::Event;
use super::rows::{EVERY, EXTENDED};
use super::scalar::{id_text, value_at};
use super::user_data::is_address;
use crate::coverage::{Coverage, Cure, FIELDS, Look, Prospect, place};
use crate::event::{self, Arena, Kind, Node};

/// What a shop may call a product's id beside what the config names.
const OTHER_IDS: [&str; 6] = [
    "variant_id",
    "product_id",
    "sku",
    "id",
    "item_id",
    "parent_id",
];
/// What a shop may call an order's total.
const TOTALS: [&str; 4] = ["total", "subtotal", "amount", "order_total"];
/// Whose address it is that stands under such a key, if not the customer's.
const OTHERS: [&str; 14] = [
    "support",
    "shop",
    "store",
    "seller",
    "vendor",
    "merchant",
    "refer",
    "recipient",
    "friend",
    "sender",
    "from",
    "reply",
    "admin",
    "gift",
];
/// How deep an address is looked for, and in how long a key.
const DEEPEST: usize = 4;
const LONGEST_KEY: usize = 40;

impl Event<'_> {
    /// Its parts. `default_agent`: what stands in for a missing user agent.
    pub(super) fn coverage(&self, default_agent: Option<&str>) -> Coverage {
        let (user, data) = (&self.user_data, &self.custom_data);
        let agent = user.client_user_agent.as_deref();
        let is_default = agent.is_some() && agent == default_agent;
        let contents = data.contents.as_deref().unwrap_or_default();
        let has_id = || contents.iter().any(|content| content.id.is_some());
        Coverage::of(
            [
                !user.em.is_empty(),
                !user.hashed_maids.is_empty(),
                user.client_ip_address.is_some(),
                agent.is_some() && !is_default,
                user.click_id.is_some(),
                !user.external_id.is_empty(),
                true,
                data.order_id.is_some(),
                data.value.is_some(),
                data.content_ids.is_some() || has_id(),
                self.event_source_url.is_some(),
                !user.ph.is_empty(),
                !user.first_name.is_empty(),
                !user.last_name.is_empty(),
                !user.ct.is_empty(),
                !user.st.is_empty(),
                !user.zp.is_empty(),
                !user.country.is_empty(),
                user.customer_type.is_some(),
                data.currency.is_some(),
                user.partner_id.is_some(),
            ],
            is_default,
            data.value.is_some_and(Micros::is_zero),
        )
    }
}

impl Transform {
    /// Looks closely at one event that is sent: what else of it would give what its payload, of this
    /// coverage, lacks. Takes some times as long as the payload; for samples.
    pub fn look(&self, body: &[u8], coverage: Coverage) -> Look {
        let arena = Arena::default();
        let Ok(root) = event::parse(&arena, body) else {
            return Look::default();
        };
        let Ok((kind, ..)) = identity(&root) else {
            return Look::default();
        };
        let mut prospects = Vec::new();
        let lacks = |field: &str| place(field).is_some_and(|place| !coverage.has(place));
        if !self.is_extended() {
            self.extended_prospects(&root, &lacks, &mut prospects);
        }
        let has = |prospects: &[Prospect], field| prospects.iter().any(|of| of.field == field);
        if lacks("em") && !has(&prospects, "em") {
            let source = address_in(&root, "", 0);
            prospects.extend(source.map(|source| Prospect {
                field: "em",
                source,
                cure: Cure::Mapping("user_data.em"),
            }));
        }
        if lacks("value") && kind == Kind::Track {
            let properties = root.at("properties");
            let has_amount = |key: &&&str| matches!(amount(properties.at(key)), Ok(Some(_)));
            prospects.extend(TOTALS.iter().find(has_amount).map(|key| Prospect {
                field: "value",
                source: format!("properties.{key}"),
                cure: Cure::Mapping("properties.value"),
            }));
        }
        if !self.codes() {
            self.code_prospects(&root, &mut prospects);
        }
        let ids = self.ids(&root, lacks("content_ids"), &mut prospects);
        Look {
            coverage,
            prospects,
            ids,
        }
    }

    fn extended_prospects(
        &self,
        root: &Node<'_>,
        lacks: &dyn Fn(&str) -> bool,
        prospects: &mut Vec<Prospect>,
    ) {
        let own = EXTENDED.iter().map(|row| (row, row.sources));
        let more = EVERY.iter().map(|row| (row, row.extended));
        for (row, sources) in own.chain(more) {
            let field = row.field.rsplit('.').next().unwrap_or(row.field);
            let Some((field, _)) = FIELDS.iter().find(|(known, _)| *known == field) else {
                continue;
            };
            let gives = |source: &&super::rows::Source| {
                let node = value_at(root, source.path);
                source.reading.refusal(node, root, &self.catalog).is_none()
            };
            if lacks(field)
                && let Some(source) = sources.iter().find(gives)
            {
                prospects.push(Prospect {
                    field,
                    source: source.path.to_owned(),
                    cure: Cure::Sources,
                });
            }
        }
    }

    /// Names of places that are sent as they are, and have codes.
    fn code_prospects(&self, root: &Node<'_>, prospects: &mut Vec<Prospect>) {
        let sent = |field: &str| {
            let row = EVERY.iter().find(|row| row.field == field)?;
            let more = row.extended.iter().filter(|_| self.is_extended());
            let mut sources = row.sources.iter().chain(more);
            sources.find_map(|source| {
                let text = id_text(value_at(root, source.path)).ok().flatten()?;
                Some((source.path, text.into_owned()))
            })
        };
        let country = sent("user_data.country");
        let code = country.as_ref().and_then(|(_, text)| country_code(text));
        let mut would_change = |field, path: &str, text: &str, code: &str| {
            if !text.eq_ignore_ascii_case(code) {
                prospects.push(Prospect {
                    field,
                    source: path.to_owned(),
                    cure: Cure::Codes,
                });
            }
        };
        if let (Some((path, text)), Some(code)) = (&country, &code) {
            would_change("country", path, text, code);
        }
        if let Some((path, text)) = sent("user_data.st")
            && let State::Code(code) = state_code(&text, code.as_deref())
        {
            would_change("st", path, &text, code);
        }
    }

    /// Which keys of the catalogue's ids the event's products have.
    fn ids(
        &self,
        root: &Node<'_>,
        lacks: bool,
        prospects: &mut Vec<Prospect>,
    ) -> Option<Vec<bool>> {
        let notes = Notes::default();
        let properties = root.at("properties");
        let items = Items::new(properties, &self.catalog, &notes);
        let products: Vec<&Node<'_>> = items.entries().filter_map(|entry| entry.object).collect();
        let (products, at) = match products.is_empty() {
            true => (vec![properties], "properties"),
            false => (products, "properties.products.*"),
        };
        let any_has = |key: &str| {
            products
                .iter()
                .any(|product| matches!(id_text(product.at(key)), Ok(Some(_))))
        };
        let other = || OTHER_IDS.into_iter().find(|key| any_has(key));
        if at == "properties" && other().is_none() {
            return None;
        }
        if lacks {
            // In the event itself an id may be anything's.
            let other = other().filter(|key| at != "properties" || *key != "id");
            prospects.extend(other.map(|key| Prospect {
                field: "content_ids",
                source: format!("{at}.{key}"),
                cure: Cure::ContentId(key.to_owned()),
            }));
        }
        Some(self.catalog.ids.iter().map(|key| any_has(key)).collect())
    }
}

/// Where an address stands that is somebody's, by the keys that lead to it.
fn address_in(node: &Node<'_>, path: &str, depth: usize) -> Option<String> {
    // The key may be anything, also somebody's; and the address may be the shop's own.
    let is_plain = |key: &str| {
        let plain = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let lower = key.to_lowercase();
        key.len() <= LONGEST_KEY
            && !key.is_empty()
            && key.bytes().all(plain)
            && !OTHERS.iter().any(|other| lower.contains(other))
    };
    if depth == DEEPEST {
        return None;
    }
    node.members()
        .filter(|(key, _)| is_plain(key))
        .find_map(|(key, value)| {
            let path = match path {
                "" => (*key).to_owned(),
                path => format!("{path}.{key}"),
            };
            match value {
                Node::String(text) if key.to_lowercase().contains("mail") && is_address(text) => {
                    Some(path)
                }
                Node::Object(_) => address_in(value, &path, depth + 1),
                _ => None,
            }
        })
}
