//! Where `[[mappings]]` may lead: the fields, the custom keys, what is refused, and what can match
//! nothing.

use std::sync::Arc;

use super::options::{MappingRule, OptionsError};
use super::user_data::LISTS;
use crate::event::is_member;

/// Destinations that feed user_data, and which of [`LISTS`].
const PII_FIELDS: [(&str, usize); 10] = [
    ("email", 0),
    ("phone", 1),
    ("first_name", 2),
    ("last_name", 3),
    ("city", 4),
    ("state", 5),
    ("zip", 6),
    ("zipcode", 6),
    ("postal_code", 6),
    ("country", 7),
];

/// Destinations in user_data that are none of [`LISTS`].
pub(super) const PERSON_FIELDS: [(&str, Destination); 4] = [
    ("external_id", Destination::ExternalId),
    ("click_id", Destination::ClickId),
    ("partner_id", Destination::PartnerId),
    ("customer_type", Destination::CustomerType),
];

/// Each entry of a list.
pub(super) const EACH: &str = "*";

/// Fields of custom_data's schema that nothing but a mapping fills; each a scalar text.
const TEXT_FIELDS: [&str; 5] = [
    "content_name",
    "content_category",
    "content_brand",
    "opt_out_type",
    "predicted_ltv",
];

/// Destinations that the config may not name, and what to do instead.
const REFUSED: [(&str, &str); 19] = [
    ("revenue", "use properties.value"),
    ("price", "use properties.value"),
    ("products", "use properties.contents"),
    ("product_id", "use properties.content_ids"),
    ("sku", "use properties.content_ids"),
    ("quantity", "use properties.num_items"),
    ("query", "use properties.search_string"),
    ("search_term", "use properties.search_string"),
    ("cart_id", "use properties.order_id"),
    ("meta", "use properties.currency"),
    (
        "title",
        "use properties.content_ids or properties.content_name",
    ),
    ("name", "use properties.content_name"),
    ("category", "use properties.content_category"),
    ("brand", "use properties.content_brand"),
    (
        "address",
        "use properties.city, state, zip and country, which feed user_data, each for itself",
    ),
    (
        "partner_id",
        "user_data's partner_id is read from the event's own properties.partner_id",
    ),
    (
        "action_source",
        "action_source is read from the event, else pinterest.default_action_source",
    ),
    (
        "np",
        "Pinterest keeps it to itself; partner_name is set by pinterest.app_name",
    ),
    ("external_measurement_*", "no field takes it; leave it out"),
];

/// What says in a key's name that it holds personal data; compared without case and `_`.
const PERSONAL: [&str; 12] = [
    "email",
    "phone",
    "firstname",
    "lastname",
    "address",
    "city",
    "state",
    "zip",
    "postal",
    "street",
    "birth",
    "gender",
];

/// Sources that hold personal data among the rest.
const PERSONAL_WHOLE: [&str; 3] = ["properties", "context", "context.traits"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Value,
    Currency,
    OrderId,
    ContentIds,
    Contents,
    NumItems,
    SearchString,
    /// One of [`TEXT_FIELDS`].
    Text(&'static str),
    /// An index into [`LISTS`].
    Pii(usize),
    ExternalId,
    ClickId,
    PartnerId,
    CustomerType,
    /// An index into the custom keys.
    Custom(usize),
}

impl Destination {
    /// Whether it takes a list of values.
    const fn takes_list(self) -> bool {
        match self {
            Self::ContentIds | Self::Contents | Self::Pii(_) | Self::Custom(_) => true,
            Self::Value
            | Self::Currency
            | Self::OrderId
            | Self::NumItems
            | Self::SearchString
            | Self::Text(_)
            | Self::ExternalId
            | Self::ClickId
            | Self::PartnerId
            | Self::CustomerType => false,
        }
    }
}

/// What `check` warns of: a rule that no event can be meant by.
pub(super) fn matches_nothing(
    number: usize,
    rule: &MappingRule,
    destination: Destination,
) -> Option<String> {
    let source = &rule.source;
    let head = source.split('.').next().unwrap_or_default();
    if !is_member(head) {
        return Some(format!(
            "mappings[{number}]: source \"{source}\" begins with \"{head}\", which is no part of a \
             Segment call: what an event says is in properties, context and traits"
        ));
    }
    let gives_list = source.split('.').any(|step| step == EACH);
    (gives_list && !destination.takes_list()).then(|| {
        format!(
            "mappings[{number}]: source \"{source}\" gives a list for its *, and \"{}\" takes one \
             value: it never matches; name one entry, like .0. in place of .*.",
            rule.destination
        )
    })
}

/// The destination of a field of user_data.
fn person_field(field: &str) -> Option<Destination> {
    let list = LISTS.iter().position(|list| list.field == field);
    let other = || PERSON_FIELDS.into_iter().find(|(name, _)| *name == field);
    list.map(Destination::Pii)
        .or_else(|| other().map(|(_, destination)| destination))
}

/// The destination of a key that is no custom key.
pub(super) fn known(key: &str) -> Option<Destination> {
    Some(match key {
        "value" => Destination::Value,
        "currency" => Destination::Currency,
        "order_id" => Destination::OrderId,
        "content_ids" => Destination::ContentIds,
        "contents" => Destination::Contents,
        "num_items" => Destination::NumItems,
        "search_string" => Destination::SearchString,
        _ => {
            let text = TEXT_FIELDS.into_iter().find(|field| *field == key);
            let pii = PII_FIELDS.into_iter().find(|(field, _)| *field == key);
            let pii = pii.map(|(_, list)| Destination::Pii(list));
            return text.map(Destination::Text).or(pii);
        }
    })
}

/// Where a rule leads; `custom`: the custom keys of all of them, sorted.
pub(super) fn destination(
    number: usize,
    destination: &str,
    custom: &[Arc<str>],
) -> Result<Destination, OptionsError> {
    if let Some(field) = destination.strip_prefix("user_data.") {
        return person_field(field).ok_or_else(|| OptionsError::PersonDestination {
            number,
            destination: destination.to_owned(),
        });
    }
    let key = destination
        .strip_prefix("properties.")
        .filter(|key| !key.trim().is_empty() && !key.contains('.'))
        .ok_or_else(|| OptionsError::Destination {
            number,
            destination: destination.to_owned(),
        })?;
    if let Some(known) = known(key) {
        return Ok(known);
    }
    let refused = REFUSED
        .iter()
        .find(|(name, _)| match name.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => *name == key,
        });
    if let Some((_, instead)) = refused {
        return Err(OptionsError::RefusedDestination {
            number,
            destination: destination.to_owned(),
            instead,
        });
    }
    // The list was made of these same keys.
    custom
        .binary_search_by(|name| (**name).cmp(key))
        .map(Destination::Custom)
        .map_err(|_| OptionsError::Destination {
            number,
            destination: destination.to_owned(),
        })
}

/// Whether a source is named like personal data, or holds some among the rest.
pub(super) fn is_personal(source: &str) -> bool {
    let named = |step: &str| {
        let step = step.to_lowercase().replace('_', "");
        PERSONAL.iter().any(|name| step.contains(name))
    };
    PERSONAL_WHOLE.contains(&source) || source.split('.').any(named)
}
