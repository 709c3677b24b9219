//! Copies of stores from before they were opened: the evidence of an unclean stop.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::error::{At, StoreError};
use super::files::{create_private_dir, delete_folder, disk_usage, sync_dir, sync_file};
use super::open::generation_folder;

/// Copies a store before it is opened after an unclean stop.
pub(super) struct Guard<'a> {
    pub(super) root: &'a Path,
    pub(super) clean: bool,
    /// Told of each store as its turn comes.
    pub(super) tell: &'a dyn Fn(&str),
}

impl Guard<'_> {
    /// Says that `store` is being read.
    pub(super) fn reads(&self, store: &Path) {
        let name = store.strip_prefix(self.root).unwrap_or(store);
        (self.tell)(&format!("reading {}", name.display()));
    }

    /// A copy of `store`, unless the last stop was in order or there is no room for one.
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
        (self.tell)(&format!("copying {name}"));
        let partial = copy.with_extension("deleting");
        copy_durably(store, &partial)?;
        fs::rename(&partial, &copy).at(&copy)?;
        // Opening the store overwrites it: from then on this is the only evidence.
        sync_dir(&self.root.join("quarantine"))?;
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
    for folder in [kept.parent(), from.parent()].into_iter().flatten() {
        sync_dir(folder)?;
    }
    Ok(kept)
}

/// Deals with the copies that no guard of this start took up: a start that was cut short made
/// them, and their stores are gone or hold nothing since. `is_whole`: this start missed nothing.
pub(super) fn settle_copies(root: &Path, is_whole: bool) -> Result<(), StoreError> {
    let dir = root.join("quarantine");
    for entry in fs::read_dir(&dir).at(&dir)? {
        let copy = entry.at(&dir)?.path();
        if copy.extension().is_none_or(|e| e != "copy") {
            continue;
        }
        if is_whole {
            tracing::info!(
                "{}: the copy of a store that is not needed any more is removed; nothing is \
                 missing",
                copy.display()
            );
            delete_folder(&copy)?;
        } else {
            let name = copy.file_name().and_then(|n| n.to_str()).unwrap_or("copy");
            let kept = keep(root, &copy, name)?;
            tracing::error!(
                "{}: a store as an earlier start found it, which may hold what is missing",
                kept.display()
            );
        }
    }
    Ok(())
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

/// Copies a folder so that a power cut leaves the copy whole, once it bears its final name.
pub(super) fn copy_durably(from: &Path, to: &Path) -> Result<(), StoreError> {
    copy_folder(from, to)?;
    sync_folder(to)
}

/// Makes everything in a folder durable, not its own name.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).at(path)? {
        let path = entry.at(path)?.path();
        if path.is_dir() {
            sync_folder(&path)?;
        } else {
            sync_file(&path)?;
        }
    }
    sync_dir(path)
}

/// Copies a folder, unsynced.
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
