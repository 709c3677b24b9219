//! `quarantine/`: what could not be used, and copies of stores from before sled changed them.
//!
//! Nothing that is set aside is deleted before its bytes, or the store they were in, lie here.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::queue::sled::disk::{
    error::{At, StoreError},
    files::{
        create_private_dir, delete_folder, disk_usage, entries, has_room, is_dir, is_there,
        retry_without_fds, sync_dir, sync_file,
    },
    layout::QUARANTINE,
};
/// Where the copy of a store lies.
pub fn copy_path(root: &Path, store: &Path) -> PathBuf {
    let name = store.strip_prefix(root).unwrap_or(store).display();
    let name = format!("{}.copy", name.to_string().replace('/', "-"));
    root.join(QUARANTINE).join(name)
}

/// Copies a store that sled is about to change while it opens it.
///
/// # Errors
/// Those of the disk. Without room for it there is no copy, which is told.
pub fn copy_before_changes(root: &Path, store: &Path) -> Result<(), StoreError> {
    let copy = copy_path(root, store);
    if is_there(&copy)? {
        // A start that was cut short left it: it is nearer to the crash than the store is now.
        return Ok(());
    }
    let size = disk_usage(store)?;
    if !has_room(root, size)? {
        tracing::warn!(
            store = %store.display(),
            "no room to copy this store before it is changed"
        );
        return Ok(());
    }
    create_private_dir(&root.join(QUARANTINE))?;
    let partial = copy.with_extension("deleting");
    if is_there(&partial)? {
        fs::remove_dir_all(&partial).at(&partial)?;
    }
    copy_durably(store, &partial)?;
    fs::rename(&partial, &copy).at(&copy)?;
    sync_dir(&root.join(QUARANTINE))
}

/// A store is about to go, with nothing in it that is still needed: its copy goes before.
pub fn forget_copy(root: &Path, store: &Path) -> Result<(), StoreError> {
    let copy = copy_path(root, store);
    match is_there(&copy)? {
        true => delete_folder(&copy),
        false => Ok(()),
    }
}

/// A store in which something could not be used is done with: it and its copy go to
/// `quarantine/` instead of being deleted. None if it is gone already.
pub fn retire(root: &Path, store: &Path) -> Result<Option<PathBuf>, StoreError> {
    let copy = copy_path(root, store);
    let name = copy.file_stem().and_then(|n| n.to_str()).unwrap_or("store");
    if is_there(&copy)? {
        put(root, &copy, &format!("{name}.copy"))?;
    }
    match is_there(store)? {
        true => put(root, store, name).map(Some),
        false => Ok(None),
    }
}

/// Moves a folder into `quarantine/`, under a name like `name`.
pub fn put(root: &Path, from: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let mut kept = root.join(QUARANTINE).join(format!("{name}.1"));
    let mut n = 1;
    while is_there(&kept)? {
        n += 1;
        kept.set_file_name(format!("{name}.{n}"));
    }
    fs::rename(from, &kept).at(from)?;
    for folder in [kept.parent(), from.parent()].into_iter().flatten() {
        sync_dir(folder)?;
    }
    Ok(kept)
}

/// Copies a folder so that a power cut leaves the copy whole, once it bears its final name.
pub fn copy_durably(from: &Path, to: &Path) -> Result<(), StoreError> {
    copy_folder(from, to)?;
    sync_folder(to)
}

/// Makes everything in a folder durable, not its own name.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    for path in entries(path)? {
        if is_dir(&path)? {
            sync_folder(&path)?;
        } else {
            sync_file(&path)?;
        }
    }
    sync_dir(path)
}

/// Copies a folder, unsynced.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_private_dir(to)?;
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if is_dir(&path)? {
            copy_folder(&path, &target)?;
        } else {
            retry_without_fds(|| fs::copy(&path, &target)).at(&path)?;
        }
    }
    Ok(())
}
