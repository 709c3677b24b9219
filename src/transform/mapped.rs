//! What the config's mappings give for one event, before anything is computed of its own fields:
//! what is behind a usable mapping is not even looked at.

use std::sync::Arc;

use super::money::Micros;
use super::notes::{Notes, Place, Read};
use super::payload::CustomData;
use super::scalar::Text;
use super::user_data::MappedPerson;

/// What a source, or the mappings, say of a field of money.
#[derive(Default)]
pub(super) enum Slot<T> {
    /// Nothing.
    #[default]
    Open,
    Given(T),
    /// Something that cannot be read: nothing may stand in for it, and the field is omitted.
    Ended,
}

impl<T> Slot<T> {
    /// What one source says; what cannot be read is noted.
    pub(super) fn of(notes: &Notes, field: &'static str, place: Place<'_>, read: Read<T>) -> Self {
        match read {
            Ok(Some(found)) => Self::Given(found),
            Ok(None) => Self::Open,
            Err(fault) => {
                notes.add(field, place, fault);
                Self::Ended
            }
        }
    }

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
    /// The other fields.
    pub data: CustomData<'t>,
    /// `None`: nothing of a person's.
    pub person: Option<Box<MappedPerson<'t>>>,
    /// The custom keys that got in, sorted.
    pub custom_keys: Vec<Arc<str>>,
}
