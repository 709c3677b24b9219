//! Whether what is open still bears its name: a folder that was emptied, moved or put back under a
//! running daemon takes events into files that nobody will find again.

use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::files::{file_id, is_there};
use super::high::HighFile;
use super::identity;
use super::open::generation_folder;
use super::store::Store;
use super::syscalls::FileId;
use super::{Shared, lock};

/// The names that stay the same for a process' life, and what they stood for at the start.
pub(super) struct Places(Vec<(PathBuf, FileId)>);

impl Places {
    pub(super) fn of(root: &Path, high: &HighFile, meta: &Store) -> Result<Self, StoreError> {
        let folders = ["gen", "seen", "dead", "purged"].map(|dir| root.join(dir));
        let files = ["lock", identity::FILE].map(|file| root.join(file));
        let names = [
            root.to_owned(),
            high.path().to_owned(),
            meta.path().join("db"),
        ];
        let names = names.into_iter().chain(folders).chain(files);
        let mut places = Vec::new();
        for path in names {
            let id = file_id(&path)?;
            places.extend(id.map(|id| (path, id)));
        }
        Ok(Self(places))
    }

    /// The first of them that stands for something else now, or for nothing.
    pub(super) fn displaced(&self) -> Result<Option<PathBuf>, StoreError> {
        for (path, id) in &self.0 {
            if file_id(path)? != Some(*id) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

/// The first name that does not stand for what is open under it; none where all do.
pub(super) fn displaced(shared: &Shared) -> Result<Option<PathBuf>, StoreError> {
    if let Some(path) = shared.places.displaced()? {
        return Ok(Some(path));
    }
    let mut open = Vec::new();
    {
        // Under the lock nobody opens one or takes it away.
        let claims = lock(&shared.claims);
        for (generation, readable) in &claims.generations {
            let folder = generation_folder(&shared.options.path, *generation);
            match &readable.store {
                Some(store) => open.push(store.clone()),
                None if !is_there(&folder)? => return Ok(Some(folder)),
                None => {}
            }
        }
    }
    for store in open {
        if !store.is_in_place()? {
            return Ok(Some(store.path().to_owned()));
        }
    }
    lock(&shared.dead).displaced()
}
