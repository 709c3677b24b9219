//! What the config's mappings give for one event, before anything is computed of its own fields:
//! what is behind a usable mapping is not even looked at.

use std::sync::Arc;

use super::money::Micros;
use super::payload::Content;
use super::scalar::{Text, Texts};
use super::user_data::Pii;
use crate::event::Node;

/// What the mappings say of a field of money.
#[derive(Default)]
pub(super) enum Slot<T> {
    /// Nothing.
    #[default]
    Open,
    Given(T),
    /// Something that cannot be read: the field is omitted.
    Ended,
}

impl<T> Slot<T> {
    /// The mappings' word, or the event's own where they have none.
    pub(super) fn or_else(self, own: impl FnOnce() -> Option<T>) -> Option<T> {
        match self {
            Self::Open => own(),
            Self::Given(value) => Some(value),
            Self::Ended => None,
        }
    }
}

/// What the mappings give, field by field.
#[derive(Default)]
pub(super) struct Mapped<'t> {
    pub value: Slot<Micros>,
    pub currency: Slot<Text<'t>>,
    pub order_id: Option<Text<'t>>,
    pub content_ids: Option<Texts<'t>>,
    pub contents: Option<Vec<Content<'t>>>,
    pub num_items: Option<u32>,
    pub search_string: Option<Text<'t>>,
    pub texts: Vec<(&'static str, Text<'t>)>,
    pub custom: Vec<(&'t str, &'t Node<'t>)>,
    /// `None`: nothing of a person's.
    pub pii: Option<Box<Pii<'t>>>,
    /// The custom keys that got in, sorted.
    pub custom_keys: Vec<Arc<str>>,
}
