//! What the threads share, the latch, and the order of the locks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::clock::{Clock, WallTrust};
use crate::queue::contract::{Census, Disk, IdHasher, Loss};
use crate::queue::lock::lock;
use crate::queue::sled::account::{Anchor, anchor};
use crate::queue::sled::dead::{DeadLetters, Opening};
use crate::queue::sled::disk::{StoreError, if_out_of_inodes, is_there};
use crate::queue::sled::line::{Claims, Deferred, Tail};
use crate::queue::sled::options::Options;
use crate::queue::sled::runtime::{ops::CommitterOp, places::Places};

/// Bytes of packed blocks that may wait for the committer; beyond it ingest waits.
pub const ROOM_BYTES: usize = 4 << 20;

/// How long an end by failure waits for the anchor.
const LEAVE_ANCHOR: Duration = Duration::from_secs(2);

/// What the threads share.
///
/// # The order of the locks
///
/// A thread that holds one of them takes only locks further down this list:
///
/// 1. `claims`: the place in the line and the open generations. Held while a generation is opened
///    or closed, since a store cannot be opened twice.
/// 2. `opening`: held while a past period of dead letters is opened or deleted; what does either
///    to the [`DeadLetters`] asks for the [`Opening`] that lies in it.
/// 3. `dead`: the committer writes under it, so nobody reads a store while holding it.
/// 4. `tail`, `deferred`, `anchor`, `census`, `losses`, `disk`: each for the moment of a copy;
///    nothing is taken under them.
///
/// Nothing is awaited under a lock.
pub struct Shared {
    pub options: Options,
    pub clock: Clock,
    pub trust: WallTrust,
    pub hasher: IdHasher,
    pub ops: mpsc::UnboundedSender<CommitterOp>,
    /// Bytes of packed blocks that the committer may be handed.
    pub room: Arc<Semaphore>,
    pub claims: Mutex<Claims>,
    pub opening: Mutex<Opening>,
    pub dead: Mutex<DeadLetters>,
    pub tail: Mutex<Tail>,
    pub deferred: Mutex<Deferred>,
    pub claimable: Notify,
    /// The first sequence number that is not settled.
    pub low_water: AtomicU64,
    pub bytes_in_hand: AtomicUsize,
    pub census: Mutex<Census>,
    /// What was lost and is not acknowledged.
    pub losses: Mutex<Vec<Loss>>,
    /// As of the last commitment.
    pub anchor: Mutex<Anchor>,
    /// What the names below the folder stood for at the start.
    pub places: Places,
    pub pressure: watch::Sender<Pressure>,
    /// As the housekeeper last found it.
    pub disk: Mutex<Disk>,
    pub stopped: OnceLock<String>,
    /// Whoever had the folder before did not close it.
    pub unclean: bool,
}

/// Whether the disk lets events in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pressure {
    None,
    /// The generations reached their quota: acceptance waits.
    Quota,
    /// The file system is below the reserve: acceptance answers `unavailable`.
    Reserve(String),
}

impl Shared {
    /// Latches: nothing is acknowledged from here on, and the owner is told.
    pub fn fail(&self, why: &str) {
        self.fail_as(why, false);
    }

    /// `is_displaced`: an open store or file is known to have been moved or replaced.
    fn fail_as(&self, why: &str, is_displaced: bool) {
        if self.stopped.set(why.to_owned()).is_ok() {
            // What fails first may follow from a folder that is not there any more.
            let displaced = self.places.displaced();
            if is_displaced || !matches!(displaced, Ok(None)) {
                self.leave_anchor();
            }
            match displaced {
                Ok(None) => {
                    let cure = if_out_of_inodes(&self.options.path)
                        .unwrap_or_else(|| "free the disk or replace it".to_owned());
                    tracing::error!(
                        "storage failed, nothing more is acknowledged: {why}; {cure}, then start \
                         again: what was acknowledged is on it"
                    );
                }
                Ok(Some(path)) => tracing::error!(
                    "{} is gone or was replaced while it was open, nothing more is acknowledged: \
                     {why}; what is still queued cannot be promised any more: find out who \
                     changed the queue's folder, and put it back if there is a copy",
                    path.display()
                ),
                Err(error) => tracing::error!(
                    "storage failed, nothing more is acknowledged: {why}; {error}; see to the \
                     disk, then start again"
                ),
            }
            (self.options.on_failure)(why);
        }
    }

    /// The anchor with the counts of the last commitment: they are published before any receipt.
    fn anchor_of_now(&self) -> Anchor {
        let census = *lock(&self.census);
        let mut anchor = lock(&self.anchor).clone();
        anchor.open = census.queued + census.sending;
        anchor.dead = census.dead_total();
        anchor
    }

    /// Brings the anchor up to date. It is a witness alone: where it cannot be written, the queue
    /// does without.
    pub fn write_anchor(&self) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        let anchor = self.anchor_of_now();
        if let Err(error) = anchor::write(&self.options.path, &anchor)
            && !TOLD.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{error}: beside the queue's folder nothing can be kept, so that one that was \
                 emptied or put back from a copy while pinrelay was stopped is not noticed; let \
                 the daemon's user write there"
            );
        }
    }

    /// Before the end: the next start is to know what was here. What is acknowledged was in the
    /// anchor before, and nothing is after the latch, so this is all of it. A parent folder that
    /// does not answer holds the end up for a moment only.
    fn leave_anchor(&self) {
        let (path, anchor) = (self.options.path.clone(), self.anchor_of_now());
        let (done, written) = std::sync::mpsc::channel();
        let writer = std::thread::Builder::new().name("anchor".into());
        let writer = writer.spawn(move || {
            // Whoever waits may have given up.
            let _ = done.send(anchor::write(&path, &anchor));
        });
        if writer.is_ok() {
            let _ = written.recv_timeout(LEAVE_ANCHOR);
        }
    }

    /// The first name that no longer leads to what was opened under it; `None` if all do.
    fn displaced(&self) -> Result<Option<PathBuf>, StoreError> {
        if let Some(path) = self.places.displaced()? {
            return Ok(Some(path));
        }
        let mut open = Vec::new();
        {
            // Under the lock nobody opens one or takes it away.
            let claims = lock(&self.claims);
            for (folder, store) in claims.generations.folders() {
                match store {
                    Some(store) => open.push(store),
                    None if !is_there(&folder)? => return Ok(Some(folder)),
                    None => {}
                }
            }
        }
        for store in open {
            if !store.is_in_place()? {
                return Ok(Some(store.path().to_owned()));
            }
        }
        lock(&self.dead).displaced()
    }

    /// Latches if the queue's files are not where they were: what was acknowledged is in files
    /// that nobody will find. Whether they are.
    pub fn is_in_place(&self) -> Result<bool, StoreError> {
        let Some(path) = self.displaced()? else {
            return Ok(true);
        };
        let why = format!(
            "{} is gone or was replaced while it was open: what is still queued cannot be promised",
            path.display()
        );
        self.fail_as(&why, true);
        Ok(false)
    }
}

/// Tells of a panic on the thread that holds it, before anything else of that thread is dropped:
/// a queue without its committer takes nothing and says nothing.
pub struct PanicIsFailure<'a> {
    pub shared: &'a Shared,
    pub thread: &'static str,
}

impl Drop for PanicIsFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = format!("the {} panicked, which is a bug", self.thread);
            self.shared.fail(&why);
        }
    }
}
