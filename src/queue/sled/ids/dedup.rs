//! Which messageIds were accepted within the window.
//!
//! Ids of unsealed generations are held exactly; those of sealed ones stand in `seen/`, behind
//! one filter a file. Only the committer asks, in arrival order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::{Millis, Unproven};
use crate::queue::contract::{IdSet, Seq};
use crate::queue::sled::disk::StoreError;
use crate::queue::sled::ids::seen::file::SeenFile;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::record::Coverage;

/// Ids from before it are forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    pub at: Millis,
    /// Whose stamps prove no age.
    pub unproven: Option<Unproven>,
}

/// Where an id was met.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts {
    /// First and last generation that may hold its event.
    pub generations: (Generation, Generation),
    /// After this it was accepted.
    pub after: Option<Millis>,
    /// By then it was.
    pub by: Option<Millis>,
}

/// The index.
#[derive(Default)]
pub struct Dedup {
    /// Generation → its ids.
    unsealed: BTreeMap<Generation, IdSet>,
    sealed: Vec<Arc<SeenFile>>,
}

impl Dedup {
    /// Whether `id` was accepted in a period whose newest id is not older than `horizon`, or of
    /// which something may not be settled: an event that waits is known, however long it waits.
    pub fn contains(&self, id: u128, horizon: Horizon, low_water: Seq) -> Result<bool, StoreError> {
        if self.unsealed.values().any(|ids| ids.contains(&id)) {
            return Ok(true);
        }
        for file in &self.sealed {
            if is_past(file, horizon, low_water) {
                continue;
            }
            match file.contains(id) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // Ending the process would only meet it again with the client's next try.
                Err(error @ StoreError::Damaged { .. }) => tracing::error!(
                    "{error}; an event whose messageId may be in it is taken for new, and may be \
                     sent again"
                ),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// In which generations the newest event of `id` was accepted; as [`Dedup::contains`].
    pub fn find(
        &self,
        id: u128,
        horizon: Horizon,
        low_water: Seq,
    ) -> Result<Option<Whereabouts>, StoreError> {
        let files = self.files();
        let newest_of = |files: &[Arc<SeenFile>]| files.last().map(|file| file.coverage.newest);
        let mut unsealed = self.unsealed.iter().rev();
        if let Some((generation, _)) = unsealed.find(|(_, ids)| ids.contains(&id)) {
            // A kill may have come between the writing of its own file and the account's note.
            let before = files.partition_point(|f| f.coverage.generations.1 < *generation);
            return Ok(Some(Whereabouts {
                generations: (*generation, *generation),
                after: newest_of(&files[..before]),
                by: None,
            }));
        }
        for (at, file) in files.iter().enumerate().rev() {
            if is_past(file, horizon, low_water) {
                continue;
            }
            let holds = match file.contains(id) {
                // As an accept takes it: not remembered.
                Err(StoreError::Damaged { .. }) => false,
                holds => holds?,
            };
            if holds {
                return Ok(Some(Whereabouts {
                    generations: file.coverage.generations,
                    after: newest_of(&files[..at]),
                    by: Some(file.coverage.newest),
                }));
            }
        }
        Ok(None)
    }

    pub fn insert(&mut self, generation: Generation, id: u128) {
        self.unsealed.entry(generation).or_default().insert(id);
    }

    /// A generation's ids now stand in `file`, which may replace one that an earlier life wrote
    /// and had no time to note.
    pub fn seal(&mut self, generation: Generation, file: Arc<SeenFile>) {
        let generations = file.coverage.generations;
        self.sealed
            .retain(|old| old.coverage.generations != generations);
        self.sealed.push(file);
        self.unsealed.remove(&generation);
    }

    /// What the file says that a life wrote which had no time to note it: when the newest of the
    /// generation's ids was accepted.
    pub fn sealed_at(&self, generation: Generation) -> Option<Millis> {
        let is_of = |file: &&Arc<SeenFile>| file.coverage.generations == (generation, generation);
        self.sealed
            .iter()
            .find(is_of)
            .map(|file| file.coverage.newest)
    }

    /// One file takes the place of several.
    pub fn merged(&mut self, file: Arc<SeenFile>) {
        let (first, last) = file.coverage.generations;
        self.sealed.retain(|old| {
            let (f, l) = old.coverage.generations;
            f < first || l > last
        });
        self.sealed.push(file);
    }

    /// Drops and returns the files whose newest id is older than `horizon` and whose events
    /// are all settled. One whose generation is about to be sealed again waits for that: it would
    /// be deleted in its successor's place.
    pub fn forget(&mut self, horizon: Horizon, low_water: Seq) -> Vec<Arc<SeenFile>> {
        let unsealed = &self.unsealed;
        let old = |file: &mut Arc<SeenFile>| {
            let (first, last) = file.coverage.generations;
            is_past(file, horizon, low_water) && unsealed.range(first..=last).next().is_none()
        };
        self.sealed.extract_if(.., old).collect()
    }

    /// The files, oldest first.
    pub fn files(&self) -> Vec<Arc<SeenFile>> {
        let mut files = self.sealed.clone();
        files.sort_by_key(|file| file.coverage.generations);
        files
    }
}

/// Whether all ids of a file are older than the horizon and all their events settled.
fn is_past(file: &SeenFile, horizon: Horizon, low_water: Seq) -> bool {
    let Coverage {
        newest, last_seq, ..
    } = file.coverage;
    let newest = (horizon.unproven).map_or(newest, |unproven| unproven.of_line(last_seq.0, newest));
    newest < horizon.at && last_seq < low_water
}
