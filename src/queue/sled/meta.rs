//! `meta`: the store of the account. Each batch carries the state record, and in it the sum of
//! the checksums of all other rows: one that vanished, or an old one that came back, is found at
//! the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::codec::{Reader, Writer};
use super::state::State;
use super::store::{Batch, Store, StoreError};

/// The key of the state record.
const STATE: &[u8] = b"s";

/// The open store and what is known of its rows.
pub(super) struct Meta {
    pub(super) store: Store,
    /// Key → checksum of the row.
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
        Ok(path.exists() && !Store::is_unborn(&path)?)
    }

    /// Makes the store, with a first record in it.
    pub(super) fn create(path: &Path, state: &mut State) -> Result<Self, StoreError> {
        let mut meta = Self {
            store: Store::create(path)?,
            rows: HashMap::new(),
            sum: 0,
        };
        meta.commit(Batch::default(), state)?;
        Ok(meta)
    }

    /// Opens the store and checks every row of it.
    pub(super) fn open(path: &Path) -> Result<(Self, State), StoreError> {
        Self::check(Store::open(path)?)
    }

    fn check(store: Store) -> Result<(Self, State), StoreError> {
        let mut rows = HashMap::new();
        let mut sum = 0u64;
        let mut state = None;
        for row in store.sums() {
            let (key, checksum) = row?;
            if *key == *STATE {
                let Some(bytes) = store.get(STATE)? else {
                    continue;
                };
                let read = Reader::versioned(&bytes).and_then(|mut r| State::read(&mut r));
                let read = read.map_err(|bad| StoreError::bad(store.path(), "its state", bad))?;
                state = Some(read);
            } else {
                sum = sum.wrapping_add(checksum);
                rows.insert(key, checksum);
            }
        }
        match state {
            None => Err(StoreError::damaged(store.path(), "its state is missing")),
            Some(state) if state.sum != sum => {
                let what = "rows of the account are missing or are old ones";
                Err(StoreError::damaged(store.path(), what))
            }
            Some(state) => Ok((Self { store, rows, sum }, state)),
        }
    }

    /// Commits `batch` and `state` in one write, synced when this returns.
    pub(super) fn commit(&mut self, mut batch: Batch, state: &mut State) -> Result<(), StoreError> {
        for (key, checksum) in batch.journal() {
            let before = match checksum {
                Some(checksum) => {
                    self.sum = self.sum.wrapping_add(*checksum);
                    self.rows.insert(key.clone(), *checksum)
                }
                None => self.rows.remove(key),
            };
            self.sum = self.sum.wrapping_sub(before.unwrap_or(0));
        }
        state.settle_no += 1;
        state.sum = self.sum;
        let mut w = Writer::versioned();
        state.write(&mut w);
        batch.put(STATE, w.0);
        self.store.commit(batch)
    }
}
