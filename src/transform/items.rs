//! What an event is about: the objects in properties.products, or the event's own product.

use std::cell::Cell;
use std::iter::Enumerate;
use std::slice;

use super::notes::{At, Fault, Notes, Place, Read};
use super::scalar::{Text, id_text};
use crate::event::Node;
use crate::note::Word;

/// How the shop's catalogue knows a product.
pub(super) struct Catalog {
    /// The keys of a product that hold its id, by precedence: `catalog.content_id`.
    pub ids: Vec<String>,
    /// The same for a product of a mapping, which may be in Pinterest's keys already.
    pub mapped_ids: Vec<String>,
    /// Whether the brand's id is sent as well: an extended source.
    pub brand_ids: bool,
}

impl Catalog {
    pub fn new(ids: &[String], brand_ids: bool) -> Self {
        let own = ids.iter().filter(|key| *key != "id").cloned();
        Self {
            ids: ids.to_vec(),
            mapped_ids: own.chain(["id".to_owned()]).collect(),
            brand_ids,
        }
    }
}

const PRODUCTS: &str = "properties.products";
const PROPERTIES: &str = "properties";

const NO_PRODUCTS: Fault = Fault::unreadable("is no list of objects");
const NO_OBJECT: Fault = Fault::unreadable("is no object");
const AS_LIST: Fault = Fault::new(Word::List, "is an object, and was read as a list");

/// One entry of properties.products: an object, or something that is there and none.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    at: At<'t>,
    /// `None`: it is no object.
    pub object: Option<&'t Node<'t>>,
}

impl<'t> Entry<'t> {
    pub fn place(&self) -> Place<'t> {
        Place::at(PRODUCTS).element(self.at)
    }
}

/// What properties.products is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Missing,
    Unreadable,
    List,
    /// An object of objects.
    Object,
}

fn form_of(products: &Node<'_>) -> Form {
    match products {
        node if node.is_missing() => Form::Missing,
        Node::Array(elements) if elements.iter().any(Node::is_object) => Form::List,
        Node::Object(_) if products.members().all(|(_, value)| value.is_object()) => Form::Object,
        _ => Form::Unreadable,
    }
}

/// The items of an event. What is odd about properties.products is noted when it is first asked
/// for.
pub(super) struct Items<'t, 'n> {
    properties: &'t Node<'t>,
    catalog: &'t Catalog,
    notes: &'n Notes,
    form: Form,
    products: &'t Node<'t>,
    is_told: Cell<bool>,
}

impl<'t, 'n> Items<'t, 'n> {
    pub fn new(properties: &'t Node<'t>, catalog: &'t Catalog, notes: &'n Notes) -> Self {
        let products = properties.at("products");
        let form = form_of(products);
        Self {
            properties,
            catalog,
            notes,
            form,
            products,
            is_told: Cell::new(false),
        }
    }

    /// What stands in properties.products, if that can be read.
    pub fn entries(&self) -> Entries<'t> {
        if !self.is_told.replace(true) && self.form != Form::Missing {
            self.tell();
        }
        self.readable()
    }

    fn readable(&self) -> Entries<'t> {
        match (self.form, self.products) {
            (Form::List, Node::Array(elements)) => Entries::List(elements.iter().enumerate()),
            (Form::Object, products) => {
                let entries = products.members().map(|(key, value)| Entry {
                    at: At::Key(key),
                    object: Some(value),
                });
                Entries::Object(Box::new(entries))
            }
            _ => Entries::List([].iter().enumerate()),
        }
    }

    fn tell(&self) {
        let products = Place::at(PRODUCTS);
        match self.form {
            Form::Unreadable => self.notes.add("items", products, NO_PRODUCTS),
            Form::Object => self.notes.add("items", products, AS_LIST),
            Form::List => (self.readable().filter(|entry| entry.object.is_none()))
                .for_each(|entry| self.notes.add("items", entry.place(), NO_OBJECT)),
            Form::Missing => {}
        }
    }

    /// The items with their places: the objects among the products, else the event's own
    /// properties, if they name one.
    pub fn each(&self, mut with: impl FnMut(Place<'t>, &'t Node<'t>)) {
        let mut any = false;
        for entry in self.entries() {
            if let Some(object) = entry.object {
                any = true;
                with(entry.place(), object);
            }
        }
        if !any && let Some(own) = self.own() {
            with(Place::at(PROPERTIES), own);
        }
    }

    /// The event's own properties, if one of the keys of an id can be read.
    fn own(&self) -> Option<&'t Node<'t>> {
        let read = |key: &String| id_text(self.properties.at(key));
        if (self.catalog.ids.iter()).any(|key| matches!(read(key), Ok(Some(_)))) {
            return Some(self.properties);
        }
        for key in &self.catalog.ids {
            let place = Place::at(PROPERTIES).configured_key(key);
            self.notes.take("items", place, read(key));
        }
        None
    }

    /// Where the entries stand.
    pub const fn place() -> Place<'static> {
        Place::at(PRODUCTS)
    }
}

/// The entries of properties.products, one by one.
pub(super) enum Entries<'t> {
    List(Enumerate<slice::Iter<'t, Node<'t>>>),
    Object(Box<dyn Iterator<Item = Entry<'t>> + 't>),
}

impl<'t> Iterator for Entries<'t> {
    type Item = Entry<'t>;

    fn next(&mut self) -> Option<Entry<'t>> {
        match self {
            Self::List(elements) => {
                let (i, element) = elements.find(|(_, element)| is_there(element))?;
                Some(Entry {
                    at: At::Index(i),
                    object: Some(element).filter(|element| element.is_object()),
                })
            }
            Self::Object(entries) => entries.next(),
        }
    }
}

/// An object is an entry, also an empty one.
fn is_there(element: &Node<'_>) -> bool {
    element.is_object() || !element.is_missing()
}

/// Whether properties.products has entries that count, for the explanation.
pub(super) fn products_of(root: &Node<'_>) -> Read<()> {
    match form_of(root.at("properties").at("products")) {
        Form::Missing => Ok(None),
        Form::Unreadable => Err(NO_PRODUCTS),
        Form::List | Form::Object => Ok(Some(())),
    }
}

/// The id of an item: the first of these keys that has one. What cannot be read is noted.
pub(super) fn item_id<'t>(
    item: &'t Node<'t>,
    keys: &[String],
    notes: &Notes,
    field: &'static str,
    place: Place<'_>,
) -> Option<Text<'t>> {
    keys.iter().find_map(|key| {
        let place = place.configured_key(key);
        notes.take(field, place, id_text(item.at(key)))
    })
}
