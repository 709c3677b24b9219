//! The queue's folder: there and ours, or possible to make; on a file system that keeps what it is
//! given, and has room.
//!
//! Invariant: looking changes nothing. What is written to try the file system has no name.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use super::finding::Finding::{self, Advice, Fine, Wrong};
use super::places::nearest;
use crate::config::Config;
use crate::files::dangling_link;
use crate::queue::Disk;

/// Bytes that are written to see whether there is room: a new queue takes more.
const TRIED: usize = 256 << 10;

/// What is to be said of it.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let path = config.queue_folder();
    match usable(&path) {
        Err(wrong) => vec![Wrong(wrong)],
        Ok(folder) => {
            let shown = path.display();
            let place = match folder == path {
                true => format!("queue in {shown}"),
                false => format!("queue in {shown}, which will be made"),
            };
            match try_out(folder) {
                Err(wrong) => vec![Wrong(format!("the queue folder {shown}: {wrong}"))],
                Ok(()) => std::iter::once(Fine(place))
                    .chain(low(folder, config.queue.min_free))
                    .collect(),
            }
        }
    }
}

/// The folder, or the nearest one above it, which it will be made in; why it cannot be used.
fn usable(path: &Path) -> Result<&Path, String> {
    let show = path.display();
    let next = "give it to the daemon's user, or set queue.path";
    if let Some(link) = dangling_link(path) {
        return Err(format!(
            "the queue folder {show}: {link}: make that folder, or set queue.path"
        ));
    }
    match fs::metadata(path) {
        Ok(about) if !about.is_dir() => Err(format!(
            "the queue folder {show} is not a folder: set queue.path to one"
        )),
        Ok(_) => {
            let rights = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
            let used = access(path, rights).map(|()| path);
            used.map_err(|e| format!("the queue folder {show} cannot be used: {e}; {next}"))
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            match nearest(path) {
                Some(parent) if !parent.is_dir() => Err(format!(
                    "the queue folder {show} cannot be made, for {} is not a folder: set queue.path",
                    parent.display()
                )),
                Some(parent) => {
                    let made =
                        access(parent, AccessFlags::W_OK | AccessFlags::X_OK).map(|()| parent);
                    made.map_err(|e| {
                        let parent = parent.display();
                        format!("the queue folder {show} cannot be made in {parent}: {e}; {next}")
                    })
                }
                None => Err(format!("the queue folder {show} cannot be made: {next}")),
            }
        }
        Err(e) => Err(format!(
            "the queue folder {show} cannot be reached: {e}; {next}"
        )),
    }
}

/// Writes, syncs and locks there, in a file without a name; what that failed of.
fn try_out(folder: &Path) -> Result<(), String> {
    let mut file = tempfile::tempfile_in(folder).map_err(|e| failed("making a file", &e))?;
    let written = file.write_all(&vec![0x5a; TRIED]);
    written.map_err(|e| failed("writing", &e))?;
    file.sync_all().map_err(|e| failed("a sync", &e))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(()),
        Err((_, errno)) => Err(failed("a lock", &errno.into())),
    }
}

fn failed(what: &str, error: &io::Error) -> String {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let next = match errno {
        Some(Errno::ENOSPC | Errno::EDQUOT) => {
            "free space or inodes there (`df`, `df -i`), or set queue.path to another file system"
        }
        _ => "set queue.path to a local file system that can be written, synced and locked",
    };
    format!("{what} fails there: {error}; {next}")
}

/// Whether a reserve is used up. Where the system does not say, nothing is held against it.
fn low(folder: &Path, min_free: u64) -> Option<Finding> {
    let disk = Disk::of(folder, min_free)?;
    if disk.lacks_files() {
        return Some(Advice(format!(
            "the file system is nearly out of inodes: {} free where {} are kept: events will be \
             answered `unavailable` until files are deleted there (`df -i` shows them)",
            disk.files_free, disk.files_reserve
        )));
    }
    (disk.free < disk.reserve).then(|| {
        Advice(format!(
            "the disk is nearly full: {} MiB free where queue.min_free keeps {} MiB: events will be \
             answered `unavailable` until space is freed",
            disk.free >> 20,
            disk.reserve >> 20
        ))
    })
}
