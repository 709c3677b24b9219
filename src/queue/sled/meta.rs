//! `meta`: the store of the account. Each batch carries the state record, and in it the sum of
//! the checksums of all other rows: one that vanished, or an old one that came back, is found at
//! the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::codec::{Reader, Writer};
use super::error::StoreError;
use super::files::is_there;
use super::state::State;
use super::store::Store;
use crate::clock::{Reading, Unproven};

/// The key of the state record.
const STATE: &[u8] = b"s";
/// The key of a copy of the `format` file.
pub(super) const IDENTITY: &[u8] = b"i";
/// The key of a row that stands while the account is being made anew: what the others say is not
/// all of it yet.
pub(super) const UNFINISHED: &[u8] = b"u";
/// The key of the last reading of both clocks for which the wall clock was believed.
const CLOCKS: &[u8] = b"t";

/// The key of what was stamped before the wall clock was first believed.
const UNPROVEN: &[u8] = b"v";

/// The open store and what is known of its rows.
pub(super) struct Meta {
    pub(super) store: Store,
    /// Key → checksum of the row.
    rows: HashMap<Box<[u8]>, u64>,
    sum: u64,
}

/// What is stored: the state record, and each other row's checksum.
pub(super) struct Rows {
    pub(super) state: State,
    /// Whoever wrote last kept the inventory of files. Older releases do not, and write no byte
    /// behind the state.
    pub(super) has_inventory: bool,
    rows: HashMap<Box<[u8]>, u64>,
    sum: u64,
}

impl Meta {
    /// The folder of the store.
    pub(super) fn folder(root: &Path) -> PathBuf {
        root.join("meta")
    }

    /// Whether the store was ever made.
    pub(super) fn is_there(root: &Path) -> Result<bool, StoreError> {
        let path = Self::folder(root);
        Ok(is_there(&path)? && !Store::is_unborn(&path)?)
    }

    /// Makes the store, with `first` and `state` in it.
    pub(super) fn create(path: &Path, first: Batch, state: &mut State) -> Result<Self, StoreError> {
        let mut meta = Self {
            store: Store::create(path)?,
            rows: HashMap::new(),
            sum: 0,
        };
        meta.commit(first, state)?;
        Ok(meta)
    }

    /// Checks every row of an open store. Gives its state, and whether the inventory was kept.
    pub(super) fn of(store: Store) -> Result<(Self, State, bool), StoreError> {
        let read = Self::read(&store)?;
        let (rows, sum) = (read.rows, read.sum);
        let meta = Self { store, rows, sum };
        Ok((meta, read.state, read.has_inventory))
    }

    /// Whether a start ended while it made the account anew.
    pub(super) fn is_unfinished(store: &Store) -> Result<bool, StoreError> {
        Ok(store.get(UNFINISHED)?.is_some())
    }

    /// What [`Meta::note_clocks`] noted last.
    pub(super) fn clocks(&self) -> Result<Option<Reading>, StoreError> {
        let Some(bytes) = self.store.get(CLOCKS)? else {
            return Ok(None);
        };
        let read = |mut r: Reader<'_>| {
            Ok(Reading {
                wall: r.i64()?,
                since_boot: r.i64()?,
            })
        };
        let read = Reader::versioned(&bytes).and_then(read);
        let bad = |bad| StoreError::bad(self.store.path(), "the clocks", bad);
        read.map(Some).map_err(bad)
    }

    /// What [`Meta::note_unproven`] noted.
    pub(super) fn unproven(&self) -> Result<Option<Unproven>, StoreError> {
        let Some(bytes) = self.store.get(UNPROVEN)? else {
            return Ok(None);
        };
        let read = |mut r: Reader<'_>| {
            Ok(Unproven {
                line: r.u64()?,
                letter: r.u64()?,
                since: r.i64()?,
            })
        };
        let read = Reader::versioned(&bytes).and_then(read);
        let bad = |bad| StoreError::bad(self.store.path(), "the first belief", bad);
        read.map(Some).map_err(bad)
    }

    /// Notes what proves no age: what there is when the wall clock is first believed.
    pub(super) fn note_unproven(batch: &mut Batch, unproven: Unproven) {
        let mut w = Writer::versioned();
        w.u64(unproven.line);
        w.u64(unproven.letter);
        w.i64(unproven.since);
        batch.put(UNPROVEN, w.0);
    }

    /// Checks every row of a store.
    pub(super) fn read(store: &Store) -> Result<Rows, StoreError> {
        let mut rows = HashMap::new();
        let mut sum = 0u64;
        for row in store.sums() {
            let (key, checksum) = row?;
            if *key != *STATE {
                sum = sum.wrapping_add(checksum);
                rows.insert(key, checksum);
            }
        }
        let Some(bytes) = store.get(STATE)? else {
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
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let read = Self::read(&self.store)?;
        match read.sum == self.sum {
            true => Ok(()),
            false => Err(StoreError::damaged(
                self.store.path(),
                "it does not hold what was written",
            )),
        }
    }

    /// Notes what the next start may compare its clock with.
    pub(super) fn note_clocks(batch: &mut Batch, now: Reading) {
        let mut w = Writer::versioned();
        w.i64(now.wall);
        w.i64(now.since_boot);
        batch.put(CLOCKS, w.0);
    }

    /// Commits `batch` and `state` in one write, synced when this returns.
    pub(super) fn commit(&mut self, mut batch: Batch, state: &mut State) -> Result<(), StoreError> {
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
        batch.put(STATE, w.0);
        self.store.commit(batch)
    }
}
