//! Counts of delivered events of one name.

use crate::coverage::{Coverage, FIELDS};

/// How many there were, and how many of them had what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Delivered.
    pub events: u64,
    /// Of these: later than `delivery.late_after`.
    pub late: u64,
    /// Of these: in test mode, recorded nowhere.
    pub test: u64,
    /// Of these: with the config's user agent in place of their own.
    pub default_agent: u64,
    /// Of these: with a value of 0.
    pub zero_value: u64,
    /// Of these: with each of [`FIELDS`], in that order.
    pub fields: [u64; FIELDS.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            events: 0,
            late: 0,
            test: 0,
            default_agent: 0,
            zero_value: 0,
            fields: [0; FIELDS.len()],
        }
    }
}

impl Tally {
    /// One more event.
    #[inline]
    pub fn count(&mut self, coverage: Coverage, is_late: bool, is_test: bool) {
        self.events += 1;
        self.late += u64::from(is_late);
        self.test += u64::from(is_test);
        self.default_agent += u64::from(coverage.has_default_agent());
        self.zero_value += u64::from(coverage.has_zero_value());
        for place in coverage.fields() {
            self.fields[place] += 1;
        }
    }

    /// Those of another count as well.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.late += other.late;
        self.test += other.test;
        self.default_agent += other.default_agent;
        self.zero_value += other.zero_value;
        for (own, more) in self.fields.iter_mut().zip(other.fields) {
            *own += more;
        }
    }
}
