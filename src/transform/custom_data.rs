//! custom_data: what was done, computed from the event's own fields where no mapping stands over
//! them.

use std::borrow::Cow;

use super::items::{Catalog, Items, item_id};
use super::mapped::{Mapped, Slot};
use super::money::{Micros, Sum, amount, integer, number, sum_of_integers};
use super::notes::{At, Fault, Notes, Place, Read};
use super::payload::{Content, CustomData};
use super::scalar::{Text, Texts, id_text, real, scalar_text, text_list, trimmed};
use crate::event::{Kind, Node};
use crate::note::Word;

/// Where Pinterest is told that data of a person is to be processed within limits, and how.
pub(super) const OPT_OUT_TYPE: &str = "opt_out_type";
const LIMITED: &str = "LDP";

/// The total of an event, by precedence; behind them the sum of its products.
const VALUE_KEYS: [&str; 3] = ["value", "price", "revenue"];

const PARTIAL: Fault = Fault::new(
    Word::Partial,
    "has products without a price, which the sum leaves out",
);

/// What the rows of custom_data read.
pub(super) struct Sources<'t, 'n> {
    pub properties: &'t Node<'t>,
    pub context: &'t Node<'t>,
    pub default_currency: &'t str,
    pub catalog: &'t Catalog,
    pub notes: &'n Notes,
}

impl<'t> Sources<'t, '_> {
    /// The block as far as the event's kind has one: all of it on a track, content_ids on a page;
    /// on every kind what is mapped.
    /// `is_limited`: the customer's refusal, which stands over a mapping.
    pub(super) fn read(
        &self,
        kind: Kind,
        mut mapped: Mapped<'t>,
        is_limited: bool,
    ) -> CustomData<'t> {
        if is_limited {
            let texts = &mut mapped.data.texts;
            texts.retain(|(name, _)| *name != OPT_OUT_TYPE);
            texts.push((OPT_OUT_TYPE, Cow::Borrowed(LIMITED)));
        }
        match kind {
            Kind::Track => self.track(mapped),
            Kind::Page => {
                let data = mapped_alone(mapped);
                CustomData {
                    content_ids: data.content_ids.or_else(|| self.page_ids()),
                    ..data
                }
            }
            _ => mapped_alone(mapped),
        }
    }

    fn track(&self, mapped: Mapped<'t>) -> CustomData<'t> {
        let (properties, notes) = (self.properties, self.notes);
        let items = Items::new(properties, self.catalog, notes);
        let value = mapped.value.or_else(|| self.value(&items));
        let currency = mapped.currency.or_else(|| self.currency());
        let data = mapped.data;
        let (content_ids, contents) = match (data.content_ids, data.contents) {
            (Some(ids), Some(contents)) => (Some(ids), Some(contents)),
            (ids, contents) => {
                let (own_ids, own_contents) = self.products(&items, contents.is_none());
                (ids.or(own_ids), contents.or(own_contents))
            }
        };
        let orders = ["order_id", "cart_id"];
        let searches = ["query", "search_term"];
        CustomData {
            value,
            currency,
            order_id: (data.order_id).or_else(|| self.first("order_id", orders, id_text)),
            content_ids,
            contents,
            num_items: data.num_items.or_else(|| self.num_items(&items)),
            search_string: (data.search_string)
                .or_else(|| self.first("search_string", searches, scalar_text)),
            texts: data.texts,
            custom: data.custom,
        }
    }

    /// The first of two properties that can be read.
    fn first<T>(
        &self,
        field: &'static str,
        keys: [&'static str; 2],
        read: fn(&'t Node<'t>) -> Read<T>,
    ) -> Option<T> {
        keys.into_iter().find_map(|key| {
            let place = Place::at("properties").key(key);
            self.notes.take(field, place, read(self.properties.at(key)))
        })
    }

    fn value(&self, items: &Items<'t, '_>) -> Option<Micros> {
        for key in VALUE_KEYS {
            let place = Place::at("properties").key(key);
            match Slot::of(self.notes, "value", place, amount(self.properties.at(key))) {
                Slot::Open => {}
                Slot::Given(value) => return Some(value),
                Slot::Ended => return None,
            }
        }
        self.sum(items)
    }

    /// The sum of price × quantity. Half an order is not its value: what cannot be read ends it.
    fn sum(&self, items: &Items<'t, '_>) -> Option<Micros> {
        let (mut sum, mut is_partial, mut any) = (Sum::default(), false, false);
        for entry in items.entries() {
            // What is no object was noted as such.
            let product = entry.object?;
            let part = |key: &'static str| {
                let read = number(product.at(key));
                Slot::of(self.notes, "value", entry.place().key(key), read)
            };
            let price = match part("price") {
                Slot::Given(price) => price,
                Slot::Open => {
                    is_partial = true;
                    continue;
                }
                Slot::Ended => return None,
            };
            let quantity = match part("quantity") {
                Slot::Given(quantity) => quantity,
                Slot::Open => Micros::ONE,
                Slot::Ended => return None,
            };
            sum.add(price, quantity);
            any = true;
        }
        if !any {
            return None;
        }
        if is_partial {
            self.notes.add("value", Items::place(), PARTIAL);
        }
        let sum = sum.amount().map(Some);
        self.notes.take("value", Items::place(), sum)
    }

    fn currency(&self) -> Option<Text<'t>> {
        let own = self.properties.at("currency");
        let meta = self.properties.at("meta").at("i18n").at("currency");
        for (path, node) in [
            ("properties.currency", own),
            ("properties.meta.i18n.currency", meta),
        ] {
            match Slot::of(self.notes, "currency", Place::at(path), currency(node)) {
                Slot::Open => {}
                Slot::Given(code) => return Some(code),
                Slot::Ended => return None,
            }
        }
        Some(Cow::Borrowed(self.default_currency))
    }

    /// content_ids, and contents where they are asked for. An id that cannot be read is noted once,
    /// at contents.
    pub(super) fn products(
        &self,
        items: &Items<'t, '_>,
        with_contents: bool,
    ) -> (Option<Texts<'t>>, Option<Vec<Content<'t>>>) {
        let (mut ids, mut contents) = (Texts::new(), Vec::new());
        items.each(|place, item| {
            let id = item_id(item, &self.catalog.ids, self.notes, "contents", place);
            if let Some(id) = &id {
                ids.push(id.clone());
            }
            if with_contents {
                let content = content(item, id, &PRODUCT_KEYS, self.catalog, self.notes, place);
                if !content.is_empty() {
                    contents.push(content);
                }
            }
        });
        (
            (!ids.is_empty()).then_some(ids),
            (!contents.is_empty()).then_some(contents),
        )
    }

    fn num_items(&self, items: &Items<'t, '_>) -> Option<u32> {
        let place = Place::at("properties.quantity");
        let own = integer(self.properties.at("quantity"));
        self.notes.take("num_items", place, own).or_else(|| {
            let quantities = items.entries().filter_map(|entry| {
                let read = integer(entry.object?.at("quantity"));
                let place = entry.place().key("quantity");
                self.notes.take("num_items", place, read)
            });
            let sum = sum_of_integers(quantities);
            self.notes.take("num_items", Items::place(), sum)
        })
    }

    /// A page's products, else its title.
    fn page_ids(&self) -> Option<Texts<'t>> {
        let items = Items::new(self.properties, self.catalog, self.notes);
        let mut ids = Texts::new();
        items.each(|place, item| {
            let id = item_id(item, &self.catalog.ids, self.notes, "content_ids", place);
            ids.extend(id);
        });
        if !ids.is_empty() {
            return Some(ids);
        }
        let title = |path, node: &'t Node<'t>| {
            self.notes
                .take("content_ids", Place::at(path), id_text(node))
        };
        let title = title("properties.title", self.properties.at("title"))
            .or_else(|| title("context.page.title", self.context.at("page").at("title")));
        title.map(|title| Texts::from_iter([title]))
    }
}

fn mapped_alone(mapped: Mapped<'_>) -> CustomData<'_> {
    CustomData {
        value: mapped.value.or_else(|| None),
        currency: mapped.currency.or_else(|| None),
        ..mapped.data
    }
}

/// Where the parts of one entry of `contents` stand in an object, by precedence.
struct ContentKeys {
    price: &'static [&'static str],
    name: &'static [&'static str],
    category: &'static [&'static str],
    brand: &'static [&'static str],
    brand_id: &'static [&'static str],
}

/// A product of the event.
const PRODUCT_KEYS: ContentKeys = ContentKeys {
    price: &["price"],
    name: &["name"],
    category: &["category"],
    brand: &["brand"],
    brand_id: &["brand_id"],
};

/// A product of a mapping, which may be in Pinterest's keys already.
const MAPPED_KEYS: ContentKeys = ContentKeys {
    price: &["price", "item_price"],
    name: &["name", "item_name"],
    category: &["category", "item_category"],
    brand: &["brand", "item_brand"],
    brand_id: &["brand_id", "item_brand_id"],
};

/// Characters of a brand's id.
const MOST_OF_A_BRAND_ID: usize = 64;

fn content<'t>(
    item: &'t Node<'t>,
    id: Option<Text<'t>>,
    keys: &ContentKeys,
    catalog: &Catalog,
    notes: &Notes,
    place: Place<'_>,
) -> Content<'t> {
    let text = |keys: &[&'static str]| {
        (keys.iter())
            .find_map(|key| notes.take("contents", place.key(key), scalar_text(item.at(key))))
    };
    // A price that cannot be read is not replaced by another.
    let price = (keys.price.iter()).find(|key| !item.at(key).is_missing());
    let price = price.and_then(|key| notes.take("contents", place.key(key), amount(item.at(key))));
    let quantity = integer(item.at("quantity"));
    let brand_id = keys
        .brand_id
        .iter()
        .filter(|_| catalog.brand_ids)
        .find_map(|key| notes.take("contents", place.key(key), brand_id(item.at(key))));
    Content {
        id,
        item_price: price,
        quantity: notes.take("contents", place.key("quantity"), quantity),
        item_name: text(keys.name),
        item_category: text(keys.category),
        item_brand: text(keys.brand),
        item_brand_id: brand_id,
    }
}

fn brand_id<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match scalar_text(node)? {
        Some(text) if text.chars().count() > MOST_OF_A_BRAND_ID => Err(Fault::unreadable(
            "is longer than the 64 characters of a brand's id",
        )),
        text => Ok(text),
    }
}

/// `contents` from a mapped value: an array, of which the objects count.
pub(super) fn mapped_contents<'t>(
    node: &'t Node<'t>,
    catalog: &Catalog,
    notes: &Notes,
    source: &str,
) -> Option<Vec<Content<'t>>> {
    let place = Place::configured(source);
    let Node::Array(elements) = node else {
        if !node.is_missing() {
            let fault = Fault::unreadable("is no list of objects");
            notes.add("contents", place, fault);
        }
        return None;
    };
    let (mut contents, mut any_object) = (Vec::new(), false);
    for (i, element) in elements.iter().enumerate() {
        let place = place.element(At::Index(i));
        if !element.is_object() {
            if !element.is_missing() {
                notes.add("contents", place, Fault::unreadable("is no object"));
            }
            continue;
        }
        any_object = true;
        let id = item_id(element, &catalog.mapped_ids, notes, "contents", place);
        let content = content(element, id, &MAPPED_KEYS, catalog, notes, place);
        contents.extend(Some(content).filter(|content| !content.is_empty()));
    }
    if contents.is_empty() && any_object {
        let fault = Fault::unreadable("has no object with a part that contents takes");
        notes.add("contents", place, fault);
    }
    (!contents.is_empty()).then_some(contents)
}

/// `content_ids` from a mapped value.
pub(super) fn mapped_ids<'t>(node: &'t Node<'t>, notes: &Notes, source: &str) -> Option<Texts<'t>> {
    text_list(node, real, notes, "content_ids", Place::configured(source))
}

/// Three ASCII letters, in upper case.
pub(super) fn currency<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match node.as_str().and_then(currency_code) {
        None if node.is_missing() => Ok(None),
        None => Err(Fault::unreadable("is no code of three letters")),
        code => Ok(code),
    }
}

/// See [`currency`]; also the rule of `pinterest.default_currency`.
pub(super) fn currency_code(text: &str) -> Option<Text<'_>> {
    let code = trimmed(text)?;
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    Some(if code.bytes().all(|b| b.is_ascii_uppercase()) {
        Cow::Borrowed(code)
    } else {
        Cow::Owned(code.to_ascii_uppercase())
    })
}
