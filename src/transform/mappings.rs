//! `[[mappings]]`: further properties, forwarded because the config names them.

use std::sync::Arc;

use super::custom_data::{currency, mapped_contents};
use super::money::{amount, integer};
use super::options::{MappingRule, OptionsError};
use super::payload::CustomData;
use super::scalar::{Texts, scalar_text, text_list};
use crate::event::Node;

/// The values of user_data's email, phone, first_name and last_name that mappings give.
pub(super) type Pii<'t> = [Option<Texts<'t>>; 4];

/// Destinations that feed user_data, in the order of [`Pii`].
const PII_FIELDS: [&str; 4] = ["email", "phone", "first_name", "last_name"];

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
        "user_data's ct, st, zp and country are read from the event's own address",
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

/// Names that say that a source holds personal data; compared without case and `_`.
const PERSONAL: [&str; 5] = ["email", "phone", "firstname", "lastname", "address"];

/// Sources that hold personal data among the rest.
const PERSONAL_WHOLE: [&str; 3] = ["properties", "context", "context.traits"];

#[derive(Clone, Copy)]
enum Destination {
    Value,
    Currency,
    OrderId,
    ContentIds,
    Contents,
    NumItems,
    SearchString,
    /// One of [`TEXT_FIELDS`].
    Text(&'static str),
    /// An index into [`PII_FIELDS`].
    Pii(usize),
    /// An index into [`Mappings::custom`].
    Custom(usize),
}

struct Rule {
    source: Vec<Step>,
    destination: Destination,
}

/// One part of a dot path.
struct Step {
    key: String,
    /// The same as an array's index, if it is decimal.
    index: Option<usize>,
}

/// The config's rules, ready to be applied.
pub(super) struct Mappings {
    rules: Vec<Rule>,
    /// The custom keys' names, sorted, without repetition.
    custom: Vec<Arc<str>>,
    warnings: Vec<String>,
}

/// What the mappings did beside filling custom_data.
#[derive(Default)]
pub(super) struct Applied<'t> {
    pub pii: Pii<'t>,
    /// The custom keys that got in, sorted.
    pub custom_keys: Vec<Arc<str>>,
    /// Values that were there and could not be brought to their type.
    pub unusable: u32,
}

impl Mappings {
    pub(super) fn new(configured: &[MappingRule]) -> Result<Self, OptionsError> {
        let mut custom: Vec<Arc<str>> = configured
            .iter()
            .filter_map(|rule| rule.destination.strip_prefix("properties."))
            .filter(|key| known(key).is_none())
            .map(Arc::from)
            .collect();
        custom.sort();
        custom.dedup();
        let mut warnings = Vec::new();
        let rules = configured.iter().enumerate().map(|(i, rule)| {
            let destination = destination(i + 1, &rule.destination, &custom)?;
            if matches!(destination, Destination::Custom(_)) && is_personal(&rule.source) {
                warnings.push(format!(
                    "mappings[{}]: source \"{}\" holds personal data, and \"{}\" is a custom \
                     property that Pinterest gets as it is; user_data takes personal data by \
                     properties.email, phone, first_name and last_name",
                    i + 1,
                    rule.source,
                    rule.destination
                ));
            }
            Ok(Rule {
                source: path(i + 1, &rule.source)?,
                destination,
            })
        });
        let rules = rules.collect::<Result<_, OptionsError>>()?;
        Ok(Self {
            rules,
            custom,
            warnings,
        })
    }

    /// What the rules find in this event that feed the address of a person.
    pub(super) fn emails<'t>(&'t self, root: &'t Node<'t>) -> impl Iterator<Item = &'t Node<'t>> {
        let feeds = self.rules.iter();
        let feeds = feeds.filter(|rule| matches!(rule.destination, Destination::Pii(0)));
        feeds.filter_map(|rule| rule.value(root))
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Reads every rule's source in file order and puts what is usable over what stands in
    /// `data`, so the last usable one wins. Custom keys that `without` names stay out.
    pub(super) fn apply<'t>(
        &'t self,
        root: &'t Node<'t>,
        data: &mut CustomData<'t>,
        without: &dyn Fn(&str) -> bool,
    ) -> Applied<'t> {
        let mut applied = Applied::default();
        let mut custom: Vec<Option<&'t Node<'t>>> = vec![None; self.custom.len()];
        for rule in &self.rules {
            let Some(node) = rule.value(root) else {
                continue;
            };
            let used = rule.put(node, data, &mut applied.pii, &mut custom);
            applied.unusable += u32::from(!used);
        }
        for (key, node) in self.custom.iter().zip(custom) {
            if let Some(node) = node.filter(|_| !without(key)) {
                data.custom.push((key, node));
                applied.custom_keys.push(key.clone());
            }
        }
        applied
    }
}

impl Mappings {
    /// What each rule finds in this event, in file order.
    pub(super) fn findings<'t>(&'t self, root: &'t Node<'t>) -> Vec<Finding<'t>> {
        let found = |rule: &'t Rule| {
            let node = rule.value(root);
            let usable = node.is_some_and(|node| {
                let mut custom = vec![None; self.custom.len()];
                let (mut data, mut pii) = (CustomData::default(), Pii::default());
                rule.put(node, &mut data, &mut pii, &mut custom)
            });
            let steps: Vec<&str> = rule.source.iter().map(|step| step.key.as_str()).collect();
            Finding {
                source: steps.join("."),
                field: self.field(rule.destination),
                node,
                usable,
            }
        };
        self.rules.iter().map(found).collect()
    }

    /// Where a destination stands in the payload.
    fn field(&self, destination: Destination) -> String {
        let name = match destination {
            Destination::Value => "value",
            Destination::Currency => "currency",
            Destination::OrderId => "order_id",
            Destination::ContentIds => "content_ids",
            Destination::Contents => "contents",
            Destination::NumItems => "num_items",
            Destination::SearchString => "search_string",
            Destination::Text(name) => name,
            Destination::Custom(key) => &self.custom[key],
            Destination::Pii(field) => {
                return format!("user_data.{}", ["em", "ph", "fn", "ln"][field]);
            }
        };
        format!("custom_data.{name}")
    }
}

/// What one rule finds in one event.
pub(super) struct Finding<'t> {
    /// The dot path, as configured.
    pub source: String,
    /// The payload's field that it feeds.
    pub field: String,
    /// The value at the source; `None` if it is missing or null.
    pub node: Option<&'t Node<'t>>,
    /// Whether it can be brought to the field's type.
    pub usable: bool,
}

/// Puts a usable value in place; whether it was one.
fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let usable = value.is_some();
    if usable {
        *slot = value;
    }
    usable
}

impl Rule {
    /// The value at its source, if there is one other than null.
    fn value<'t>(&self, root: &'t Node<'t>) -> Option<&'t Node<'t>> {
        self.resolve(root).filter(|n| !matches!(n, Node::Null))
    }

    /// Puts the value where it belongs; whether it could be brought to that field's type.
    fn put<'t>(
        &self,
        node: &'t Node<'t>,
        data: &mut CustomData<'t>,
        pii: &mut Pii<'t>,
        custom: &mut [Option<&'t Node<'t>>],
    ) -> bool {
        match self.destination {
            Destination::Value => set(&mut data.value, amount(node)),
            Destination::Currency => set(&mut data.currency, currency(node)),
            Destination::OrderId => set(&mut data.order_id, scalar_text(node)),
            Destination::ContentIds => set(&mut data.content_ids, text_list(node)),
            Destination::Contents => set(&mut data.contents, mapped_contents(node)),
            Destination::NumItems => set(&mut data.num_items, integer(node)),
            Destination::SearchString => set(&mut data.search_string, scalar_text(node)),
            Destination::Text(name) => match scalar_text(node) {
                Some(text) => {
                    data.texts.retain(|(other, _)| *other != name);
                    data.texts.push((name, text));
                    true
                }
                None => false,
            },
            Destination::Pii(field) => set(&mut pii[field], text_list(node)),
            Destination::Custom(key) => set(&mut custom[key], Some(node)),
        }
    }

    fn resolve<'t>(&self, root: &'t Node<'t>) -> Option<&'t Node<'t>> {
        self.source.iter().try_fold(root, |node, step| match node {
            Node::Array(elements) => elements.get(step.index?),
            _ => node.get(&step.key),
        })
    }
}

fn path(number: usize, source: &str) -> Result<Vec<Step>, OptionsError> {
    let step = |key: &str| {
        let decimal = key.bytes().all(|b| b.is_ascii_digit());
        Step {
            key: key.to_owned(),
            index: decimal.then(|| key.parse().ok()).flatten(),
        }
    };
    if source.split('.').any(str::is_empty) {
        return Err(OptionsError::Source {
            number,
            source_path: source.to_owned(),
        });
    }
    Ok(source.split('.').map(step).collect())
}

/// The destination of a key that is no custom key.
fn known(key: &str) -> Option<Destination> {
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
            let pii = PII_FIELDS.iter().position(|field| *field == key);
            return text.map(Destination::Text).or(pii.map(Destination::Pii));
        }
    })
}

fn destination(
    number: usize,
    destination: &str,
    custom: &[Arc<str>],
) -> Result<Destination, OptionsError> {
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

fn is_personal(source: &str) -> bool {
    let named = |step: &str| {
        let step = step.to_lowercase().replace('_', "");
        PERSONAL.contains(&step.as_str())
    };
    PERSONAL_WHOLE.contains(&source) || source.split('.').any(named)
}
