//! Which generations still hold something to claim, and which of them are open.
//!
//! Invariant: a store cannot be opened twice. So it is opened and closed only while this is locked;
//! one that is found open may be read after the lock is released.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::queue::contract::Seq;
use crate::queue::sled::disk::{Store, StoreError, generation_folder};
use crate::queue::sled::numbers::Generation;

/// A generation that still holds something to claim.
pub struct Readable {
    pub first_seq: Seq,
    /// Open while it is written to or read from.
    pub store: Option<Arc<Store>>,
    /// It is written to or waits to be sealed: others hold the store too, so reading past it does
    /// not close it.
    pub is_held: bool,
}

/// A generation's store, for one reader.
pub enum Opened {
    /// It was open: it may be read without the lock.
    Shared(Arc<Store>),
    /// It was opened for this reader, who drops it before the lock.
    Alone(Store),
}

/// The generations, by number.
pub struct OpenGenerations {
    root: PathBuf,
    readable: BTreeMap<Generation, Readable>,
}

impl OpenGenerations {
    /// `root`: the queue's folder.
    pub fn new(root: &Path, readable: BTreeMap<Generation, Readable>) -> Self {
        Self {
            root: root.to_owned(),
            readable,
        }
    }

    pub fn insert(&mut self, generation: Generation, readable: Readable) {
        self.readable.insert(generation, readable);
    }

    /// A generation is about to be deleted, or cannot be used.
    pub fn remove(&mut self, generation: Generation) {
        self.readable.remove(&generation);
    }

    /// A full generation is nobody's to write to any more: it is open only while it is read.
    pub fn close(&mut self, generation: Generation) {
        if let Some(readable) = self.readable.get_mut(&generation) {
            readable.store = None;
            readable.is_held = false;
        }
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.readable.clear();
    }

    /// Leaves the stores without dropping them: after an I/O error a drop can hang.
    pub fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.readable));
    }

    /// Their numbers, ascending.
    pub fn numbers(&self) -> Vec<Generation> {
        self.readable.keys().copied().collect()
    }

    /// Those of them in `range`, ascending.
    pub fn within(&self, range: RangeInclusive<Generation>) -> Vec<Generation> {
        self.readable.range(range).map(|(g, _)| *g).collect()
    }

    /// The one that holds `seq`, or the first behind it, and those that follow.
    pub fn from(&self, seq: Seq) -> Vec<Generation> {
        let first = self.readable.keys().next().copied();
        let begin = self.holding(seq).or(first).unwrap_or_default();
        self.within(begin..=Generation::MAX)
    }

    /// The generation that holds this number, if one does.
    pub fn holding(&self, seq: Seq) -> Option<Generation> {
        let mut newest_first = self.readable.iter().rev();
        let found = newest_first.find(|(_, readable)| readable.first_seq <= seq);
        found.map(|(generation, _)| *generation)
    }

    /// The last number before the next generation behind `seq`, at most `committed`.
    pub fn end_of(&self, generation: Generation, seq: Seq, committed: Seq) -> Seq {
        let mut later = self.readable.range(generation.next()..);
        let next = later.find(|(_, readable)| readable.first_seq > seq);
        next.map_or(committed, |(_, next)| (next.first_seq - 1).min(committed))
    }

    /// The last number before the first generation, at most `committed`.
    pub fn before_all(&self, committed: Seq) -> Seq {
        let first = self.readable.values().map(|r| r.first_seq).min();
        first.map_or(committed, |first| (first - 1).min(committed))
    }

    /// The store of a generation, opened if it is not; none once it is gone.
    pub fn open(&self, generation: Generation) -> Result<Option<Opened>, StoreError> {
        let Some(readable) = self.readable.get(&generation) else {
            return Ok(None);
        };
        Ok(Some(match &readable.store {
            Some(store) => Opened::Shared(store.clone()),
            None => Opened::Alone(Store::open(&self.root, &self.folder(generation))?),
        }))
    }

    /// [`OpenGenerations::open`], and it stays open until the claims have passed it: those that
    /// are open for them alone are closed.
    pub fn keep_open(&mut self, generation: Generation) -> Result<Option<Arc<Store>>, StoreError> {
        for (other, readable) in &mut self.readable {
            if *other != generation && !readable.is_held {
                readable.store = None;
            }
        }
        self.open_shared(generation)
    }

    /// Opens a full generation for somebody who reads it beside the claims, until
    /// [`OpenGenerations::close`]; none once it is gone.
    pub fn hold(&mut self, generation: Generation) -> Result<Option<Arc<Store>>, StoreError> {
        let store = self.open_shared(generation)?;
        if let (Some(_), Some(readable)) = (&store, self.readable.get_mut(&generation)) {
            readable.is_held = true;
        }
        Ok(store)
    }

    /// Opens it for whoever asks next as well.
    fn open_shared(&mut self, generation: Generation) -> Result<Option<Arc<Store>>, StoreError> {
        let store = match self.open(generation)? {
            None => return Ok(None),
            Some(Opened::Shared(store)) => store,
            Some(Opened::Alone(store)) => Arc::new(store),
        };
        if let Some(readable) = self.readable.get_mut(&generation) {
            readable.store = Some(store.clone());
        }
        Ok(Some(store))
    }

    /// Whether it may still be read.
    pub fn holds(&self, generation: Generation) -> bool {
        self.readable.contains_key(&generation)
    }

    /// The folder of a generation.
    pub fn folder(&self, generation: Generation) -> PathBuf {
        generation_folder(&self.root, generation)
    }

    /// Each one's folder, and its store if it is open.
    pub fn folders(&self) -> impl Iterator<Item = (PathBuf, Option<Arc<Store>>)> + '_ {
        let all = self.readable.iter();
        all.map(|(generation, readable)| (self.folder(*generation), readable.store.clone()))
    }
}
