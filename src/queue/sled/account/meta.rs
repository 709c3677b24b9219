//! `meta`: the store of the account. Each batch carries the state record, and in it the sum of
//! the checksums of all other rows: one that vanished, or an old one that came back, is found at
//! the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::clock::{Reading, Unproven};
use crate::queue::record::codec::{DecodeError, Reader, Writer};
use crate::queue::sled::account::rows::{self, Row};
use crate::queue::sled::disk::{
    Batch, DEAD, GENERATIONS, SEEN, Store, StoreError, entries, is_there, meta_folder,
};
use crate::queue::sled::record::State;

/// The open store and what is known of its rows.
pub struct Meta {
    pub store: Store,
    /// Key → checksum of the row.
    rows: HashMap<Box<[u8]>, u64>,
    sum: u64,
}

/// What is stored: the state record, and each other row's checksum.
pub struct Rows {
    pub state: State,
    /// Whoever wrote last kept the inventory of files. Older releases do not, and write no byte
    /// behind the state.
    pub has_inventory: bool,
    rows: HashMap<Box<[u8]>, u64>,
    sum: u64,
}

impl Meta {
    /// The folder of the store.
    pub fn folder(root: &Path) -> PathBuf {
        meta_folder(root)
    }

    /// Whether the store was ever made.
    pub fn is_there(root: &Path) -> Result<bool, StoreError> {
        let path = Self::folder(root);
        Ok(is_there(&path)? && !Store::was_never_committed(&path)?)
    }

    /// Makes the store, with `first` and `state` in it.
    pub fn create(path: &Path, first: Batch, state: &mut State) -> Result<Self, StoreError> {
        let mut meta = Self {
            store: Store::create(path)?,
            rows: HashMap::new(),
            sum: 0,
        };
        meta.commit(first, state)?;
        Ok(meta)
    }

    /// Checks every row of an open store. Gives its state, and whether the inventory was kept.
    pub fn of(store: Store) -> Result<(Self, State, bool), StoreError> {
        let read = Self::read(&store)?;
        let (rows, sum) = (read.rows, read.sum);
        let meta = Self { store, rows, sum };
        Ok((meta, read.state, read.has_inventory))
    }

    /// Whether a start ended while it made the account anew.
    pub fn is_unfinished(store: &Store) -> Result<bool, StoreError> {
        Ok(store.get(&Row::Unfinished.key())?.is_some())
    }

    /// Both clocks when the wall clock was last believed.
    pub fn clocks(&self) -> Result<Option<Reading>, StoreError> {
        self.one(Row::Clocks, "the clocks", rows::clocks)
    }

    /// What was stamped before the wall clock was first believed.
    pub fn unproven(&self) -> Result<Option<Unproven>, StoreError> {
        self.one(Row::Unproven, "the first belief", rows::unproven)
    }

    fn one<T>(
        &self,
        row: Row,
        what: &'static str,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(value) = self.store.get(&row.key())? else {
            return Ok(None);
        };
        let bad = |error| StoreError::bad(self.store.path(), what, error);
        decode(&value).map(Some).map_err(bad)
    }

    /// Checks every row of a store.
    pub fn read(store: &Store) -> Result<Rows, StoreError> {
        let mut rows = HashMap::new();
        let mut sum = 0u64;
        for row in store.sums() {
            let (key, checksum) = row?;
            if *key != Row::State.key() {
                sum = sum.wrapping_add(checksum);
                rows.insert(key, checksum);
            }
        }
        let Some(bytes) = store.get(&Row::State.key())? else {
            return Err(StoreError::damaged(store.path(), "its state is missing"));
        };
        let (state, has_inventory) = Reader::versioned(&bytes)
            .and_then(|mut r| Ok((State::read(&mut r)?, !r.0.is_empty())))
            .map_err(|bad| StoreError::bad(store.path(), "its state", bad))?;
        if state.sum != sum {
            let what = "rows of the account are missing or are old ones";
            return Err(StoreError::damaged(store.path(), what));
        }
        Ok(Rows {
            state,
            has_inventory,
            rows,
            sum,
        })
    }

    /// Checks the store against what was written to it.
    pub fn check(&self) -> Result<(), StoreError> {
        let read = Self::read(&self.store)?;
        match read.sum == self.sum {
            true => Ok(()),
            false => Err(StoreError::damaged(
                self.store.path(),
                "it does not hold what was written",
            )),
        }
    }

    /// Commits `batch` and `state` in one write, synced when this returns.
    pub fn commit(&mut self, mut batch: Batch, state: &mut State) -> Result<(), StoreError> {
        for (key, checksum) in batch.journal() {
            let before = match checksum {
                Some(checksum) => {
                    self.sum = self.sum.wrapping_add(checksum);
                    self.rows.insert(key.into(), checksum)
                }
                None => self.rows.remove(key),
            };
            self.sum = self.sum.wrapping_sub(before.unwrap_or(0));
        }
        state.settle_no += 1;
        state.sum = self.sum;
        let mut w = Writer::versioned();
        state.write(&mut w);
        // Behind it: this release keeps the inventory of files.
        w.u8(1);
        batch.put(&Row::State.key(), w.0);
        self.store.commit(batch)
    }
}

/// Whether nothing was ever committed, by what is beside `meta`: then whatever `meta` looks like,
/// its making was cut short. `high`: the counters outside the stores, the default where they
/// cannot be read.
pub fn is_new(root: &Path, high: &State) -> Result<bool, StoreError> {
    Ok(*high == State::default() && !holds_anything(root)?)
}

/// Whether anything is there that was once committed: an event, a dead letter, an id.
pub fn holds_anything(root: &Path) -> Result<bool, StoreError> {
    for folder in [GENERATIONS, DEAD, SEEN] {
        let dir = root.join(folder);
        if !is_there(&dir)? {
            continue;
        }
        for path in entries(&dir)? {
            // A file in seen/ is no store, and never one that holds nothing.
            if !Store::was_never_committed(&path)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
