//! One sled store in one folder, with the fences that its measured faults ask for.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::codec::{self, Bad, MAX_VALUE};
use super::sync;
use crate::queue::OpenError;

/// How long sled may take to let go of a store that was dropped.
const LET_GO: Duration = Duration::from_secs(10);

/// How long to wait for a descriptor when the process, or the machine, has none left.
const NO_FILES: Duration = Duration::from_secs(30);

/// A failure of storage, naming its object.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The system refused or failed.
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// sled refused or failed.
    #[error("store {path}: {source}")]
    Sled {
        path: PathBuf,
        #[source]
        source: sled::Error,
    },
    /// What is there cannot be used.
    #[error("store {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    /// Written by a newer release.
    #[error(
        "{path} was written by a newer pinrelay (format {version}); install that release again"
    )]
    Newer { path: PathBuf, version: u8 },
}

impl StoreError {
    pub(super) fn bad(path: &Path, what: &str, bad: Bad) -> Self {
        match bad {
            Bad::Newer(version) => Self::Newer {
                path: path.into(),
                version,
            },
            bad => Self::Damaged {
                path: path.into(),
                what: format!("{what}: {bad}"),
            },
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            error @ StoreError::Newer { .. } => Self::Newer(error.to_string()),
            error => Self::Io(format!("queue: {error}")),
        }
    }
}

/// Adds the path to an I/O error.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            path: path.into(),
            source,
        })
    }
}

impl<T> At<T> for sled::Result<T> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| match source {
            // What the disk says is told as the disk's.
            sled::Error::Io(source) => StoreError::Io {
                path: path.into(),
                source,
            },
            source => StoreError::Sled {
                path: path.into(),
                source,
            },
        })
    }
}

/// Opens something. Without a descriptor nothing has failed yet: it is tried again, for a while,
/// and what waits for it waits.
pub(super) fn patiently<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(error) if out_of_files(&error) && begun.elapsed() < NO_FILES => {
                std::thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

fn out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// An open store.
pub(super) struct Store {
    db: sled::Db,
    path: PathBuf,
}

impl Store {
    /// Makes a new store, durable as a folder before it holds anything.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        create_private_dir(path)?;
        let store = Self::open_db(path)?;
        store.probe()?;
        sync_file(&path.join("db"))?;
        sync_file(&path.join("conf"))?;
        sync_dir(path)?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        Ok(store)
    }

    /// Opens a store that must exist.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // A folder without its data file would open as a new, empty store.
        for file in ["db", "conf"] {
            if !path.join(file).is_file() {
                let what = format!("its file `{file}` is missing");
                return Err(StoreError::Damaged {
                    path: path.into(),
                    what,
                });
            }
        }
        remove_torn_snapshots(path)?;
        let store = Self::open_db(path)?;
        // sled renames its new snapshot into place without syncing the folder.
        sync_dir(path)?;
        Ok(store)
    }

    /// Whether making this store was cut short: [`Store::create`] syncs its files before anything
    /// is committed to it, and sled makes the data file last.
    pub(super) fn is_unborn(path: &Path) -> Result<bool, StoreError> {
        if !path.is_dir() || fs::metadata(path.join("db")).is_ok_and(|db| db.len() > 0) {
            return Ok(false);
        }
        for entry in fs::read_dir(path).at(path)? {
            let name = entry.at(path)?.file_name();
            if !["blobs", "conf", "db"].iter().any(|made| name == *made) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open_db(path: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(1 << 20)
            // sled's timer thread swallows sync errors and wakes an idle process.
            .flush_every_ms(None);
        let begun = Instant::now();
        loop {
            // sled panics at some kinds of damage.
            let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
            let damaged = |what: &str| StoreError::Damaged {
                path: path.into(),
                what: what.into(),
            };
            return match opened {
                Ok(Ok(db)) => Ok(Self {
                    db,
                    path: path.into(),
                }),
                // Its own threads may hold a store for some moments after the last handle was
                // dropped, and tell nobody when they let go. The folder is locked for this
                // process, so nobody else can hold it.
                Ok(Err(sled::Error::Io(e)))
                    if e.to_string().contains("could not acquire lock")
                        && begun.elapsed() < LET_GO =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                }
                Ok(Err(sled::Error::Io(e))) if out_of_files(&e) && begun.elapsed() < NO_FILES => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Ok(Err(sled::Error::Corruption { .. })) => Err(damaged("sled found corruption")),
                Ok(Err(error)) => Err(error).at(path),
                Err(_) => Err(damaged("sled cannot read it")),
            };
        }
    }

    /// Proves that a flush of this process is a real sync.
    fn probe(&self) -> Result<(), StoreError> {
        if sync::probe(&self.db).at(&self.path)? {
            return Ok(());
        }
        let source = io::Error::other("sled's sync does not reach the disk in this build");
        Err(StoreError::Io {
            path: self.path.clone(),
            source,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `batch` and syncs it. When this returns, it is on disk.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch.0).at(&self.path)?;
        self.db.flush().at(&self.path)?;
        if sync::failed() {
            // The error may have met another store's flush: nothing counts any more.
            let source = io::Error::other("an earlier sync failed");
            return Err(StoreError::Io {
                path: self.path.clone(),
                source,
            });
        }
        Ok(())
    }

    /// The checked payload stored under `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.db.get(key).at(&self.path)? {
            None => Ok(None),
            Some(value) => match codec::open(key, &value) {
                Ok(payload) => Ok(Some(payload.to_vec())),
                Err(bad) => Err(StoreError::bad(&self.path, "a value", bad)),
            },
        }
    }

    /// Keys and checked payloads from `from` on (inclusive) below `to`, ascending.
    pub(super) fn scan<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl Iterator<Item = Result<(sled::IVec, Result<Vec<u8>, Bad>), StoreError>> + 'a {
        self.db.range(from..to).map(|row| {
            let (key, value) = row.at(&self.path)?;
            let payload = codec::open(&key, &value).map(<[u8]>::to_vec);
            Ok((key, payload))
        })
    }

    /// The last key at or below `key`.
    pub(super) fn key_at_or_below(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let row = self
            .db
            .range(..=key)
            .next_back()
            .transpose()
            .at(&self.path)?;
        Ok(row.map(|(key, _)| key))
    }

    /// Leaves the store without dropping it: after an I/O error a drop can hang.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }
}

/// Changes that become durable together.
#[derive(Default)]
pub(super) struct Batch(sled::Batch, usize);

impl Batch {
    /// Puts a payload of at most [`MAX_VALUE`] bytes.
    pub(super) fn put(&mut self, key: &[u8], payload: Vec<u8>) {
        debug_assert!(
            payload.len() <= MAX_VALUE,
            "{} bytes under one key",
            payload.len()
        );
        self.0.insert(key, codec::seal(key, payload));
        self.1 += 1;
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
        self.1 += 1;
    }

    /// Puts a payload of any length under `prefix` + part number.
    pub(super) fn put_parts(&mut self, prefix: &[u8], payload: &[u8]) {
        for (part, piece) in payload.chunks(MAX_VALUE).enumerate() {
            self.put(&part_key(prefix, part as u16), piece.to_vec());
        }
    }

    /// Operations so far.
    pub(super) fn len(&self) -> usize {
        self.1
    }
}

/// How many parts a payload takes.
pub(super) fn parts(len: usize) -> usize {
    len.div_ceil(MAX_VALUE)
}

/// `prefix` and the part number, big-endian.
pub(super) fn part_key(prefix: &[u8], part: u16) -> Vec<u8> {
    [prefix, &part.to_be_bytes()].concat()
}

/// Splits a key of [`part_key`].
pub(super) fn split_part(key: &[u8]) -> Option<(&[u8], u16)> {
    let (prefix, part) = key.split_last_chunk::<2>()?;
    Some((prefix, u16::from_be_bytes(*part)))
}

/// Removes what a kill during open leaves and what the next open would stumble over. Only
/// these: without `snap.*` proper a damaged store can reopen empty.
fn remove_torn_snapshots(path: &Path) -> Result<(), StoreError> {
    for entry in patiently(|| fs::read_dir(path)).at(path)? {
        let entry = entry.at(path)?.path();
        if entry.extension().is_some_and(|e| e == "generating") {
            fs::remove_file(&entry).at(&entry)?;
        }
    }
    Ok(())
}

/// Makes a folder that only its owner enters.
pub(super) fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at(path)
}

/// Makes the names inside a folder durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let dir = patiently(|| File::open(path)).at(path)?;
    dir.sync_all().at(path)
}

fn sync_file(path: &Path) -> Result<(), StoreError> {
    let file = patiently(|| File::open(path)).at(path)?;
    file.sync_all().at(path)
}

/// Deletes a store's folder so that no crash leaves half of it under its name.
pub(super) fn delete_folder(path: &Path) -> Result<(), StoreError> {
    let doomed = path.with_extension("deleting");
    fs::rename(path, &doomed).at(path)?;
    if let Some(parent) = path.parent() {
        sync_dir(parent)?;
    }
    patiently(|| fs::remove_dir_all(&doomed)).at(&doomed)
}

/// Finishes deletions that a crash interrupted, and drops files never put in place.
pub(super) fn sweep(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("deleting") => fs::remove_dir_all(&path).at(&path)?,
            Some("tmp") => fs::remove_file(&path).at(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of the files in a folder tree; what vanishes meanwhile counts nothing.
pub(super) fn disk_usage(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
