//! One sled store in one folder, with the fences that its measured faults ask for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::queue::contract::Number;
use crate::queue::lock::lock;
use crate::queue::record::codec::{self, DecodeError};
use crate::queue::sled::disk::{
    batch::{Batch, split_part},
    error::{At, StoreError, is_systems},
    files::{
        NO_FILES, create_in_place, entries, file_id, is_dir, is_there, out_of_files,
        retry_without_fds, sync_dir, sync_file,
    },
    quarantine::copy_before_changes,
    sync,
    syscalls::{self, FileId},
};

/// The data file of a store to which nothing was committed is not longer: sled's own records and
/// the probe. The smallest commit makes it longer.
const EMPTY_STORE_BYTES: u64 = 200;
/// How long sled may take to let go of a store that was dropped.
const LET_GO: Duration = Duration::from_secs(10);

/// A row of [`Store::scan`]: its key, and its payload or what is wrong with that.
pub type StoredRow = Result<(sled::IVec, Result<Vec<u8>, DecodeError>), StoreError>;

/// Runs a read of sled's, which panics at some kinds of damage, at open and later.
fn catching_panics<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        match said.or_else(|| panic.downcast_ref::<&str>().copied()) {
            // What the system said is no word about what is stored.
            Some(said) if said.contains("Os { code") => StoreError::Io {
                path: path.into(),
                source: io::Error::other(said.to_owned()),
            },
            _ => StoreError::damaged(path, "sled cannot read it"),
        }
    })
}

/// An open store.
pub struct Store {
    db: sled::Db,
    path: PathBuf,
    /// The data file that was opened.
    file: FileId,
}

impl Store {
    /// Makes a new store, durable as a folder before it holds anything.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        create_in_place(path)?;
        let store = Self::open_db(path)?;
        store.probe()?;
        Self::sync_all(path)?;
        Ok(store)
    }

    /// Makes the files of a store, and its name in its folder, durable.
    fn sync_all(path: &Path) -> Result<(), StoreError> {
        sync_file(&path.join("db"))?;
        sync_file(&path.join("conf"))?;
        sync_dir(path)?;
        path.parent().map_or(Ok(()), sync_dir)
    }

    /// Opens a store that must exist, of the queue at `root`. If sled changes what is there, the
    /// store as it was lies in `quarantine/` before.
    pub fn open(root: &Path, path: &Path) -> Result<Self, StoreError> {
        // A folder without its data file would open as a new, empty store.
        for file in ["db", "conf"] {
            if !is_there(&path.join(file))? {
                let what = format!("its file `{file}` is missing");
                return Err(StoreError::damaged(path, &what));
            }
        }
        unshare(path)?;
        remove_torn_snapshots(path)?;
        // What a killed process wrote and did not sync is found here and built upon: it is made
        // durable first, or a power cut would take what was answered by it.
        Self::sync_all(path)?;
        let db = path.join("db");
        let file = FileId::of(&fs::metadata(&db).at(&db)?);
        let uncopied = Arc::new(Mutex::new(None));
        let copy = {
            let (root, path, uncopied) = (root.to_owned(), path.to_owned(), uncopied.clone());
            move || {
                let copied = copy_before_changes(&root, &path);
                let is_copied = copied.is_ok();
                *lock(&uncopied) = copied.err();
                is_copied
            }
        };
        let opened = syscalls::before_changes(file, copy, || Self::open_db(path));
        // Without its copy sled was not let write, which is no word about the store.
        if let Some(error) = lock(&uncopied).take() {
            std::mem::forget(opened);
            return Err(error);
        }
        let store = opened?;
        // sled renames its new snapshot into place without syncing the folder.
        sync_dir(path)?;
        Ok(store)
    }

    /// Whether making this store was cut short, or was all that happened to it: [`Store::create`]
    /// syncs its files before anything is committed to it, and until then `conf` may be missing
    /// or empty beside a data file that is there.
    pub fn was_never_committed(path: &Path) -> Result<bool, StoreError> {
        if !is_dir(path)? {
            return Ok(false);
        }
        let db = path.join("db");
        if is_there(&db)? && fs::metadata(&db).at(&db)?.len() > EMPTY_STORE_BYTES {
            return Ok(false);
        }
        for entry in entries(path)? {
            let name = entry.file_name().unwrap_or_default();
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
            return match catching_panics(path, || config.open()) {
                Ok(Ok(db)) => {
                    let data = path.join("db");
                    Ok(Self {
                        db,
                        path: path.into(),
                        file: FileId::of(&fs::metadata(&data).at(&data)?),
                    })
                }
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
                Ok(Err(sled::Error::Io(e))) if is_systems(&e) => Err(e).at(path),
                // At open every error that is not the system's is about what was found there.
                Ok(Err(sled::Error::Corruption { .. })) => {
                    Err(StoreError::damaged(path, "sled found corruption"))
                }
                Ok(Err(error)) => Err(StoreError::damaged(path, &error.to_string())),
                Err(panicked) => Err(panicked),
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its folder still holds the file that is open.
    pub fn is_in_place(&self) -> Result<bool, StoreError> {
        Ok(file_id(&self.path.join("db"))? == Some(self.file))
    }

    /// Applies `batch` and syncs it. When this returns, it is on disk.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.apply(&batch).at(&self.path)?;
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

    fn apply(&self, batch: &Batch) -> sled::Result<()> {
        match batch.changes() {
            // One change is whole by itself. sled writes and syncs the frame of a batch apart,
            // which would double the time of a client that sends its events one by one.
            [(key, Some(value))] => self.db.insert(key, value.clone()).map(drop),
            [(key, None)] => self.db.remove(key).map(drop),
            changes => {
                let mut batch = sled::Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                self.db.apply_batch(batch)
            }
        }
    }

    /// The checked payload stored under `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match catching_panics(&self.path, || self.db.get(key))?.at(&self.path)? {
            None => Ok(None),
            Some(value) => match codec::verify_checksum(key, &value) {
                Ok(payload) => Ok(Some(payload.to_vec())),
                Err(bad) => Err(StoreError::bad(&self.path, "a value", bad)),
            },
        }
    }

    /// The rows with `from <= key < to`, each with its payload or what is wrong with it. Ends
    /// with the first row that sled itself cannot read.
    pub fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> impl Iterator<Item = StoredRow> + use<'a> {
        let mut rows = self.db.range(from..to);
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let row = catching_panics(&self.path, || rows.next()).transpose()?;
            let row = row.and_then(|row| row.at(&self.path));
            ended = row.is_err();
            Some(row.map(|(key, value)| {
                let payload = codec::verify_checksum(&key, &value).map(<[u8]>::to_vec);
                (key, payload)
            }))
        })
    }

    /// Every key with the checksum of its value, which has been checked.
    pub fn sums(&self) -> impl Iterator<Item = Result<(Box<[u8]>, u64), StoreError>> + '_ {
        let mut rows = self.db.iter();
        std::iter::from_fn(move || {
            let row = catching_panics(&self.path, || rows.next()).transpose()?;
            Some(row.and_then(|row| {
                let (key, value) = row.at(&self.path)?;
                match codec::verify_checksum(&key, &value) {
                    Ok(_) => Ok(((*key).into(), codec::sum_of(&value))),
                    Err(bad) => Err(StoreError::bad(&self.path, "a value", bad)),
                }
            }))
        })
    }

    /// Every key that can be reached, from the front and, past a place that sled cannot read,
    /// from the back; and the damage that was met there.
    fn keys(&self) -> Result<(Vec<sled::IVec>, Option<StoreError>), StoreError> {
        let mut keys = Vec::new();
        let mut met = None;
        let mut rows = self.db.iter();
        loop {
            match catching_panics(&self.path, || rows.next())
                .and_then(|row| row.transpose().at(&self.path))
            {
                Ok(Some((key, _))) => keys.push(key),
                Ok(None) => break,
                Err(error @ StoreError::Damaged { .. }) => {
                    met = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if met.is_some() {
            let front = keys.last().cloned();
            let mut rows = self.db.iter();
            let mut back = Vec::new();
            while let Ok(Ok(Some((key, _)))) =
                catching_panics(&self.path, || rows.next_back()).map(Option::transpose)
                && front.as_ref().is_none_or(|front| key > *front)
            {
                back.push(key);
            }
            keys.extend(back.into_iter().rev());
        }
        Ok((keys, met))
    }

    /// The numbers under which something in parts begins, and the damage that was met where keys
    /// cannot be reached.
    pub fn firsts<N: Number>(&self) -> Result<(Vec<N>, Option<StoreError>), StoreError> {
        let (keys, met) = self.keys()?;
        let firsts = keys.iter().filter_map(|key| match split_part(key) {
            Some((prefix, 0)) => N::of_key(prefix),
            _ => None,
        });
        Ok((firsts.collect(), met))
    }

    /// What [`Batch::put_parts`] put under this number.
    pub fn read_parts(
        &self,
        first: impl Number,
    ) -> Result<Result<Vec<u8>, DecodeError>, StoreError> {
        let mut bytes = Vec::new();
        let rows = self.scan(&first.to_key(), &(first.value() + 1).to_key());
        for (row, expected) in rows.zip(0..) {
            let (key, value) = row?;
            match value {
                Ok(part) if split_part(&key).is_some_and(|(_, n)| n == expected) => {
                    bytes.extend(part);
                }
                Ok(_) => return Ok(Err(DecodeError::Short)),
                Err(bad) => return Ok(Err(bad)),
            }
        }
        Ok(Ok(bytes))
    }

    /// Removes what [`Batch::put_parts`] put under the numbers from `first` to `last`.
    pub fn remove_parts<N: Number>(&self, first: N, last: N) -> Result<(), StoreError> {
        let numbered = |key: &sled::IVec| {
            let number = split_part(key).and_then(|(prefix, _)| N::of_key(prefix));
            number.is_some_and(|n| (first..=last).contains(&n))
        };
        let keys: Vec<_> = self.keys()?.0.into_iter().filter(numbered).collect();
        for keys in keys.chunks(400) {
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.remove(key));
            self.commit(batch)?;
        }
        Ok(())
    }

    /// The last key at or below `key`.
    pub fn key_at_or_below(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let row = catching_panics(&self.path, || self.db.range(..=key).next_back())?;
        Ok(row.transpose().at(&self.path)?.map(|(key, _)| key))
    }

    /// Leaves the store without dropping it: after an I/O error a drop can hang.
    pub fn abandon(self) {
        std::mem::forget(self);
    }
}

/// Gives a store files of its own where they have other names too, as in a clone that shares them:
/// opening writes to them.
fn unshare(path: &Path) -> Result<(), StoreError> {
    for file in entries(path)? {
        let meta = fs::metadata(&file).at(&file)?;
        if meta.is_file() && meta.nlink() > 1 {
            let own = file.with_extension("own.tmp");
            retry_without_fds(|| fs::copy(&file, &own)).at(&own)?;
            sync_file(&own)?;
            fs::rename(&own, &file).at(&file)?;
        }
    }
    Ok(())
}

/// Removes what a kill during open leaves and what the next open would stumble over. Only
/// these: without `snap.*` proper a damaged store can reopen empty.
fn remove_torn_snapshots(path: &Path) -> Result<(), StoreError> {
    for entry in entries(path)? {
        let name = entry.extension().unwrap_or_default();
        if name == "generating" || name == "tmp" {
            fs::remove_file(&entry).at(&entry)?;
        }
    }
    Ok(())
}
