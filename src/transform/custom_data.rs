//! custom_data: what was done, computed from the event's own fields.

use std::borrow::Cow;

use smallvec::smallvec;

use super::money::{Micros, amount, integer, sum_of_integers, sum_of_products};
use super::payload::{Content, CustomData};
use super::scalar::{Text, Texts, scalar_text, trimmed};
use crate::event::{Kind, Node};

/// The block as far as the event's kind has one: all of it on a track, content_ids on a page,
/// nothing on a screen.
pub(super) fn computed<'t>(
    kind: Kind,
    properties: &'t Node<'t>,
    context: &'t Node<'t>,
    default_currency: &'t str,
) -> CustomData<'t> {
    match kind {
        Kind::Track => track(properties, default_currency),
        Kind::Page => CustomData {
            content_ids: item_ids(&items(properties)).or_else(|| {
                scalar_text(properties.at("title"))
                    .or_else(|| scalar_text(context.at("page").at("title")))
                    .map(|title| smallvec![title])
            }),
            ..CustomData::default()
        },
        _ => CustomData::default(),
    }
}

fn track<'t>(properties: &'t Node<'t>, default_currency: &'t str) -> CustomData<'t> {
    let items = items(properties);
    CustomData {
        value: ["value", "price", "revenue"]
            .into_iter()
            .find_map(|key| amount(properties.at(key)))
            .or_else(|| sum_of_products(products(properties).filter_map(line_price))),
        currency: currency(properties.at("currency"))
            .or_else(|| currency(properties.at("meta").at("i18n").at("currency")))
            .or(Some(Cow::Borrowed(default_currency))),
        order_id: first_text(properties, &["order_id", "cart_id"]),
        content_ids: item_ids(&items),
        contents: item_contents(&items),
        num_items: integer(properties.at("quantity")).or_else(|| {
            sum_of_integers(products(properties).filter_map(|p| integer(p.at("quantity"))))
        }),
        search_string: first_text(properties, &["query", "search_term"]),
        ..CustomData::default()
    }
}

/// The objects in properties.products.
fn products<'t>(properties: &'t Node<'t>) -> impl Iterator<Item = &'t Node<'t>> {
    let elements = properties.at("products").as_array().unwrap_or_default();
    elements.iter().filter(|p| p.is_object())
}

/// As [`products`], gathered.
pub(super) fn product_objects<'t>(properties: &'t Node<'t>) -> Vec<&'t Node<'t>> {
    products(properties).collect()
}

/// The products, or the event's own properties as the only one if they name a product.
fn items<'t>(properties: &'t Node<'t>) -> Vec<&'t Node<'t>> {
    let mut items = product_objects(properties);
    if items.is_empty() && first_text(properties, &ID_KEYS).is_some() {
        items.push(properties);
    }
    items
}

/// A product's price and quantity, if it has a price.
fn line_price(product: &Node<'_>) -> Option<(Micros, Micros)> {
    let price = amount(product.at("price"))?;
    Some((price, amount(product.at("quantity")).unwrap_or(Micros::ONE)))
}

const ID_KEYS: [&str; 2] = ["product_id", "sku"];

/// The id of each item that has one.
pub(super) fn item_ids<'t>(items: &[&'t Node<'t>]) -> Option<Texts<'t>> {
    let ids: Texts<'t> = items
        .iter()
        .filter_map(|item| first_text(item, &ID_KEYS))
        .collect();
    (!ids.is_empty()).then_some(ids)
}

/// Where the parts of one entry of `contents` stand in an object, by precedence.
struct ContentKeys {
    id: &'static [&'static str],
    price: &'static [&'static str],
    name: &'static [&'static str],
    category: &'static [&'static str],
    brand: &'static [&'static str],
}

/// A product of the event.
const PRODUCT_KEYS: ContentKeys = ContentKeys {
    id: &ID_KEYS,
    price: &["price"],
    name: &["name"],
    category: &["category"],
    brand: &["brand"],
};

/// A product of a mapping, which may be in Pinterest's keys already.
const MAPPED_KEYS: ContentKeys = ContentKeys {
    id: &["product_id", "sku", "id"],
    price: &["price", "item_price"],
    name: &["name", "item_name"],
    category: &["category", "item_category"],
    brand: &["brand", "item_brand"],
};

fn content<'t>(item: &'t Node<'t>, keys: &ContentKeys) -> Content<'t> {
    Content {
        id: first_text(item, keys.id),
        item_price: keys.price.iter().find_map(|key| amount(item.at(key))),
        quantity: integer(item.at("quantity")),
        item_name: first_text(item, keys.name),
        item_category: first_text(item, keys.category),
        item_brand: first_text(item, keys.brand),
    }
}

fn some_contents<'t>(contents: impl Iterator<Item = Content<'t>>) -> Option<Vec<Content<'t>>> {
    let contents: Vec<_> = contents.filter(|c| !c.is_empty()).collect();
    (!contents.is_empty()).then_some(contents)
}

/// `contents` of these items.
pub(super) fn item_contents<'t>(items: &[&'t Node<'t>]) -> Option<Vec<Content<'t>>> {
    some_contents(items.iter().map(|item| content(item, &PRODUCT_KEYS)))
}

/// `contents` from a mapped value: an array, of which the objects count.
pub(super) fn mapped_contents<'t>(node: &'t Node<'t>) -> Option<Vec<Content<'t>>> {
    let objects = node.as_array()?.iter().filter(|e| e.is_object());
    some_contents(objects.map(|e| content(e, &MAPPED_KEYS)))
}

/// Three ASCII letters, in upper case.
pub(super) fn currency<'t>(node: &'t Node<'_>) -> Option<Text<'t>> {
    currency_code(node.as_str()?)
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

fn first_text<'t>(node: &'t Node<'_>, keys: &[&str]) -> Option<Text<'t>> {
    keys.iter().find_map(|key| scalar_text(node.at(key)))
}
