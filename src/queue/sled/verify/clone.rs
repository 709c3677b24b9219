//! A clone of a queue's folder, for `verify` to do to it what a start does. It shares the files of
//! the stores by hard links: what is opened is given files of its own first ([`Store::open`]), and
//! what is not opened takes no room.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::error::{At, StoreError};
use super::super::files::{create_private_dir, entries, is_dir, is_there, numbered};
use super::super::guard::copy_folder;
use super::super::meta::Meta;
use super::super::open::generation_folder;
use super::super::period;
use super::super::store::Store;
use super::walk::Stores;

/// The clone, in the quarantine of what it was made of. Swept at the next start, should this
/// process end before it is removed.
pub(super) struct Scratch {
    of: PathBuf,
    path: PathBuf,
}

impl Scratch {
    /// Of everything but the quarantine.
    pub(super) fn of(root: &Path) -> Result<Self, StoreError> {
        let clone = Self::empty(root, "verify.deleting")?;
        match clone.fill(root) {
            Ok(()) => Ok(clone),
            Err(error) => {
                // Where there was no room for it, it is not to take what is left.
                clone.remove()?;
                Err(error)
            }
        }
    }

    fn fill(&self, root: &Path) -> Result<(), StoreError> {
        for path in entries(root)? {
            let name = path.file_name().unwrap_or_default();
            if name == "quarantine" || name == "lock" {
                continue;
            }
            let target = self.path.join(name);
            match is_dir(&path)? {
                true => link_folder(&path, &target)?,
                // Written in place.
                false => fs::copy(&path, &target).map(drop).at(&path)?,
            }
        }
        let quarantine = root.join("quarantine");
        create_private_dir(&self.path.join("quarantine"))?;
        for path in entries(&quarantine)? {
            // What a start that was cut short left is a start's to deal with.
            if path.extension().is_some_and(|e| e == "copy") {
                let name = path.file_name().unwrap_or_default();
                link_folder(&path, &self.path.join("quarantine").join(name))?;
            }
        }
        Ok(())
    }

    /// Of the account alone.
    pub(super) fn of_account(root: &Path) -> Result<Self, StoreError> {
        let clone = Self::empty(root, "account.deleting")?;
        copy_folder(&Meta::folder(root), &Meta::folder(&clone.path))?;
        Ok(clone)
    }

    fn empty(root: &Path, name: &str) -> Result<Self, StoreError> {
        let path = root.join("quarantine").join(name);
        if is_there(&path)? {
            fs::remove_dir_all(&path).at(&path)?;
        }
        create_private_dir(&path)?;
        Ok(Self {
            of: root.into(),
            path,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that it is a clone of.
    pub(super) fn of_what(&self) -> &Path {
        &self.of
    }

    pub(super) fn stores(&self) -> Cloned<'_> {
        Cloned { root: &self.path }
    }

    pub(super) fn remove(self) -> Result<(), StoreError> {
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

/// The stores of a clone, opened one at a time; each goes when it was looked at.
pub(super) struct Cloned<'a> {
    root: &'a Path,
}

impl Cloned<'_> {
    fn show(&self, path: &Path, look: &mut dyn FnMut(&Store)) -> Result<(), StoreError> {
        look(&Store::open(self.root, path)?);
        fs::remove_dir_all(path).at(path)
    }
}

impl Stores for Cloned<'_> {
    fn generations(&self) -> Result<Vec<u64>, StoreError> {
        let mut generations = Vec::new();
        for generation in numbered(&self.root.join("gen"))? {
            if !Store::is_unborn(&generation_folder(self.root, generation))? {
                generations.push(generation);
            }
        }
        Ok(generations)
    }

    fn generation(
        &mut self,
        generation: u64,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError> {
        self.show(&generation_folder(self.root, generation), look)
    }

    fn period(&mut self, period: u64, look: &mut dyn FnMut(&Store)) -> Result<bool, StoreError> {
        let path = period::folder(&self.root.join("dead"), period);
        if !is_there(&path)? {
            return Err(StoreError::damaged(&path, "it is missing"));
        }
        self.show(&path, look)?;
        Ok(true)
    }
}
