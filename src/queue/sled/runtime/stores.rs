//! Stores for readers beside the committer: one that is open already, or one that is opened for the
//! reader under the lock that keeps a store from being opened twice.

use std::sync::Arc;

use crate::queue::lock::lock;
use crate::queue::sled::disk::{Store, StoreError, forget_copy, is_there, period_folder};
use crate::queue::sled::line::Opened;
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::runtime::shared::Shared;

/// Reads in the store of a generation; `None` once it is gone, since all of it was settled then.
/// A store that is open already is read without the lock.
pub fn with_generation<T>(
    shared: &Shared,
    generation: Generation,
    read: impl FnOnce(&Store) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let claims = lock(&shared.claims);
    match claims.generations.open(generation)? {
        None => Ok(None),
        Some(Opened::Shared(store)) => {
            drop(claims);
            read(&store).map(Some)
        }
        Some(Opened::Alone(store)) => {
            let found = read(&store);
            // Closed before anybody else may open it.
            drop(store);
            drop(claims);
            found.map(Some)
        }
    }
}

/// The store of a period of dead letters; none once the period is gone. The committer, which
/// writes to the current one, does not wait while a past one is opened.
pub fn period_store(
    shared: &Shared,
    period: PeriodNumber,
) -> Result<Option<Arc<Store>>, StoreError> {
    let opened = lock(&shared.dead).opened(period);
    if opened.is_some() {
        return Ok(opened);
    }
    // A store cannot be opened twice, and is not deleted while it is opened.
    let opening = lock(&shared.opening);
    if let Some(opened) = lock(&shared.dead).opened(period) {
        return Ok(Some(opened));
    }
    let root = &shared.options.path;
    let path = period_folder(root, period);
    if !is_there(&path)? {
        return Ok(None);
    }
    let store = Arc::new(Store::open(root, &path)?);
    // All of it was read at the start: what sled changes by opening it again is no evidence.
    forget_copy(root, &path)?;
    lock(&shared.dead).cache_opened(&opening, period, store.clone());
    Ok(Some(store))
}
