//! The wire types: one event as Pinterest's schema has it. Absent fields are left out.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use smallvec::SmallVec;

use super::extended::Extended;
use super::money::Micros;
use super::scalar::{Text, Texts};
use crate::event::Node;

/// One element of a request's `data`.
#[derive(Serialize)]
pub(super) struct Event<'t> {
    pub event_name: &'t str,
    pub action_source: &'static str,
    pub event_time: i64,
    pub event_id: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_source_url: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_name: Option<&'t str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opt_out: bool,
    /// Of the extended sources.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Box<Extended<'t>>>,
    pub user_data: UserData<'t>,
    #[serde(skip_serializing_if = "CustomData::is_empty")]
    pub custom_data: CustomData<'t>,
}

/// Who did it. An empty list is an absent field.
#[derive(Serialize, Default)]
pub(super) struct UserData<'t> {
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub em: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub ph: Texts<'t>,
    #[serde(rename = "fn", skip_serializing_if = "SmallVec::is_empty")]
    pub first_name: Texts<'t>,
    #[serde(rename = "ln", skip_serializing_if = "SmallVec::is_empty")]
    pub last_name: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub ct: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub st: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub zp: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub country: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub db: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub ge: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub hashed_maids: Texts<'t>,
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub external_id: Texts<'t>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip_address: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_user_agent: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click_id: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_id: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_type: Option<&'static str>,
    /// Whether its people may refuse the sale of their data.
    #[serde(skip)]
    pub from_limited_state: bool,
    /// Whether custom_data has to say that processing is limited.
    #[serde(skip)]
    pub is_limited: bool,
}

/// What was done: the schema's fields, and the configured custom properties behind them.
#[derive(Default)]
pub(super) struct CustomData<'t> {
    pub value: Option<Micros>,
    pub currency: Option<Text<'t>>,
    pub order_id: Option<Text<'t>>,
    pub content_ids: Option<Texts<'t>>,
    pub contents: Option<Vec<Content<'t>>>,
    pub num_items: Option<u32>,
    pub search_string: Option<Text<'t>>,
    /// Schema fields that only a mapping fills, each by its name.
    pub texts: Vec<(&'static str, Text<'t>)>,
    /// Custom properties that stay in, by their names; never a schema field's.
    pub custom: Vec<(&'t str, &'t Node<'t>)>,
}

impl CustomData<'_> {
    fn is_empty(&self) -> bool {
        self.value.is_none()
            && self.currency.is_none()
            && self.order_id.is_none()
            && self.content_ids.is_none()
            && self.contents.is_none()
            && self.num_items.is_none()
            && self.search_string.is_none()
            && self.texts.is_empty()
            && self.custom.is_empty()
    }
}

impl Serialize for CustomData<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put(&mut map, "value", &self.value)?;
        put(&mut map, "currency", &self.currency)?;
        put(&mut map, "order_id", &self.order_id)?;
        put(&mut map, "content_ids", &self.content_ids)?;
        put(&mut map, "contents", &self.contents)?;
        put(&mut map, "num_items", &self.num_items)?;
        put(&mut map, "search_string", &self.search_string)?;
        for (name, text) in &self.texts {
            map.serialize_entry(name, text)?;
        }
        for (name, value) in &self.custom {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn put<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

/// One product. At least one part is there.
#[derive(Serialize, Default)]
pub(super) struct Content<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_price: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_name: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_category: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_brand: Option<Text<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_brand_id: Option<Text<'t>>,
}

impl Content<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none()
            && self.item_price.is_none()
            && self.quantity.is_none()
            && self.item_name.is_none()
            && self.item_category.is_none()
            && self.item_brand.is_none()
            && self.item_brand_id.is_none()
    }
}
