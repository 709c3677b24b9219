//! The stores of a clone, for the walk.

use std::fs;
use std::path::Path;

use crate::queue::sled::disk::{
    At, GENERATIONS, Scratch, Store, StoreError, generation_folder, is_there, numbered,
    period_folder,
};
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::verify::walk::Stores;

/// The stores of a clone, opened one at a time; each goes when it was looked at.
pub struct Cloned<'a> {
    root: &'a Path,
}

impl<'a> Cloned<'a> {
    pub fn of(clone: &'a Scratch) -> Self {
        Self { root: clone.path() }
    }

    fn show(&self, path: &Path, look: &mut dyn FnMut(&Store)) -> Result<(), StoreError> {
        look(&Store::open(self.root, path)?);
        fs::remove_dir_all(path).at(path)
    }
}

impl Stores for Cloned<'_> {
    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        let mut generations = Vec::new();
        for generation in numbered(&self.root.join(GENERATIONS))? {
            if !Store::was_never_committed(&generation_folder(self.root, generation))? {
                generations.push(generation);
            }
        }
        Ok(generations)
    }

    fn generation(
        &mut self,
        generation: Generation,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError> {
        self.show(&generation_folder(self.root, generation), look)
    }

    fn period(
        &mut self,
        period: PeriodNumber,
        look: &mut dyn FnMut(&Store),
    ) -> Result<bool, StoreError> {
        let path = period_folder(self.root, period);
        if !is_there(&path)? {
            return Err(StoreError::damaged(&path, "it is missing"));
        }
        self.show(&path, look)?;
        Ok(true)
    }
}
