//! Which names are counted apart.
//!
//! Invariant: at most `MOST`, those that Pinterest knows of its own always among them, and none that is
//! long or odd: a producer may write anything for a name.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event_name;

/// The rest.
pub const OTHER: &str = "other";

/// Names that are counted apart.
const MOST: usize = 32;
/// Bytes of one.
const LONGEST: usize = 40;

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
        let is_plain =
            name.len() <= LONGEST && !name.is_empty() && !name.chars().any(char::is_control);
        let has_room = self.0.len() < MOST - event_name::STANDARD.len();
        if !is_plain || !has_room || name == OTHER {
            return OTHER.into();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}
