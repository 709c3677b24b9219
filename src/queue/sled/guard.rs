//! The evidence: what a start finds and tells, and the copies of stores from before sled changed
//! them.
//!
//! Nothing that is set aside is deleted before its bytes, or the store they were in, lie in
//! `quarantine/`.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::batch::Batch;
use super::error::{At, StoreError};
use super::files::{
    create_private_dir, delete_folder, disk_usage, entries, is_dir, is_there, patiently, sync_dir,
    sync_file,
};
use super::ledger::Ledger;
use super::store::Store;
use crate::clock::Millis;
use crate::queue::verdict::Finding;

/// What a start goes by: where the queue is, whom to tell, and what was found so far.
pub(super) struct Guard<'a> {
    pub(super) root: &'a Path,
    /// Told of each store as its turn comes.
    pub(super) tell: &'a dyn Fn(&str),
    /// It is not a start but `verify`, on a clone: what is found is collected and not logged.
    pub(super) is_check: bool,
    pub(super) findings: RefCell<Vec<Finding>>,
}

impl<'a> Guard<'a> {
    pub(super) fn new(root: &'a Path, tell: &'a dyn Fn(&str), is_check: bool) -> Self {
        Self {
            root,
            tell,
            is_check,
            findings: RefCell::default(),
        }
    }

    /// Says that `store` is being read.
    pub(super) fn reads(&self, store: &Path) {
        let name = store.strip_prefix(self.root).unwrap_or(store);
        (self.tell)(&format!("reading {}", name.display()));
    }

    /// Tells that something is not as it must be. Invariant: whatever a start says of what it
    /// found wrong, it says here, so that `verify` finds the same.
    pub(super) fn found(&self, object: &str, what: String, next: &str) {
        if !self.is_check {
            tracing::error!("{}: {object}: {what}; {next}", self.root.display());
        }
        self.findings.borrow_mut().push(Finding {
            object: object.into(),
            what,
            next: next.into(),
        });
    }

    /// [`Guard::found`] of something below the queue's folder.
    pub(super) fn found_at(&self, path: &Path, what: String, next: &str) {
        let name = path.strip_prefix(self.root).unwrap_or(path);
        self.found(&name.display().to_string(), what, next);
    }

    /// Opens a store.
    pub(super) fn open(&self, path: &Path) -> Result<Store, StoreError> {
        self.reads(path);
        Store::open(self.root, path)
    }

    /// The copy of a store from before sled changed it, if it did.
    pub(super) fn copy(&self, store: &Path) -> Result<Option<PathBuf>, StoreError> {
        let copy = copy_path(self.root, store);
        Ok(is_there(&copy)?.then_some(copy))
    }

    /// The store agrees with what must be in it.
    pub(super) fn agreed(&self, copy: Option<PathBuf>) -> Result<(), StoreError> {
        copy.map_or(Ok(()), |copy| delete_folder(&copy))
    }

    /// The store does not: its copy, or the store itself where sled changed nothing of it, is
    /// kept for the operator.
    pub(super) fn keep(&self, store: &Path) -> Result<PathBuf, StoreError> {
        let copy = self.copy(store)?;
        let from = copy.as_deref().unwrap_or(store);
        let name = copy_path(self.root, store);
        let name = name.file_name().and_then(|n| n.to_str()).unwrap_or("store");
        keep(self.root, from, name)
    }
}

/// What a start mends with: what it tells to, the account, and the batch that all of it goes into.
pub(super) struct Mending<'a> {
    pub(super) guard: &'a Guard<'a>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) batch: &'a mut Batch,
    pub(super) now: Millis,
}

/// Where the copy of a store lies.
fn copy_path(root: &Path, store: &Path) -> PathBuf {
    let name = store.strip_prefix(root).unwrap_or(store).display();
    let name = format!("{}.copy", name.to_string().replace('/', "-"));
    root.join("quarantine").join(name)
}

/// Copies a store that sled is about to change while it opens it.
///
/// # Errors
/// Those of the disk. Without room for it there is no copy, which is told.
pub(super) fn copy_before_changes(root: &Path, store: &Path) -> Result<(), StoreError> {
    let copy = copy_path(root, store);
    if is_there(&copy)? {
        // A start that was cut short left it: it is nearer to the crash than the store is now.
        return Ok(());
    }
    let size = disk_usage(store)?;
    let free = statvfs(root).map(|s| s.blocks_available() * s.fragment_size());
    let free = free.map_err(std::io::Error::from).at(root)?;
    if free < size + (size >> 2) {
        tracing::warn!(
            store = %store.display(),
            "no room to copy this store before it is changed"
        );
        return Ok(());
    }
    create_private_dir(&root.join("quarantine"))?;
    let partial = copy.with_extension("deleting");
    if is_there(&partial)? {
        fs::remove_dir_all(&partial).at(&partial)?;
    }
    copy_durably(store, &partial)?;
    fs::rename(&partial, &copy).at(&copy)?;
    sync_dir(&root.join("quarantine"))
}

/// A store is about to go, with nothing in it that is still needed: its copy goes before.
pub(super) fn forget_copy(root: &Path, store: &Path) -> Result<(), StoreError> {
    let copy = copy_path(root, store);
    match is_there(&copy)? {
        true => delete_folder(&copy),
        false => Ok(()),
    }
}

/// A store in which something could not be used is done with: it and its copy go to
/// `quarantine/` instead of being deleted. None if it is gone already.
pub(super) fn retire(root: &Path, store: &Path) -> Result<Option<PathBuf>, StoreError> {
    let copy = copy_path(root, store);
    let name = copy.file_stem().and_then(|n| n.to_str()).unwrap_or("store");
    if is_there(&copy)? {
        keep(root, &copy, &format!("{name}.copy"))?;
    }
    match is_there(store)? {
        true => keep(root, store, name).map(Some),
        false => Ok(None),
    }
}

/// Moves a folder into `quarantine/`, under a name like `name`.
pub(super) fn keep(root: &Path, from: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let mut kept = root.join("quarantine").join(format!("{name}.1"));
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

/// Deals with the copies that this start took no notice of: a start that was cut short made
/// them, and their stores are gone or hold nothing since. `is_whole`: this start missed nothing.
/// The copies of stores that stand unopened wait for these.
pub(super) fn settle_copies(guard: &Guard<'_>, is_whole: bool) -> Result<(), StoreError> {
    let root = guard.root;
    let dir = root.join("quarantine");
    for copy in entries(&dir)? {
        if copy.extension().is_none_or(|e| e != "copy") {
            continue;
        }
        let name = copy.file_name().and_then(|n| n.to_str()).unwrap_or("copy");
        let generation = name
            .strip_prefix("gen-")
            .and_then(|n| n.strip_suffix(".copy"));
        if let Some(generation) = generation
            && is_there(&root.join("gen").join(generation))?
        {
            continue;
        }
        if is_whole {
            if !guard.is_check {
                tracing::info!(
                    "{}: the copy of a store that is not needed any more is removed; nothing is \
                     missing",
                    copy.display()
                );
            }
            delete_folder(&copy)?;
        } else {
            let kept = keep(root, &copy, name)?;
            guard.found_at(
                &copy,
                "a store as an earlier start found it, which may hold what is missing".into(),
                &format!("it is kept as {}", kept.display()),
            );
        }
    }
    Ok(())
}

/// Copies a folder so that a power cut leaves the copy whole, once it bears its final name.
pub(super) fn copy_durably(from: &Path, to: &Path) -> Result<(), StoreError> {
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
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_private_dir(to)?;
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if is_dir(&path)? {
            copy_folder(&path, &target)?;
        } else {
            patiently(|| fs::copy(&path, &target)).at(&path)?;
        }
    }
    Ok(())
}
