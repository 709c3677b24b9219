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

/// The data file of a store to which nothing was committed is not longer: sled's own records and
/// the probe. The smallest commit makes it longer.
const UNBORN: u64 = 200;
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
    pub(super) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }

    pub(super) fn bad(path: &Path, what: &str, bad: Bad) -> Self {
        match bad {
            Bad::Newer(version) => Self::Newer {
                path: path.into(),
                version,
            },
            bad => Self::damaged(path, &format!("{what}: {bad}")),
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
            // What the disk says is told as the disk's; an error of sled's own making is about
            // what it read.
            sled::Error::Io(source) if is_systems(&source) => StoreError::Io {
                path: path.into(),
                source,
            },
            sled::Error::Corruption { .. } => StoreError::damaged(path, "sled found corruption"),
            source => StoreError::Sled {
                path: path.into(),
                source,
            },
        })
    }
}

/// A row of [`Store::scan`]: its key, and its payload or what is wrong with that.
pub(super) type Row = Result<(sled::IVec, Result<Vec<u8>, Bad>), StoreError>;

/// Runs a read of sled's, which panics at some kinds of damage, at open and later.
fn fenced<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| StoreError::damaged(path, "sled cannot read it"))
}

/// Whether the system said so. sled makes I/O errors of its own about what it reads, and hands
/// out copies of the system's that have kept the words alone.
fn is_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || error.to_string().contains("Os { code")
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

    /// Opens a store that must exist.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // A folder without its data file would open as a new, empty store.
        for file in ["db", "conf"] {
            if !is_there(&path.join(file))? {
                let what = format!("its file `{file}` is missing");
                return Err(StoreError::damaged(path, &what));
            }
        }
        remove_torn_snapshots(path)?;
        // What a killed process wrote and did not sync is found here and built upon: it is made
        // durable first, or a power cut would take what was answered by it.
        Self::sync_all(path)?;
        let store = Self::open_db(path)?;
        // sled renames its new snapshot into place without syncing the folder.
        sync_dir(path)?;
        Ok(store)
    }

    /// Whether making this store was cut short, or was all that happened to it: [`Store::create`]
    /// syncs its files before anything is committed to it, and until then `conf` may be missing
    /// or empty beside a data file that is there.
    pub(super) fn is_unborn(path: &Path) -> Result<bool, StoreError> {
        if !path.is_dir() {
            return Ok(false);
        }
        let db = path.join("db");
        if is_there(&db)? && fs::metadata(&db).at(&db)?.len() > UNBORN {
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
            return match fenced(path, || config.open()) {
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

    /// A copy, which speaks of itself as the store that it is a copy of.
    pub(super) fn copy_of(mut self, path: &Path) -> Self {
        self.path = path.into();
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies `batch` and syncs it. When this returns, it is on disk.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch.changes).at(&self.path)?;
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
        match fenced(&self.path, || self.db.get(key))?.at(&self.path)? {
            None => Ok(None),
            Some(value) => match codec::open(key, &value) {
                Ok(payload) => Ok(Some(payload.to_vec())),
                Err(bad) => Err(StoreError::bad(&self.path, "a value", bad)),
            },
        }
    }

    /// The rows with `from <= key < to`, each with its payload or what is wrong with it. Ends
    /// with the first row that sled itself cannot read.
    pub(super) fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> impl Iterator<Item = Row> + 'a {
        let mut rows = self.db.range(from..to);
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let row = fenced(&self.path, || rows.next()).transpose()?;
            let row = row.and_then(|row| row.at(&self.path));
            ended = row.is_err();
            Some(row.map(|(key, value)| {
                let payload = codec::open(&key, &value).map(<[u8]>::to_vec);
                (key, payload)
            }))
        })
    }

    /// Every key with the checksum of its value, which has been checked.
    pub(super) fn sums(&self) -> impl Iterator<Item = Result<(Box<[u8]>, u64), StoreError>> + '_ {
        let mut rows = self.db.iter();
        std::iter::from_fn(move || {
            let row = fenced(&self.path, || rows.next()).transpose()?;
            Some(row.and_then(|row| {
                let (key, value) = row.at(&self.path)?;
                match codec::open(&key, &value) {
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
            match fenced(&self.path, || rows.next()).and_then(|row| row.transpose().at(&self.path))
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
                fenced(&self.path, || rows.next_back()).map(Option::transpose)
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
    pub(super) fn firsts(&self) -> Result<(Vec<u64>, Option<StoreError>), StoreError> {
        let (keys, met) = self.keys()?;
        let firsts = keys.iter().filter_map(|key| match split_part(key) {
            Some((prefix, 0)) => prefix.try_into().ok().map(u64::from_be_bytes),
            _ => None,
        });
        Ok((firsts.collect(), met))
    }

    /// What [`Batch::put_parts`] put under this number.
    pub(super) fn read_parts(&self, first: u64) -> Result<Result<Vec<u8>, Bad>, StoreError> {
        let mut bytes = Vec::new();
        let rows = self.scan(&first.to_be_bytes(), &(first + 1).to_be_bytes());
        for (row, expected) in rows.zip(0..) {
            let (key, value) = row?;
            match value {
                Ok(part) if split_part(&key).is_some_and(|(_, n)| n == expected) => {
                    bytes.extend(part);
                }
                Ok(_) => return Ok(Err(Bad::Short)),
                Err(bad) => return Ok(Err(bad)),
            }
        }
        Ok(Ok(bytes))
    }

    /// Removes what [`Batch::put_parts`] put under the numbers from `first` to `last`.
    pub(super) fn remove_parts(&self, first: u64, last: u64) -> Result<(), StoreError> {
        let numbered = |key: &sled::IVec| {
            let number = split_part(key).and_then(|(prefix, _)| prefix.try_into().ok());
            number.is_some_and(|n| (first..=last).contains(&u64::from_be_bytes(n)))
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
    pub(super) fn key_at_or_below(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let row = fenced(&self.path, || self.db.range(..=key).next_back())?;
        Ok(row.transpose().at(&self.path)?.map(|(key, _)| key))
    }

    /// Leaves the store without dropping it: after an I/O error a drop can hang.
    pub(super) fn abandon(self) {
        std::mem::forget(self);
    }
}

/// Changes that become durable together.
#[derive(Default)]
pub(super) struct Batch {
    changes: sled::Batch,
    /// Each key changed, and the checksum of its new value; none where it is removed.
    journal: Vec<(Box<[u8]>, Option<u64>)>,
}

impl Batch {
    /// Puts a payload of at most [`MAX_VALUE`] bytes.
    pub(super) fn put(&mut self, key: &[u8], payload: Vec<u8>) {
        debug_assert!(
            payload.len() <= MAX_VALUE,
            "{} bytes under one key",
            payload.len()
        );
        let value = codec::seal(key, payload);
        self.journal.push((key.into(), Some(codec::sum_of(&value))));
        self.changes.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.changes.remove(key);
        self.journal.push((key.into(), None));
    }

    /// Puts a payload of any length under `prefix` + part number.
    pub(super) fn put_parts(&mut self, prefix: &[u8], payload: &[u8]) {
        for (part, piece) in payload.chunks(MAX_VALUE).enumerate() {
            self.put(&part_key(prefix, part as u16), piece.to_vec());
        }
    }

    /// Operations so far.
    pub(super) fn len(&self) -> usize {
        self.journal.len()
    }

    /// The changes so far, in order.
    pub(super) fn journal(&self) -> &[(Box<[u8]>, Option<u64>)] {
        &self.journal
    }
}

/// Whether there is something at `path`. What the system refuses to tell is an error: taken for
/// missing, it would be moved away or deleted.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().at(path)
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

/// Makes a file's bytes durable.
pub(super) fn sync_file(path: &Path) -> Result<(), StoreError> {
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
