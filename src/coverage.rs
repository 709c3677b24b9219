//! Which parts of an event Pinterest can match and count by, and what would give those that are
//! missing. Holds names of fields, paths and counts; nothing of an event.

/// Parts that are looked at, in the order in which they are shown: the field on the wire, and the
/// name that it has in Pinterest's Event Quality Score, where it has one.
pub const FIELDS: [(&str, Option<&str>); 21] = [
    ("em", Some("hashed_email")),
    ("hashed_maids", Some("hashed_maid")),
    ("client_ip_address", Some("ip_address")),
    ("client_user_agent", Some("user_agent")),
    ("click_id", Some("click_id_epik")),
    ("external_id", Some("advertiser_external_id")),
    ("event_id", Some("external_event_id")),
    ("order_id", Some("order_id")),
    ("value", Some("order_value")),
    ("content_ids", Some("product_id")),
    ("event_source_url", Some("source_url")),
    ("ph", None),
    ("fn", None),
    ("ln", None),
    ("ct", None),
    ("st", None),
    ("zp", None),
    ("country", None),
    ("customer_type", None),
    ("currency", None),
    ("partner_id", None),
];

/// The place of a field among [`FIELDS`].
pub fn place(field: &str) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| *known == field)
}

/// The parts that one event has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage(u32);

/// Behind the fields: its user agent is only the config's.
const DEFAULT_AGENT: u32 = 1 << FIELDS.len();
/// Its value is 0.
const ZERO_VALUE: u32 = 1 << (FIELDS.len() + 1);

impl Coverage {
    /// Of the fields that are there, in the order of [`FIELDS`].
    pub fn of(there: [bool; FIELDS.len()], default_agent: bool, zero_value: bool) -> Self {
        let mut bits = 0;
        for (place, is_there) in there.into_iter().enumerate() {
            bits |= u32::from(is_there) << place;
        }
        bits |= u32::from(default_agent) * DEFAULT_AGENT;
        bits |= u32::from(zero_value) * ZERO_VALUE;
        Self(bits)
    }

    /// The places of the fields that are there.
    pub fn fields(self) -> impl Iterator<Item = usize> {
        let mut left = self.0 & (DEFAULT_AGENT - 1);
        std::iter::from_fn(move || {
            let place = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(place as usize)
        })
    }

    /// Whether the field at this place is there.
    pub const fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }

    /// Whether its user agent is only the config's default.
    pub const fn has_default_agent(self) -> bool {
        self.0 & DEFAULT_AGENT != 0
    }

    /// Whether it has a value, of 0.
    pub const fn has_zero_value(self) -> bool {
        self.0 & ZERO_VALUE != 0
    }
}

/// What would give a field that an event does not have, or has in a form that matches nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prospect {
    /// One of [`FIELDS`].
    pub field: &'static str,
    /// The dot path where it stands: keys alone, no values.
    pub source: String,
    /// The setting that would bring it over.
    pub cure: Cure,
}

/// A line of the config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cure {
    /// `user_data.sources`.
    Sources,
    /// `user_data.codes`.
    Codes,
    /// `catalog.content_id`, with this key.
    ContentId(String),
    /// A mapping to this destination.
    Mapping(&'static str),
}

/// What was found in one event that was looked at closely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What it had when it was made.
    pub coverage: Coverage,
    /// What would bring over what is missing.
    pub prospects: Vec<Prospect>,
    /// Of an event about products: which keys of `catalog.content_id` any of them has, by their
    /// places.
    pub ids: Option<Vec<bool>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out() {
        let mut there = [false; FIELDS.len()];
        for place in [0, 3, 20] {
            there[place] = true;
        }
        let coverage = Coverage::of(there, false, true);
        assert_eq!(coverage.fields().collect::<Vec<_>>(), [0, 3, 20]);
        assert!(coverage.has(3) && !coverage.has(4));
        assert!(coverage.has_zero_value() && !coverage.has_default_agent());
        assert_eq!(Coverage::default().fields().count(), 0);
        assert_eq!(place("value"), Some(8));
    }
}
