//! Files and folders under the queue: made for their owner alone, made durable by name, deleted
//! so that no crash leaves half of one, and opened with patience where descriptors have run out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::statvfs::statvfs;

use crate::queue::contract::Number;
use crate::queue::sled::disk::{
    error::{At, StoreError},
    syscalls::FileId,
};

/// How long to wait for a descriptor when the process, or the machine, has none left.
pub const NO_FILES: Duration = Duration::from_secs(30);

/// Opens something. Without a descriptor nothing has failed yet: it is tried again, for a while,
/// and what waits for it waits.
pub fn retry_without_fds<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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

pub fn out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether there is something at `path`. What the system refuses to tell is an error: taken for
/// missing, it would be moved away or deleted.
pub fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().at(path)
}

/// Whether there is a folder at `path`; as [`is_there`].
pub fn is_dir(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(meta.is_dir()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).at(path),
    }
}

/// What the name stands for, if there is such a name.
pub fn file_id(path: &Path) -> Result<Option<FileId>, StoreError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(FileId::of(&meta))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at(path),
    }
}

/// What is in a folder, in order. What cannot be listed is an error and never an empty folder.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = retry_without_fds(|| fs::read_dir(dir)).at(dir)?;
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.at(dir)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The numbers that name folders in `dir`, ascending.
pub fn numbered<N: Number>(dir: &Path) -> Result<Vec<N>, StoreError> {
    let names = entries(dir)?;
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(N::of).collect())
}

/// Makes a folder that only its owner enters.
pub fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at(path)
}

/// Makes a folder in an existing one. If that one is gone, the new folder has no purpose either.
pub fn create_in_place(path: &Path) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.at(path),
    }
}

/// Makes the names inside a folder durable.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let dir = retry_without_fds(|| File::open(path)).at(path)?;
    dir.sync_all().at(path)
}

/// Makes a file's bytes durable.
pub fn sync_file(path: &Path) -> Result<(), StoreError> {
    let file = retry_without_fds(|| File::open(path)).at(path)?;
    file.sync_all().at(path)
}

/// Puts a file in place of what is there, durably: it is written as `tmp`, synced, and renamed, so
/// that no crash leaves half of it.
pub fn replace(path: &Path, tmp: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = retry_without_fds(|| options.open(tmp)).at(tmp)?;
    file.write_all(bytes).at(tmp)?;
    put_in_place(&file, tmp, path)
}

/// Makes a file durable that was written as `tmp`, and gives it its name.
pub fn put_in_place(file: &File, tmp: &Path, path: &Path) -> Result<(), StoreError> {
    file.sync_all().at(tmp)?;
    fs::rename(tmp, path).at(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Lets two folders change places in one step: after a crash each name stands for one of them, and
/// never for none. False where the file system cannot.
pub fn exchange(one: &Path, other: &Path) -> Result<bool, StoreError> {
    let flags = RenameFlags::RENAME_EXCHANGE;
    match renameat2(AT_FDCWD, one, AT_FDCWD, other, flags) {
        Ok(()) => {}
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(false),
        Err(error) => return Err(io::Error::from(error)).at(one),
    }
    one.parent().map_or(Ok(()), sync_dir)?;
    Ok(true)
}

/// Whether the file system has room for a copy of so many bytes, and a quarter.
pub fn has_room(root: &Path, size: u64) -> Result<bool, StoreError> {
    let free = statvfs(root).map(|s| s.blocks_available() * s.fragment_size());
    let free = free.map_err(io::Error::from).at(root)?;
    Ok(free >= size + (size >> 2))
}

/// What there is to know of a failure that the system words as a full disk: its file system may have
/// bytes left, and no inode for another file.
pub fn if_out_of_inodes(root: &Path) -> Option<String> {
    let stat = statvfs(root).ok()?;
    // Some file systems count none at all.
    let is_out = stat.files() > 0 && stat.files_available() == 0;
    is_out.then(|| {
        format!(
            "the file system of {} is out of inodes (`df -i`): delete the many small files of \
             whoever made them there, not the queue's",
            root.display()
        )
    })
}

/// Where the successor of a folder is made, beside it. A start deletes what a crash left there.
pub fn successor(of: &Path) -> PathBuf {
    of.with_extension("next.deleting")
}

/// Deletes a store's folder so that no crash leaves half of it under its name.
pub fn delete_folder(path: &Path) -> Result<(), StoreError> {
    let doomed = path.with_extension("deleting");
    fs::rename(path, &doomed).at(path)?;
    if let Some(parent) = path.parent() {
        sync_dir(parent)?;
    }
    retry_without_fds(|| fs::remove_dir_all(&doomed)).at(&doomed)
}

/// Finishes deletions that a crash interrupted, and drops files never put in place.
pub fn sweep(dir: &Path) -> Result<(), StoreError> {
    for path in entries(dir)? {
        match path.extension().and_then(|e| e.to_str()) {
            Some("deleting") => fs::remove_dir_all(&path).at(&path)?,
            Some("tmp") => fs::remove_file(&path).at(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of the files in a folder tree; what vanishes meanwhile counts nothing.
pub fn disk_usage(path: &Path) -> Result<u64, StoreError> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let listed = match retry_without_fds(|| fs::read_dir(path)) {
        Err(e) if gone(&e) => return Ok(0),
        listed => listed.at(path)?,
    };
    let mut bytes = 0;
    for entry in listed {
        let entry = match entry {
            Err(e) if gone(&e) => continue,
            entry => entry.at(path)?,
        };
        bytes += match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_usage(&entry.path())?,
            Ok(meta) => meta.len(),
            Err(e) if gone(&e) => 0,
            Err(e) => return Err(e).at(&entry.path()),
        };
    }
    Ok(bytes)
}
