//! Whether what is open still bears its name: a folder that was emptied, moved or put back under a
//! running daemon takes events into files that nobody will find again.

use std::path::{Path, PathBuf};

use crate::queue::sled::account::HighFile;
use crate::queue::sled::disk::{
    DEAD, FileId, GENERATIONS, PURGED, SEEN, Store, StoreError, file_id,
    layout::{FORMAT, LOCK},
};

/// The names that stay the same for a process' life, and what they stood for at the start.
pub struct Places(Vec<(PathBuf, FileId)>);

impl Places {
    pub fn of(root: &Path, high: &HighFile, meta: &Store) -> Result<Self, StoreError> {
        let folders = [GENERATIONS, SEEN, DEAD, PURGED].map(|dir| root.join(dir));
        let files = [LOCK, FORMAT].map(|file| root.join(file));
        let names = [
            root.to_owned(),
            high.path().to_owned(),
            meta.path().join("db"),
        ];
        let names = names.into_iter().chain(folders).chain(files);
        let mut places = Vec::new();
        for path in names {
            let id = file_id(&path)?;
            places.extend(id.map(|id| (path, id)));
        }
        Ok(Self(places))
    }

    /// The first of them that stands for something else now, or for nothing.
    pub fn displaced(&self) -> Result<Option<PathBuf>, StoreError> {
        for (path, id) in &self.0 {
            if file_id(path)? != Some(*id) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}
