//! The one place where sled's sync becomes a real one.
//!
//! sled 0.34 writes a log buffer and then calls `sync_file_range`, which moves pages towards the
//! disk but waits neither for the disk's own cache nor for metadata: after a power cut stores
//! reopened shorter, or empty. sled calls the C symbol, and a symbol that the program defines
//! itself wins over libc's. So here it is an `fdatasync` of the same file: each time that sled
//! believes its bytes to be down, they are.
//!
//! Invariant: after one failed sync no later one succeeds. Linux reports a write-back error once
//! per open file and forgets it; a sync that "succeeds" afterwards proves nothing. Nor does one
//! that ran at the same time on the same file, for the error may have been its own: it waits for
//! the other's outcome. Syncs of different files do not wait for each other.
//!
//! [`probe`] refuses to start a process in which the override is not the one that sled calls.

// The exception to `unsafe_code = "deny"`: a C symbol cannot be defined, nor a raw descriptor
// synced, without it.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use libc::{c_int, c_uint, off64_t};

static CALLS: AtomicU64 = AtomicU64::new(0);
static SYNCS: Syncs = Syncs::new();

/// Stands in for libc's `sync_file_range`: an fdatasync of the whole file, whatever the range.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(
    fd: c_int,
    _offset: off64_t,
    _nbytes: off64_t,
    _flags: c_uint,
) -> c_int {
    CALLS.fetch_add(1, Ordering::SeqCst);
    let synced = SYNCS.run(fd, || {
        loop {
            // SAFETY: fdatasync takes any integer as descriptor and touches no memory of ours.
            if unsafe { libc::fdatasync(fd) } == 0 {
                return true;
            }
            if errno::errno().0 != libc::EINTR {
                return false;
            }
        }
    });
    if synced {
        return 0;
    }
    // Never ENOSYS: for that one sled falls back to a sync that may pass.
    errno::set_errno(errno::Errno(libc::EIO));
    -1
}

/// The syncs of a process, and whether one has failed.
struct Syncs {
    failed: AtomicBool,
    running: Mutex<Running>,
    ended: Condvar,
}

struct Running {
    /// How many have begun.
    begun: u64,
    /// Which of them run, by their numbers, and on which file.
    now: Vec<(u64, c_int)>,
}

impl Syncs {
    const fn new() -> Self {
        Self {
            failed: AtomicBool::new(false),
            running: Mutex::new(Running {
                begun: 0,
                now: Vec::new(),
            }),
            ended: Condvar::new(),
        }
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Runs a sync of this file; whether it and all that ran beside it on the file succeeded,
    /// and all before.
    fn run(&self, fd: c_int, sync: impl FnOnce() -> bool) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failed() {
            return false;
        }
        let number = running.begun;
        running.begun += 1;
        running.now.push((number, fd));
        drop(running);

        if !sync() {
            self.failed.store(true, Ordering::SeqCst);
        }

        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.now.retain(|(n, _)| *n != number);
        self.ended.notify_all();
        // Those that begin from here on had no part in what this one waited for.
        let begun = running.begun;
        let beside = |r: &mut Running| r.now.iter().any(|(n, file)| *n < begun && *file == fd);
        let waited = self.ended.wait_while(running, beside);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        !self.failed()
    }
}

/// Syncs through the override since the process began.
pub fn calls() -> u64 {
    CALLS.load(Ordering::SeqCst)
}

/// Whether a sync has failed in this process.
pub fn failed() -> bool {
    SYNCS.failed()
}

/// Writes and flushes through `db` and tells whether that reached the override.
///
/// # Errors
/// sled's, if the write itself fails.
pub fn probe(db: &sled::Db) -> sled::Result<bool> {
    const KEY: &[u8] = b"sync-probe";
    let before = calls();
    db.insert(KEY, &[1])?;
    db.flush()?;
    db.remove(KEY)?;
    db.flush()?;
    Ok(calls() > before)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::scope;

    use super::*;

    #[test]
    fn a_success_beside_a_failure_on_the_same_file_is_none() {
        let syncs = Syncs::new();
        let (inner_runs, wait_inner) = channel();
        let (outer_done, wait_outer) = channel();
        scope(|scope| {
            let syncs = &syncs;
            let outer = scope.spawn(move || {
                syncs.run(3, || {
                    // It ends well only after the other has begun.
                    wait_inner.recv().unwrap();
                    outer_done.send(()).unwrap();
                    true
                })
            });
            let inner = scope.spawn(move || {
                syncs.run(3, || {
                    inner_runs.send(()).unwrap();
                    wait_outer.recv().unwrap();
                    false
                })
            });
            assert!(!outer.join().unwrap());
            assert!(!inner.join().unwrap());
        });
        assert!(!syncs.run(4, || unreachable!("nothing is synced after a failure")));
    }

    #[test]
    fn files_do_not_wait_for_each_other() {
        let syncs = Syncs::new();
        // The inner one ends while the outer one runs.
        assert!(syncs.run(3, || syncs.run(4, || true)));
        assert!(!syncs.failed());
    }
}
