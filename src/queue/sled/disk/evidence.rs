//! The evidence: what a start finds and tells, and the copies of stores from before sled changed
//! them.
//!
//! Nothing that is set aside is deleted before its bytes, or the store they were in, lie in
//! `quarantine/`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::queue::contract::Finding;
use crate::queue::sled::disk::{
    error::StoreError,
    files::{delete_folder, entries, is_there},
    layout::{GENERATIONS, QUARANTINE},
    quarantine,
    store::Store,
};

/// What a start is given and collects: where the queue is, whom to tell, what was found so far.
pub struct Evidence<'a> {
    pub root: &'a Path,
    /// Told of each store as its turn comes.
    pub tell: &'a dyn Fn(&str),
    /// It is not a start but `verify`, on a clone: what is found is collected and not logged.
    pub is_check: bool,
    pub findings: RefCell<Vec<Finding>>,
}

impl<'a> Evidence<'a> {
    pub fn new(root: &'a Path, tell: &'a dyn Fn(&str), is_check: bool) -> Self {
        Self {
            root,
            tell,
            is_check,
            findings: RefCell::default(),
        }
    }

    /// Says that `store` is being read.
    pub fn reads(&self, store: &Path) {
        let name = store.strip_prefix(self.root).unwrap_or(store);
        (self.tell)(&format!("reading {}", name.display()));
    }

    /// Tells that something is not as it must be. Invariant: whatever a start says of what it
    /// found wrong, it says here, so that `verify` finds the same.
    pub fn found(&self, object: &str, what: String, next: &str) {
        if !self.is_check {
            tracing::error!("{}: {object}: {what}; {next}", self.root.display());
        }
        self.findings.borrow_mut().push(Finding {
            object: object.into(),
            what,
            next: next.into(),
        });
    }

    /// [`Evidence::found`] of something below the queue's folder.
    pub fn found_at(&self, path: &Path, what: String, next: &str) {
        let name = path.strip_prefix(self.root).unwrap_or(path);
        self.found(&name.display().to_string(), what, next);
    }

    /// Opens a store.
    pub fn open(&self, path: &Path) -> Result<Store, StoreError> {
        self.reads(path);
        Store::open(self.root, path)
    }

    /// The copy of a store from before sled changed it, if it did.
    pub fn copy(&self, store: &Path) -> Result<Option<PathBuf>, StoreError> {
        let copy = quarantine::copy_path(self.root, store);
        Ok(is_there(&copy)?.then_some(copy))
    }

    /// The store agrees with what must be in it.
    pub fn discard_copy(&self, copy: Option<PathBuf>) -> Result<(), StoreError> {
        copy.map_or(Ok(()), |copy| delete_folder(&copy))
    }

    /// The store does not: its copy, or the store itself where sled changed nothing of it, is
    /// kept for the operator.
    pub fn quarantine(&self, store: &Path) -> Result<PathBuf, StoreError> {
        let copy = self.copy(store)?;
        let from = copy.as_deref().unwrap_or(store);
        let name = quarantine::copy_path(self.root, store);
        let name = name.file_name().and_then(|n| n.to_str()).unwrap_or("store");
        quarantine::put(self.root, from, name)
    }
}

/// Deals with the copies that this start took no notice of: a start that was cut short made
/// them, and their stores are gone or hold nothing since. `is_whole`: this start missed nothing.
/// The copies of stores that stand unopened wait for these.
pub fn settle_copies(evidence: &Evidence<'_>, is_whole: bool) -> Result<(), StoreError> {
    let root = evidence.root;
    let dir = root.join(QUARANTINE);
    for copy in entries(&dir)? {
        if copy.extension().is_none_or(|e| e != "copy") {
            continue;
        }
        let name = copy.file_name().and_then(|n| n.to_str()).unwrap_or("copy");
        let generation = name
            .strip_prefix("gen-")
            .and_then(|n| n.strip_suffix(".copy"));
        if let Some(generation) = generation
            && is_there(&root.join(GENERATIONS).join(generation))?
        {
            continue;
        }
        if is_whole {
            if !evidence.is_check {
                tracing::info!(
                    "{}: the copy of a store that is not needed any more is removed; nothing is \
                     missing",
                    copy.display()
                );
            }
            delete_folder(&copy)?;
        } else {
            let kept = quarantine::put(root, &copy, name)?;
            evidence.found_at(
                &copy,
                "a store as an earlier start found it, which may hold what is missing".into(),
                &format!("it is kept as {}", kept.display()),
            );
        }
    }
    Ok(())
}
