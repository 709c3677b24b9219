//! Reads the files of remembered ids once after a start, a little at each look at the disk: they
//! are asked rarely, and a block that went bad would be found when its ids are needed, or never.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::queue::sled::disk::{StoreError, is_there};
use crate::queue::sled::ids::seen::file::SeenFile;

/// Blocks of 4 KiB that one look reads: some milliseconds, and 50 million ids in two minutes.
const BLOCKS: usize = 2048;

/// What is still to be read.
pub struct Scrub {
    left: VecDeque<Arc<SeenFile>>,
    /// The next block of the first of them, and the ids that were lost in it so far.
    at: usize,
    lost: u64,
}

/// A file in which something cannot be read.
pub struct Harmed {
    pub file: Arc<SeenFile>,
    pub ids: u64,
}

impl Scrub {
    pub fn new(files: Vec<Arc<SeenFile>>) -> Self {
        Self {
            left: files.into(),
            at: 0,
            lost: 0,
        }
    }

    /// Reads on; gives the files that were read to their ends and are damaged.
    pub fn step(&mut self) -> Result<Vec<Harmed>, StoreError> {
        let mut harmed = Vec::new();
        let mut room = BLOCKS;
        while let Some(file) = self.left.front().filter(|_| room > 0) {
            let end = file.blocks().min(self.at + room);
            // One that was merged or forgotten meanwhile is nobody's loss.
            let is_needed = is_there(file.path())?;
            if is_needed && let Some((ids, error)) = file.damage(self.at..end)? {
                if self.lost == 0 {
                    tracing::error!(
                        "{error}; with the daemon stopped, `pinrelay verify --repair` moves the \
                         file to quarantine/"
                    );
                }
                self.lost += ids;
            }
            room -= end - self.at;
            self.at = end;
            if !is_needed || end == file.blocks() {
                let file = self.left.pop_front();
                let ids = std::mem::take(&mut self.lost);
                self.at = 0;
                harmed.extend(file.filter(|_| ids > 0).map(|file| Harmed { file, ids }));
            }
        }
        Ok(harmed)
    }
}
