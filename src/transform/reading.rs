//! How a source is read, and in words why it gives nothing.

use super::custom_data::{currency, item_contents, item_ids, product_objects};
use super::money::{amount, integer};
use super::scalar::{scalar_text, text_list, trimmed};
use super::user_data::{address_of, epik_of_search, epik_of_url};
use crate::event::{Node, time};

/// What a source has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    ScalarText,
    TextList,
    /// A string that is not only white space.
    Text,
    Amount,
    Integer,
    Currency,
    Time,
    /// Only `false` says anything.
    False,
    Address,
    EpikOfUrl,
    EpikOfSearch,
    /// properties.products, for the ids of its objects.
    ProductIds,
    /// properties.products, for its objects.
    Contents,
    /// The event's own product, which counts where properties.products holds no object.
    OwnId,
}

impl Reading {
    /// Nothing if `node` can be used, otherwise why not. The text holds no value of the event.
    pub(super) fn refusal(self, node: &Node<'_>, root: &Node<'_>) -> Option<&'static str> {
        let products = || product_objects(root.at("properties"));
        let usable = match self {
            Self::ScalarText => scalar_text(node).is_some(),
            Self::TextList => text_list(node).is_some(),
            Self::Text => node.as_str().and_then(trimmed).is_some(),
            Self::Amount => amount(node).is_some(),
            Self::Integer => integer(node).is_some(),
            Self::Currency => currency(node).is_some(),
            Self::Time => match node {
                Node::String(text) => time::from_text(text).is_some(),
                Node::Number(number) => time::from_number(number).is_some(),
                _ => false,
            },
            Self::False => matches!(node, Node::Bool(false)),
            Self::Address => node.as_str().and_then(address_of).is_some(),
            Self::EpikOfUrl => node.as_str().and_then(epik_of_url).is_some(),
            Self::EpikOfSearch => node.as_str().and_then(epik_of_search).is_some(),
            Self::ProductIds => item_ids(&products()).is_some(),
            Self::Contents => item_contents(&products()).is_some(),
            Self::OwnId => scalar_text(node).is_some() && products().is_empty(),
        };
        (!usable).then(|| self.why_not(node, root))
    }

    fn why_not(self, node: &Node<'_>, root: &Node<'_>) -> &'static str {
        if self == Self::OwnId && !product_objects(root.at("properties")).is_empty() {
            return "not looked at: properties.products has objects";
        }
        match node {
            // `at` gives null for what is not there.
            Node::Null => "missing",
            Node::String(text) if trimmed(text).is_none() => "an empty text",
            _ => self.expected(),
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::ScalarText | Self::OwnId => "neither a text nor a number of up to 40 digits",
            Self::TextList => "neither a text, nor a number, nor a list of them",
            Self::Text => "not a text",
            Self::Amount => "not an amount: a number from 0 to below 1e12, or a text that is one",
            Self::Integer => "not a whole number from 0 to 2147483647",
            Self::Currency => "not three letters",
            Self::Time => "not a time: RFC 3339 with an offset, or Unix time, from 2001 to 2100",
            Self::False => "not false",
            Self::Address => "not one IPv4 or IPv6 address",
            Self::EpikOfUrl | Self::EpikOfSearch => "no epik parameter in it",
            Self::ProductIds => "no object in it has a product_id or sku",
            Self::Contents => "no object in it has anything that contents takes",
        }
    }
}

/// The value at a dot path; null for what is not there.
pub(super) fn value_at<'t>(root: &'t Node<'t>, path: &str) -> &'t Node<'t> {
    path.split('.').fold(root, |node, key| node.at(key))
}
