//! The hours as they outlive a restart. By the names of the fields, so that a release that knows other
//! fields reads them all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::coverage::FIELDS;

/// Counts since a moment, in pieces of a fixed length. No personal data: names of events, of fields,
/// and numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Of this form: 1.
    pub version: u32,
    /// From when on all that was delivered was counted, Unix milliseconds.
    pub since: i64,
    /// Hours, each by its number since 1970.
    pub hours: Vec<Piece>,
    /// Of the last hour: five minutes each, by their number since 1970.
    pub minutes: Vec<Piece>,
}

/// One piece of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Its number.
    pub number: i64,
    /// Counts by event_name.
    pub names: BTreeMap<String, Counts>,
}

/// A [`Tally`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    events: u64,
    late: u64,
    test: u64,
    default_agent: u64,
    zero_value: u64,
    fields: BTreeMap<String, u64>,
}

impl From<&Tally> for Counts {
    fn from(tally: &Tally) -> Self {
        let fields = FIELDS
            .iter()
            .zip(tally.fields)
            .filter(|(_, count)| *count > 0);
        Self {
            events: tally.events,
            late: tally.late,
            test: tally.test,
            default_agent: tally.default_agent,
            zero_value: tally.zero_value,
            fields: fields
                .map(|((field, _), count)| ((*field).to_owned(), count))
                .collect(),
        }
    }
}

impl From<&Counts> for Tally {
    fn from(counts: &Counts) -> Self {
        let count = |(field, _): (&str, Option<&str>)| counts.fields.get(field).copied();
        Self {
            events: counts.events,
            late: counts.late,
            test: counts.test,
            default_agent: counts.default_agent,
            zero_value: counts.zero_value,
            fields: FIELDS.map(|field| count(field).unwrap_or_default()),
        }
    }
}

impl Piece {
    pub(super) fn new(number: i64, names: &BTreeMap<Arc<str>, Tally>) -> Self {
        let names = names
            .iter()
            .map(|(name, tally)| (name.to_string(), tally.into()));
        Self {
            number,
            names: names.collect(),
        }
    }
}
