//! `[[mappings]]`: further properties, forwarded because the config names them.

use std::sync::Arc;

use super::custom_data::{currency, mapped_contents, mapped_ids};
use super::destinations::{
    Destination, EACH, PERSON_FIELDS, destination, is_personal, known, matches_nothing,
};
use super::items::Catalog;
use super::mapped::{Mapped, Slot};
use super::money::{amount, integer};
use super::notes::{Notes, Place, Read};
use super::options::{MappingRule, OptionsError};
use super::scalar::{id_text, scalar_text, text_list};
use super::user_data::{LISTS, MappedPerson, customer_type, external_id};
use crate::event::{Arena, Node};

struct Rule {
    /// As configured.
    path: String,
    source: Vec<Step>,
    /// Which of the steps is [`EACH`].
    each: Option<usize>,
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
            warnings.extend(matches_nothing(i + 1, rule, destination));
            if matches!(destination, Destination::Custom(_)) && is_personal(&rule.source) {
                warnings.push(format!(
                    "mappings[{}]: source \"{}\" holds personal data, and \"{}\" is a custom \
                     property that Pinterest gets as it is; user_data takes personal data by \
                     properties.email, phone, first_name, last_name, city, state, zip and country",
                    i + 1,
                    rule.source,
                    rule.destination
                ));
            }
            Ok(Rule {
                path: rule.source.clone(),
                source: path(i + 1, &rule.source)?,
                each: each(i + 1, &rule.source)?,
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
    pub(super) fn emails<'t>(&'t self, root: &'t Node<'t>, arena: &'t Arena) -> Vec<&'t Node<'t>> {
        self.feeding(root, arena, |destination| {
            matches!(destination, Destination::Pii(0))
        })
    }

    /// The same of a person's id.
    pub(super) fn ids<'t>(&'t self, root: &'t Node<'t>, arena: &'t Arena) -> Vec<&'t Node<'t>> {
        self.feeding(root, arena, |destination| {
            matches!(destination, Destination::ExternalId)
        })
    }

    fn feeding<'t>(
        &'t self,
        root: &'t Node<'t>,
        arena: &'t Arena,
        is_meant: fn(Destination) -> bool,
    ) -> Vec<&'t Node<'t>> {
        let feeds = self.rules.iter().filter(|rule| is_meant(rule.destination));
        feeds.filter_map(|rule| rule.value(root, arena)).collect()
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Reads every rule's source in file order; the last usable one of a field wins. What cannot be
    /// read is noted. Custom keys that `without` names stay out.
    pub(super) fn apply<'t>(
        &'t self,
        root: &'t Node<'t>,
        arena: &'t Arena,
        catalog: &Catalog,
        notes: &Notes,
        without: &dyn Fn(&str) -> bool,
    ) -> Mapped<'t> {
        let mut mapped = Mapped::default();
        let mut custom: Vec<Option<&'t Node<'t>>> = vec![None; self.custom.len()];
        for rule in &self.rules {
            if let Some(node) = rule.value(root, arena) {
                rule.put(node, catalog, notes, &mut mapped, &mut custom);
            }
        }
        for (key, node) in self.custom.iter().zip(custom) {
            if let Some(node) = node.filter(|_| !without(key)) {
                mapped.data.custom.push((key, node));
                mapped.custom_keys.push(key.clone());
            }
        }
        mapped
    }
}

impl Mappings {
    /// What each rule finds in this event, in file order.
    pub(super) fn findings<'t>(
        &'t self,
        root: &'t Node<'t>,
        arena: &'t Arena,
        catalog: &Catalog,
    ) -> Vec<Finding<'t>> {
        let found = |rule: &'t Rule| {
            let node = rule.value(root, arena);
            let outcome = match node {
                None => Found::Nothing,
                Some(node) => {
                    let mut custom = vec![None; self.custom.len()];
                    let (notes, mut mapped) = (Notes::default(), Mapped::default());
                    let used = rule.put(node, catalog, &notes, &mut mapped, &mut custom);
                    match (used, rule.ends()) {
                        (true, _) => Found::Usable,
                        // Missing in the sense of its field.
                        (false, _) if notes.finish().is_empty() => Found::Nothing,
                        (false, true) => Found::Ends,
                        (false, false) => Found::Unusable,
                    }
                }
            };
            Finding {
                source: &rule.path,
                field: self.field(rule.destination),
                outcome,
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
            Destination::Pii(list) => return format!("user_data.{}", LISTS[list].field),
            Destination::ExternalId
            | Destination::ClickId
            | Destination::PartnerId
            | Destination::CustomerType => {
                let is = |(_, of): &&(&str, Destination)| *of == destination;
                let name = PERSON_FIELDS.iter().find(is).map_or("", |(name, _)| name);
                return format!("user_data.{name}");
            }
        };
        format!("custom_data.{name}")
    }
}

/// What one rule finds in one event.
pub(super) struct Finding<'t> {
    /// The dot path, as configured.
    pub source: &'t str,
    /// The payload's field that it feeds.
    pub field: String,
    pub outcome: Found,
}

/// What a rule's source comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is missing.
    Nothing,
    Usable,
    /// It cannot be brought to the field's type, and the computed value stays.
    Unusable,
    /// It cannot be brought to the field's type, and nothing stands in for it.
    Ends,
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
    fn value<'t>(&self, root: &'t Node<'t>, arena: &'t Arena) -> Option<&'t Node<'t>> {
        let found = match self.each {
            None => walk(&self.source, root),
            Some(at) => self.each_of(walk(&self.source[..at], root)?, at, arena),
        };
        found.filter(|n| !matches!(n, Node::Null))
    }

    /// The values behind [`EACH`], of an array or of an object that stands for one, as an array.
    fn each_of<'t>(&self, list: &'t Node<'t>, at: usize, arena: &'t Arena) -> Option<&'t Node<'t>> {
        let rest = &self.source[at + 1..];
        let found: Vec<Node<'t>> = match list {
            Node::Array(elements) => elements
                .iter()
                .filter_map(|n| walk(rest, n))
                .copied()
                .collect(),
            list => list
                .members()
                .filter_map(|(_, n)| walk(rest, n))
                .copied()
                .collect(),
        };
        let is_there = found.iter().any(|node| !matches!(node, Node::Null));
        is_there.then(|| arena.array(&found))
    }

    /// Whether a value that cannot be read leaves nothing to stand in for it.
    fn ends(&self) -> bool {
        matches!(self.destination, Destination::Value | Destination::Currency)
    }

    /// Puts the value where it belongs; whether it could be brought to that field's type.
    fn put<'t>(
        &'t self,
        node: &'t Node<'t>,
        catalog: &Catalog,
        notes: &Notes,
        mapped: &mut Mapped<'t>,
        custom: &mut [Option<&'t Node<'t>>],
    ) -> bool {
        let path = self.path.as_str();
        match self.destination {
            Destination::Value => money(&mut mapped.value, notes, "value", path, amount(node)),
            Destination::Currency => money(
                &mut mapped.currency,
                notes,
                "currency",
                path,
                currency(node),
            ),
            Destination::OrderId => {
                let read = notes.take("order_id", Place::configured(path), id_text(node));
                set(&mut mapped.data.order_id, read)
            }
            Destination::ContentIds => {
                set(&mut mapped.data.content_ids, mapped_ids(node, notes, path))
            }
            Destination::Contents => set(
                &mut mapped.data.contents,
                mapped_contents(node, catalog, notes, path),
            ),
            Destination::NumItems => {
                let read = notes.take("num_items", Place::configured(path), integer(node));
                set(&mut mapped.data.num_items, read)
            }
            Destination::SearchString => {
                let read = notes.take("search_string", Place::configured(path), scalar_text(node));
                set(&mut mapped.data.search_string, read)
            }
            Destination::Text(name) => {
                match notes.take(name, Place::configured(path), scalar_text(node)) {
                    Some(text) => {
                        mapped.data.texts.retain(|(other, _)| *other != name);
                        mapped.data.texts.push((name, text));
                        true
                    }
                    None => false,
                }
            }
            Destination::Pii(number) => {
                let list = &LISTS[number];
                let texts = text_list(node, list.rule, notes, list.field, Place::configured(path));
                let person = mapped.person.get_or_insert_default();
                set(&mut person.lists[number], texts.map(|texts| (texts, path)))
            }
            Destination::ExternalId
            | Destination::ClickId
            | Destination::PartnerId
            | Destination::CustomerType => {
                self.put_person(node, notes, mapped.person.get_or_insert_default())
            }
            Destination::Custom(key) => set(&mut custom[key], Some(node)),
        }
    }

    /// [`Rule::put`] for what is of a person and no list.
    fn put_person<'t>(
        &'t self,
        node: &'t Node<'t>,
        notes: &Notes,
        person: &mut MappedPerson<'t>,
    ) -> bool {
        let place = Place::configured(&self.path);
        match self.destination {
            Destination::ExternalId => {
                let read = notes.take("external_id", place, external_id(node));
                set(
                    &mut person.external_id,
                    read.map(|text| (text, self.path.as_str())),
                )
            }
            Destination::ClickId => set(
                &mut person.click_id,
                notes.take("click_id", place, id_text(node)),
            ),
            Destination::PartnerId => set(
                &mut person.partner_id,
                notes.take("partner_id", place, id_text(node)),
            ),
            Destination::CustomerType => {
                let read = notes.take("customer_type", place, customer_type(node));
                set(&mut person.customer_type, read)
            }
            _ => false,
        }
    }
}

/// The value at the end of these steps.
fn walk<'t>(steps: &[Step], from: &'t Node<'t>) -> Option<&'t Node<'t>> {
    steps.iter().try_fold(from, |node, step| match node {
        Node::Array(elements) => elements.get(step.index?),
        _ => node.get(&step.key),
    })
}

/// Puts what was read of a field of money in place; whether it is usable.
fn money<T>(
    slot: &mut Slot<T>,
    notes: &Notes,
    field: &'static str,
    path: &str,
    read: Read<T>,
) -> bool {
    let said = Slot::of(notes, field, Place::configured(path), read);
    let is_usable = matches!(said, Slot::Given(_));
    if !matches!(said, Slot::Open) {
        *slot = said;
    }
    is_usable
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

/// Which step is [`EACH`]. There is at most one, and something before it.
fn each(number: usize, source: &str) -> Result<Option<usize>, OptionsError> {
    let steps = source.split('.').enumerate();
    let mut each = steps.filter_map(|(at, step)| (step == EACH).then_some(at));
    match (each.next(), each.next()) {
        (None, _) => Ok(None),
        (Some(at), None) if at > 0 => Ok(Some(at)),
        _ => Err(OptionsError::Each {
            number,
            source_path: source.to_owned(),
        }),
    }
}
