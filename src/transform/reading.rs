//! How a source is read, and in words why it gives nothing.

use super::address::address_of;
use super::custom_data::{self, currency};
use super::envelope;
use super::epik::{epik_of_url, search};
use super::extended;
use super::items::{Catalog, Items, item_id, products_of};
use super::money::{amount, integer};
use super::notes::{Notes, Place, Read};
use super::scalar::{id_text, scalar_text, text_list};
use super::user_data::{LISTS, customer_type, external_id};
use crate::event::Node;
use crate::note::Word;

/// What a source has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    ScalarText,
    /// A scalar text that is no placeholder.
    Id,
    ExternalId,
    /// What one of user_data's lists takes.
    List(usize),
    /// A string that is not only white space.
    Text,
    Amount,
    Integer,
    Currency,
    /// Only what says that tracking is off says anything.
    OptOut,
    Address,
    EpikOfUrl,
    EpikOfSearch,
    /// properties.products, for the ids of its objects.
    ProductIds,
    /// properties.products, for its objects.
    Contents,
    /// The event's own product, which counts where properties.products holds no object.
    OwnId,
    /// The language of a locale.
    Language,
    /// True or false.
    Flag,
    CustomerType,
}

/// Why a source gives nothing.
#[derive(Clone, Copy)]
pub(super) struct Why {
    /// The word, if it is there and unreadable.
    pub word: Option<Word>,
    /// To be read behind the source's path. Holds no value of the event.
    pub reason: &'static str,
}

const fn because(reason: &'static str) -> Why {
    Why { word: None, reason }
}

impl Reading {
    /// Nothing if `node` can be used, otherwise why not.
    pub(super) fn refusal(
        self,
        node: &Node<'_>,
        root: &Node<'_>,
        catalog: &Catalog,
    ) -> Option<Why> {
        let has_products = || matches!(products_of(root), Ok(Some(())));
        match self {
            Self::OwnId if has_products() => {
                return Some(because("not looked at: properties.products has objects"));
            }
            Self::ProductIds if has_products() && !has_id(root, catalog) => {
                return Some(because("no object in it has an id (catalog.content_id)"));
            }
            Self::Contents if has_products() && !has_contents(root, catalog) => {
                return Some(because("no object in it has anything that contents takes"));
            }
            Self::EpikOfUrl if node.is_missing() || !matches!(node, Node::String(_)) => {
                return Some(because("no text with an epik parameter"));
            }
            _ => {}
        }
        match self.read(node, root) {
            Ok(Some(())) => None,
            Ok(None) => Some(because(match (node, self) {
                (Node::String(_), Self::EpikOfUrl | Self::EpikOfSearch) => {
                    "no epik parameter in it"
                }
                // `at` gives null for what is not there.
                (Node::Null, _) => "missing",
                (Node::String(_), _) => "an empty text",
                (_, Self::OptOut) => "it says that tracking is on",
                _ => "nothing in it",
            })),
            Err(fault) => Some(Why {
                word: Some(fault.word),
                reason: fault.reason,
            }),
        }
    }

    fn read(self, node: &Node<'_>, root: &Node<'_>) -> Read<()> {
        fn some<T>(read: Read<T>) -> Read<()> {
            read.map(|found| found.map(drop))
        }
        match self {
            Self::ScalarText => some(scalar_text(node)),
            Self::Id | Self::OwnId => some(id_text(node)),
            Self::ExternalId => some(external_id(node)),
            Self::List(number) => list(number, node),
            Self::Text => some(envelope::url(node)),
            Self::Amount => some(amount(node)),
            Self::Integer => some(integer(node)),
            Self::Currency => some(currency(node)),
            Self::OptOut => {
                envelope::opt_out(node).map(|found| found.filter(|is_out| *is_out).map(drop))
            }
            Self::Address => some(address_of(node)),
            Self::EpikOfUrl => some(node.as_str().map_or(Ok(None), epik_of_url)),
            Self::EpikOfSearch => some(search(node)),
            Self::ProductIds | Self::Contents => products_of(root),
            Self::Language => some(extended::language(node)),
            Self::Flag => some(extended::yes_or_no(node)),
            Self::CustomerType => some(customer_type(node)),
        }
    }
}

fn list(number: usize, node: &Node<'_>) -> Read<()> {
    let notes = Notes::default();
    let list = &LISTS[number];
    let found = text_list(node, list.rule, &notes, list.field, Place::at(""));
    match (found, notes.first()) {
        (Some(_), _) => Ok(Some(())),
        (None, None) => Ok(None),
        (None, Some(fault)) => Err(fault),
    }
}

fn has_id(root: &Node<'_>, catalog: &Catalog) -> bool {
    let notes = Notes::default();
    let items = Items::new(root.at("properties"), catalog, &notes);
    let mut products = items
        .entries()
        .filter_map(|entry| Some((entry.place(), entry.object?)));
    products.any(|(place, product)| item_id(product, &catalog.ids, &notes, "", place).is_some())
}

fn has_contents(root: &Node<'_>, catalog: &Catalog) -> bool {
    let notes = Notes::default();
    let sources = custom_data::Sources {
        properties: root.at("properties"),
        context: root.at("context"),
        default_currency: "",
        catalog,
        notes: &notes,
    };
    let items = Items::new(sources.properties, catalog, &notes);
    sources.products(&items, true).1.is_some()
}
