//! What close looks at single events found, for as long as their hour and the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coverage::{FIELDS, Look, Prospect};

/// Kinds of prospects of one name that are counted.
const MOST: usize = 32;
/// What was found in the events of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Events that were looked at.
    pub events: u64,
    /// Of these: with each of [`FIELDS`], in that order.
    pub fields: [u64; FIELDS.len()],
    /// Of these: about products.
    pub with_products: u64,
    /// Of these: those in which any product has this key of `catalog.content_id`, by its place.
    pub ids: Vec<u64>,
    /// Events with each prospect.
    pub prospects: BTreeMap<Prospect, u64>,
}

impl Default for Looked {
    fn default() -> Self {
        Self {
            events: 0,
            fields: [0; FIELDS.len()],
            with_products: 0,
            ids: Vec::new(),
            prospects: BTreeMap::new(),
        }
    }
}

impl Looked {
    fn count(&mut self, look: Look) {
        self.events += 1;
        look.coverage
            .fields()
            .for_each(|place| self.fields[place] += 1);
        if let Some(ids) = look.ids {
            self.with_products += 1;
            self.ids.resize(ids.len().max(self.ids.len()), 0);
            for (count, has) in self.ids.iter_mut().zip(ids) {
                *count += u64::from(has);
            }
        }
        for prospect in look.prospects {
            if self.prospects.len() < MOST || self.prospects.contains_key(&prospect) {
                *self.prospects.entry(prospect).or_default() += 1;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.events += other.events;
        for (own, more) in self.fields.iter_mut().zip(other.fields) {
            *own += more;
        }
        self.with_products += other.with_products;
        self.ids.resize(other.ids.len().max(self.ids.len()), 0);
        for (count, more) in self.ids.iter_mut().zip(&other.ids) {
            *count += more;
        }
        for (prospect, count) in &other.prospects {
            *self.prospects.entry(prospect.clone()).or_default() += count;
        }
    }
}

type ByName = BTreeMap<Arc<str>, Looked>;

/// The looks of this hour and the one before.
#[derive(Debug, Default)]
pub(super) struct Looks {
    now: ByName,
    before: ByName,
    hour: i64,
}

impl Looks {
    pub fn count(&mut self, now: i64, name: Arc<str>, look: Look) {
        self.turn(now);
        self.now.entry(name).or_default().count(look);
    }

    fn turn(&mut self, now: i64) {
        let hour = now.div_euclid(3_600_000);
        if hour != self.hour {
            let last = std::mem::take(&mut self.now);
            self.before = if hour == self.hour + 1 {
                last
            } else {
                ByName::new()
            };
            self.hour = hour;
        }
    }

    /// Nothing that was found counts any more: the config is another.
    pub fn forget(&mut self) {
        self.now.clear();
        self.before.clear();
    }

    pub fn by_name(&mut self, now: i64) -> ByName {
        self.turn(now);
        let mut all = self.before.clone();
        for (name, looked) in &self.now {
            all.entry(name.clone()).or_default().add(looked);
        }
        all
    }
}
