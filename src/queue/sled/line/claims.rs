//! The claims' place in the line: which number comes next, what was loaded and not handed out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::queue::contract::{Entry, EntryId, Origin, Seq};
use crate::queue::ranges::Cursor;
use crate::queue::sled::dead::CachedGroup;
use crate::queue::sled::line::generations::OpenGenerations;

/// The claiming side's place in the line.
pub struct Claims {
    /// The next sequence number to load.
    next: Seq,
    /// What was settled above the mark at open; later settlements are of claimed events.
    settled: Cursor,
    /// Names of attempts before the start that may have arrived.
    in_doubt: HashMap<EntryId, Arc<str>>,
    loaded: VecDeque<Entry>,
    pub generations: OpenGenerations,
    /// Of the dead letters that are claimed.
    pub group: CachedGroup,
}

impl Claims {
    pub fn new(
        settled: Cursor,
        in_doubt: HashMap<EntryId, Arc<str>>,
        generations: OpenGenerations,
    ) -> Self {
        Self {
            next: settled.low_water(),
            settled,
            in_doubt,
            loaded: VecDeque::new(),
            generations,
            group: CachedGroup::default(),
        }
    }

    /// Restarts at the first number that is not settled.
    pub fn rewind(&mut self, settled: Cursor, in_doubt: HashMap<EntryId, Arc<str>>) {
        self.next = settled.low_water();
        self.settled = settled;
        self.in_doubt = in_doubt;
        self.loaded.clear();
    }

    /// These are settled, though nobody had claimed them: they are not handed out any more.
    pub fn pass_over(&mut self, seqs: &[Seq]) {
        for seq in seqs {
            self.settled.settle(*seq..=*seq);
        }
        let settled = &self.settled;
        let is_open = |entry: &Entry| match entry.id.origin() {
            Origin::Line(seq) => !settled.is_settled(seq),
            Origin::Dead(_) => true,
        };
        self.loaded.retain(is_open);
    }

    /// The next number to load.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Goes on behind `last`, which is loaded or cannot be.
    pub fn pass(&mut self, last: Seq) {
        self.next = last + 1;
    }

    /// Whether something was loaded and not handed out.
    pub fn has_loaded(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// Takes in the events of the chunk that `next` is in, but for those that are settled.
    pub fn load(&mut self, entries: Vec<Entry>) {
        let (next, settled) = (self.next, &self.settled);
        let is_open = |entry: &Entry| match entry.id.origin() {
            Origin::Line(seq) => seq >= next && !settled.is_settled(seq),
            Origin::Dead(_) => false,
        };
        self.loaded.extend(entries.into_iter().filter(is_open));
    }

    /// The event that is handed out next.
    pub fn first_loaded(&self) -> Option<&Entry> {
        self.loaded.front()
    }

    /// Hands it out, with the name that it may have arrived under.
    pub fn hand_out(&mut self) -> Option<Entry> {
        let mut entry = self.loaded.pop_front()?;
        if !self.in_doubt.is_empty() {
            entry.sent_as = self.in_doubt.remove(&entry.id);
        }
        Some(entry)
    }
}
