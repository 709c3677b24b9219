//! Copies of stores from before they were opened: the evidence of an unclean stop.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::open::generation_folder;
use super::store::{At, StoreError, create_private_dir, delete_folder, disk_usage};

/// Copies a store before it is opened after an unclean stop.
pub(super) struct Guard<'a> {
    pub(super) root: &'a Path,
    pub(super) clean: bool,
}

impl Guard<'_> {
    pub(super) fn copy(&self, store: &Path) -> Result<Option<PathBuf>, StoreError> {
        if self.clean || !store.exists() {
            return Ok(None);
        }
        let name = store
            .strip_prefix(self.root)
            .unwrap_or(store)
            .display()
            .to_string();
        let copy = self
            .root
            .join("quarantine")
            .join(format!("{}.copy", name.replace('/', "-")));
        if copy.exists() {
            // A start that was cut short left it: it is nearer to the crash than the store is now.
            return Ok(Some(copy));
        }
        let size = disk_usage(store);
        let free = statvfs(self.root).map_or(0, |s| s.blocks_available() * s.fragment_size());
        if free < size + (size >> 2) {
            tracing::warn!(
                store = name,
                "no room to copy this store before it is opened"
            );
            return Ok(None);
        }
        let partial = copy.with_extension("deleting");
        copy_folder(store, &partial)?;
        fs::rename(&partial, &copy).at(&copy)?;
        Ok(Some(copy))
    }

    /// The store agrees with what must be in it.
    pub(super) fn agreed(&self, copy: Option<PathBuf>) -> Result<(), StoreError> {
        copy.map_or(Ok(()), |copy| delete_folder(&copy))
    }

    /// The store does not: the copy, or the store itself, is kept for the operator.
    pub(super) fn keep(&self, copy: Option<PathBuf>, store: &Path) -> Result<PathBuf, StoreError> {
        let from = copy.as_deref().unwrap_or(store);
        let name = from.file_name().and_then(|n| n.to_str()).unwrap_or("store");
        keep(self.root, from, name)
    }
}

/// Moves a folder into `quarantine/`, under a name like `name`.
pub(super) fn keep(root: &Path, from: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let kept = (1..)
        .map(|n| root.join("quarantine").join(format!("{name}.{n}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| root.join("quarantine/store"));
    fs::rename(from, &kept).at(from)?;
    Ok(kept)
}

/// Moves a sealed generation that cannot be opened out of the way: in its place it would be
/// deleted as soon as its events are set aside. None if it is gone already.
pub(super) fn keep_generation(root: &Path, generation: u64) -> Result<Option<PathBuf>, StoreError> {
    let folder = generation_folder(root, generation);
    if !folder.exists() {
        return Ok(None);
    }
    keep(root, &folder, &format!("gen-{generation:010}")).map(Some)
}

pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_private_dir(to)?;
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).at(&target)?;
        }
    }
    Ok(())
}
