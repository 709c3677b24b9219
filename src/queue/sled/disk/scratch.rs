//! A clone of a queue's folder, to do to it what a start does. It shares the files of the stores by
//! hard links: what is opened is given files of its own first ([`Store::open`]), and what is not
//! opened takes no room.
//!
//! [`Store::open`]: crate::queue::sled::disk::store::Store::open

use std::fs;
use std::path::{Path, PathBuf};

use crate::queue::sled::disk::{
    error::{At, StoreError},
    files::{create_private_dir, entries, is_dir, is_there},
    layout::{LOCK, QUARANTINE, meta_folder},
    quarantine::copy_folder,
};

/// The clone, in the quarantine of what it was made of. Swept at the next start, should this
/// process end before it is removed.
pub struct Scratch {
    of: PathBuf,
    path: PathBuf,
}

impl Scratch {
    /// Of everything but the quarantine.
    pub fn of(root: &Path) -> Result<Self, StoreError> {
        let clone = Self::empty(root, "verify.deleting")?;
        match clone.fill(root) {
            Ok(()) => Ok(clone),
            Err(error) => {
                // If there was no room for all of it, a part must not take what room is left.
                clone.remove()?;
                Err(error)
            }
        }
    }

    fn fill(&self, root: &Path) -> Result<(), StoreError> {
        for path in entries(root)? {
            let name = path.file_name().unwrap_or_default();
            if name == QUARANTINE || name == LOCK {
                continue;
            }
            let target = self.path.join(name);
            match is_dir(&path)? {
                true => link_folder(&path, &target)?,
                // Written in place.
                false => fs::copy(&path, &target).map(drop).at(&path)?,
            }
        }
        let quarantine = root.join(QUARANTINE);
        create_private_dir(&self.path.join(QUARANTINE))?;
        for path in entries(&quarantine)? {
            // What a start that was cut short left is a start's to deal with.
            if path.extension().is_some_and(|e| e == "copy") {
                let name = path.file_name().unwrap_or_default();
                link_folder(&path, &self.path.join(QUARANTINE).join(name))?;
            }
        }
        Ok(())
    }

    /// Of the account alone.
    pub fn of_account(root: &Path) -> Result<Self, StoreError> {
        let clone = Self::empty(root, "account.deleting")?;
        copy_folder(&meta_folder(root), &meta_folder(&clone.path))?;
        Ok(clone)
    }

    fn empty(root: &Path, name: &str) -> Result<Self, StoreError> {
        let path = root.join(QUARANTINE).join(name);
        if is_there(&path)? {
            fs::remove_dir_all(&path).at(&path)?;
        }
        create_private_dir(&path)?;
        Ok(Self {
            of: root.into(),
            path,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that it is a clone of.
    pub fn of_what(&self) -> &Path {
        &self.of
    }

    pub fn remove(self) -> Result<(), StoreError> {
        fs::remove_dir_all(&self.path).at(&self.path)
    }
}

fn link_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_private_dir(to)?;
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if is_dir(&path)? {
            link_folder(&path, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            // Not every file system has them.
            fs::copy(&path, &target).at(&path)?;
        }
    }
    Ok(())
}
