//! The folder and the store of one period of dead letters, as [`crate::queue::sled::dead`],
//! recovery and `verify` read them.

use std::path::{Path, PathBuf};

use crate::queue::contract::{LetterNumber, Number};
use crate::queue::record::dead_record::{self, Head, Record};
use crate::queue::sled::disk::{
    Evidence, Store, StoreError, delete_folder, is_there, part_key, split_part,
};

/// A period cannot be opened: it goes to `quarantine/`, as it was before it was tried.
pub fn keep(evidence: &Evidence<'_>, path: &Path) -> Result<PathBuf, StoreError> {
    let kept = evidence.quarantine(path)?;
    if is_there(path)? {
        delete_folder(path)?;
    }
    Ok(kept)
}

/// The numbered heads of all letters of a store that are not damaged.
pub fn heads(store: &Store) -> Result<Vec<(LetterNumber, Head)>, StoreError> {
    let mut letters = Vec::new();
    for first in store.firsts::<LetterNumber>()?.0 {
        let read = read_group(store, first).and_then(|bytes| {
            let bad = |bad| StoreError::bad(store.path(), &format!("dead letter {first}"), bad);
            dead_record::heads(&bytes).map_err(bad)
        });
        match read {
            Ok(heads) => letters.extend(first.onward().zip(heads)),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(letters)
}

/// The number that the group begins with which `number` is in.
pub fn group_of(store: &Store, number: LetterNumber) -> Result<Option<LetterNumber>, StoreError> {
    let key = store.key_at_or_below(&part_key(&number.to_key(), u16::MAX))?;
    let prefix = key.as_deref().and_then(split_part);
    Ok(prefix.and_then(|(prefix, _)| LetterNumber::of_key(prefix)))
}

/// The letters of the group that begins with `first`.
pub fn read_letters(store: &Store, first: LetterNumber) -> Result<Vec<Record>, StoreError> {
    let bytes = read_group(store, first)?;
    dead_record::decode(&bytes).map_err(|bad| StoreError::bad(store.path(), "a dead letter", bad))
}

/// The bytes of the group that begins with `first`.
pub fn read_group(store: &Store, first: LetterNumber) -> Result<Vec<u8>, StoreError> {
    let bad = |bad| StoreError::bad(store.path(), &format!("dead letter {first}"), bad);
    store.read_parts(first)?.map_err(bad)
}
