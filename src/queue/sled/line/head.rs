//! The generation that is written to.

use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::Seq;
use crate::queue::sled::disk::Store;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::options::Options;

/// A generation is full at this share of the quota, however few its events.
const GENERATIONS_IN_QUOTA: u64 = 16;

/// The generation that is written to.
pub struct Head {
    pub generation: Generation,
    pub store: Arc<Store>,
    /// The first sequence number in it, once it holds one.
    pub first_seq: Option<Seq>,
    pub ids: Vec<u128>,
    /// About how many bytes it holds: what was on disk at the start, and the chunks since.
    pub bytes: u64,
    pub begun_at: Millis,
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
