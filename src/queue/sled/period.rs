//! The folder and the store of one period of dead letters, as [`super::dead`], recovery and
//! `verify` read them.

use std::path::{Path, PathBuf};

use super::batch::{part_key, split_part};
use super::error::StoreError;
use super::files::{delete_folder, is_there};
use super::guard::Guard;
use super::letter::{self, Head, Record};
use super::store::Store;

/// The folder of a period.
pub(super) fn folder(dir: &Path, period: u64) -> PathBuf {
    dir.join(format!("{period:010}"))
}

/// What a period is called where something is told of it.
pub(super) fn name(period: u64) -> String {
    format!("dead/{period:010}")
}

/// A period cannot be opened: it goes to `quarantine/`, as it was before it was tried.
pub(super) fn keep(guard: &Guard<'_>, path: &Path) -> Result<PathBuf, StoreError> {
    let kept = guard.keep(path)?;
    if is_there(path)? {
        delete_folder(path)?;
    }
    Ok(kept)
}

/// The numbered heads of all letters of a store that are not damaged.
pub(super) fn heads(store: &Store) -> Result<Vec<(u64, Head)>, StoreError> {
    let mut letters = Vec::new();
    for first in store.firsts()?.0 {
        let read = read_group(store, first).and_then(|bytes| {
            let bad = |bad| StoreError::bad(store.path(), &format!("dead letter {first}"), bad);
            letter::heads(&bytes).map_err(bad)
        });
        match read {
            Ok(heads) => letters.extend((first..).zip(heads)),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(letters)
}

/// The number that the group begins with which `number` is in.
pub(super) fn group_of(store: &Store, number: u64) -> Result<Option<u64>, StoreError> {
    let key = store.key_at_or_below(&part_key(&number.to_be_bytes(), u16::MAX))?;
    let prefix = key.as_deref().and_then(split_part);
    Ok(prefix.and_then(|(prefix, _)| prefix.try_into().ok().map(u64::from_be_bytes)))
}

/// The letters of the group that begins with `first`.
pub(super) fn read_letters(store: &Store, first: u64) -> Result<Vec<Record>, StoreError> {
    let bytes = read_group(store, first)?;
    letter::decode(&bytes).map_err(|bad| StoreError::bad(store.path(), "a dead letter", bad))
}

/// The bytes of the group that begins with `first`.
pub(super) fn read_group(store: &Store, first: u64) -> Result<Vec<u8>, StoreError> {
    let bad = |bad| StoreError::bad(store.path(), &format!("dead letter {first}"), bad);
    store.read_parts(first)?.map_err(bad)
}
