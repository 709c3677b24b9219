//! Which names are counted apart.
//!
//! Invariant: beside those that Pinterest knows of its own at most `MOST`, and none that is long, or may
//! be somebody's: a producer may write anything for a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event_name;

/// The rest.
pub const OTHER: &str = "other";

/// Names of the shop's own that are counted apart.
const MOST: usize = 32;
/// Bytes of one, and digits: more are an address's, a number of a phone or an order.
const LONGEST: usize = 40;
const MOST_DIGITS: usize = 4;

/// Names that are no standard ones and have a place, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<Arc<str>>);

impl Names {
    /// The name that an event of this one is counted under.
    pub fn of(&mut self, name: &str) -> Arc<str> {
        if event_name::STANDARD.contains(&name) {
            return name.into();
        }
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let digits = name.bytes().filter(u8::is_ascii_digit).count();
        let is_plain = !name.is_empty()
            && name.len() <= LONGEST
            && digits <= MOST_DIGITS
            && !name.contains(|c: char| c.is_control() || c == '@');
        let has_room = self.0.len() < MOST;
        if !is_plain || !has_room || name == OTHER {
            return OTHER.into();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}
