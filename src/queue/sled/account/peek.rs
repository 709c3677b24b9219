//! Reading a copy of the account, since opening the account writes.

use std::path::Path;

use crate::queue::sled::account::{
    identity::{self, Identity},
    meta::Meta,
    rows::Row,
};
use crate::queue::sled::disk::{Scratch, Store, StoreError, layout::FORMAT, meta_folder};
use crate::queue::sled::record::State;

/// What the account has as the queue's identity; none where it cannot be read.
pub fn identity(root: &Path) -> Result<Option<Identity>, StoreError> {
    let text = look(root, |store| store.get(&Row::Identity.key()))?.flatten();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| identity::parse(&root.join(FORMAT), &text).ok()))
}

/// The counters of the account; none where it cannot be read.
pub fn state(root: &Path) -> Result<Option<State>, StoreError> {
    look(root, |store| Ok(Meta::read(store)?.state))
}

/// Looks into a copy of `meta`, for opening it writes; none where it is missing or damaged.
fn look<T>(
    root: &Path,
    read: impl FnOnce(&Store) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    if !Meta::is_there(root)? {
        return Ok(None);
    }
    let scratch = Scratch::of_account(root)?;
    let looked =
        Store::open(scratch.path(), &meta_folder(scratch.path())).and_then(|store| read(&store));
    scratch.remove()?;
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
