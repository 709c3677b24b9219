//! The generation that is written to.

use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::Seq;
use crate::queue::sled::disk::Store;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::options::Options;

/// A generation is full at this share of the quota, however few its events.
const GENERATIONS_IN_QUOTA: u64 = 16;
/// It is full a day after its first event at the latest: what is delivered leaves the disk with
/// its generation, and ids are forgotten by generations.
const DAY: Millis = 86_400_000;
/// A first event that is further ahead than this was stamped by a clock that has been put right
/// since: how old it is cannot be told by it.
const AHEAD: Millis = 3_600_000;

/// Whether a generation whose first event was accepted then is full by its age. An age is of what
/// is stored and goes on over restarts; by a wrong clock it is full early, which costs nothing.
pub fn is_of_age(begun_at: Millis, now: Millis) -> bool {
    let age = now.saturating_sub(begun_at);
    !(-AHEAD..=DAY).contains(&age)
}

/// The generation that is written to.
pub struct Head {
    pub generation: Generation,
    pub store: Arc<Store>,
    /// The first sequence number in it, once it holds one.
    pub first_seq: Option<Seq>,
    pub ids: Vec<u128>,
    /// About how many bytes it holds: what was on disk at the start, and the chunks since.
    pub bytes: u64,
    /// When its first event was accepted, once it holds one.
    pub begun_at: Millis,
    /// When its last event came in; of one that was imported, not when it was accepted first.
    pub newest: Millis,
}

impl Head {
    /// How full it is, in halves: the events it may hold, or its share of the quota. Without
    /// the share, large events would make one generation the whole quota, which only the
    /// deletion of a full one relieves.
    pub fn halves(&self, options: &Options) -> u64 {
        let share = (options.max_bytes / GENERATIONS_IN_QUOTA).max(1);
        let events = self.ids.len() as u64 * 2 / options.roll_events.max(1);
        events.max(self.bytes * 2 / share)
    }
}
