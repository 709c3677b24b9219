//! The one place where sled's sync becomes a real one.
//!
//! sled 0.34 writes a log buffer and then calls `sync_file_range`, which moves pages towards the
//! disk but waits neither for the disk's own cache nor for metadata: after a power cut stores
//! reopened shorter, or empty. sled calls the C symbol, and a symbol that the program defines
//! itself wins over libc's. So here it is an `fdatasync` of the same file: each time that sled
//! believes its bytes to be down, they are.
//!
//! Invariant: after one failed sync no later one succeeds. Linux reports a write-back error once
//! per open file and forgets it; a sync that "succeeds" afterwards proves nothing.
//!
//! [`probe`] refuses to start a process in which the override is not the one that sled calls.

// The exception to `unsafe_code = "deny"`: a C symbol cannot be defined, nor a raw descriptor
// synced, without it.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{c_int, c_uint, off64_t};

static CALLS: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicBool = AtomicBool::new(false);
static ORDER: Mutex<()> = Mutex::new(());

/// Stands in for libc's `sync_file_range`: an fdatasync of the whole file, whatever the range.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(
    fd: c_int,
    _offset: off64_t,
    _nbytes: off64_t,
    _flags: c_uint,
) -> c_int {
    // Held across the sync: a concurrent caller must not be told of success after a failure.
    let _order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    CALLS.fetch_add(1, Ordering::SeqCst);
    if !FAILED.load(Ordering::SeqCst) {
        loop {
            // SAFETY: fdatasync takes any integer as descriptor and touches no memory of ours.
            if unsafe { libc::fdatasync(fd) } == 0 {
                return 0;
            }
            if errno::errno().0 != libc::EINTR {
                break;
            }
        }
        FAILED.store(true, Ordering::SeqCst);
    }
    // Never ENOSYS: for that one sled falls back to a sync that may pass.
    errno::set_errno(errno::Errno(libc::EIO));
    -1
}

/// Syncs through the override since the process began.
pub(super) fn calls() -> u64 {
    CALLS.load(Ordering::SeqCst)
}

/// Whether a sync has failed in this process.
pub(super) fn failed() -> bool {
    FAILED.load(Ordering::SeqCst)
}

/// Writes and flushes through `db` and tells whether that reached the override.
///
/// # Errors
/// sled's, if the write itself fails.
pub(super) fn probe(db: &sled::Db) -> sled::Result<bool> {
    const KEY: &[u8] = b"sync-probe";
    let before = calls();
    db.insert(KEY, &[1])?;
    db.flush()?;
    db.remove(KEY)?;
    db.flush()?;
    Ok(calls() > before)
}
