//! The durable engine: batches on sled.
//!
//! Constraints, and who keeps them:
//!
//! 1. *Commitment*: an event is acknowledged after [`store::Store::commit`] of its group
//!    returned, at one line of [`accept`]. [`sync`] makes that a real fdatasync.
//! 2. *One writer*: the committer thread alone changes generations, `meta` and the dead letters.
//!    It never runs on an async worker.
//! 3. *Latch*: after a storage error nothing is acknowledged any more, no store is dropped (a
//!    drop can hang), and the owner is told once, to end the process.
//! 4. *Never reused*: the next sequence number is above everything that any file remembers.
//! 5. *Small values*: at most 6 KB, 500 operations a batch; a store per 200,000 events, deleted
//!    as a folder, for nothing else gives disk back.
//! 6. *Memory*: what is queued stays on disk; held are the ids of unsealed generations, the
//!    filters of sealed ones, the claimed events and at most [`claims::TAIL_BYTES`] of the newest
//!    chunks.
//!
//! Reading order: [`codec`], [`store`] (with [`error`], [`files`] and [`batch`]), [`chunk`],
//! [`high`], [`ledger`] (the account), [`dead`] (with [`period`]), [`seen`] and [`dedup`] with [`kept`], then
//! recovery ([`recovery`] with [`guard`] and [`found`], [`account`], [`anchor`]; then [`open`]) and the threads: [`committer`] (with
//! [`accept`], [`settle`], [`operate`], [`retention`] with [`purged`], [`upkeep`]), [`claims`] and
//! [`pages`], [`find`], [`housekeeper`].

mod accept;
mod account;
mod anchor;
mod batch;
mod chunk;
mod claims;
#[cfg(test)]
mod clock_tests;
mod codec;
mod committer;
#[cfg(test)]
mod cut_short_tests;
#[cfg(test)]
mod damage_tests;
mod dead;
mod dedup;
mod error;
mod files;
mod find;
mod found;
mod guard;
mod high;
mod housekeeper;
mod identity;
mod kept;
mod ledger;
mod letter;
mod mark;
mod marks;
mod meta;
mod open;
mod operate;
mod pages;
mod pause;
mod peek;
mod period;
mod places;
#[doc(hidden)]
pub mod properties;
mod purged;
#[cfg(test)]
mod purged_tests;
mod recovery;
#[cfg(test)]
mod recovery_tests;
mod retention;
mod scrub;
mod seen;
mod settle;
mod state;
mod store;
mod sync;
mod syscalls;
#[cfg(test)]
mod tests;
mod turn;
mod upkeep;
mod verify;
#[cfg(test)]
mod watched_tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::census::Census;
use super::disk::{Closed, Disk};
use super::entry::{Entry, EntryId, Mark, Receipt, Settlement};
use super::loss::Loss;
use super::verdict::Verdict;
use crate::clock::Millis;
use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
use crate::queue::block::Block;
use crate::queue::error::{OpenError, QueueError};
use crate::queue::id_hash::IdHasher;
use crate::queue::pending::Pending;
pub use turn::SledTurn;
pub use verify::{repair, verify};

/// Bytes of packed blocks that may wait for the committer; beyond it ingest waits.
const ROOM_BYTES: usize = 4 << 20;

/// How long an end by failure waits for the anchor.
const LEAVE_ANCHOR: Duration = Duration::from_secs(2);

/// Settings of the durable engine.
#[derive(Clone)]
pub struct Options {
    /// The queue's folder.
    pub path: PathBuf,
    /// How long a messageId is remembered.
    pub dedup_window: Duration,
    /// Quota of the generations in bytes; at it, acceptance waits.
    pub max_bytes: u64,
    /// Reserve of the file system in bytes (at most a quarter of it counts); below it,
    /// acceptance is `unavailable`.
    pub min_free: u64,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// Quota of the dead letters in bytes; beyond it the oldest period is purged.
    pub dead_max_bytes: u64,
    /// Events after which a generation is full.
    pub roll_events: u64,
    /// The id of this machine; none where it has none, and then it is not compared.
    pub machine_id: Option<String>,
    /// Take the folder over from another machine, or after it was restored from a copy:
    /// everything unsettled is in doubt from then on.
    pub adopt: bool,
    /// Told once when storage has failed: the process must end.
    pub on_failure: Arc<dyn Fn(&str) + Send + Sync>,
    /// Hears how long syncs take.
    pub observer: Observer,
    /// Told while the queue is opened, at each store that is copied or read: how far it
    /// has come, in words for people. An opening that stays silent hangs.
    pub on_progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Options {
    /// The engine's defaults for a folder; `on_failure` does nothing beyond the latch, and
    /// `on_progress` nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            dedup_window: Duration::from_secs(7 * 86_400),
            max_bytes: 8 << 30,
            min_free: 256 << 20,
            dead_retention: Duration::from_secs(30 * 86_400),
            dead_max_bytes: 1 << 30,
            roll_events: 200_000,
            machine_id: None,
            adopt: false,
            on_failure: Arc::new(|_| {}),
            observer: Observer::default(),
            on_progress: Arc::new(|_| {}),
        }
    }
}

/// The open engine. Clones share it.
#[derive(Clone)]
pub struct SledEngine {
    shared: Arc<Shared>,
    turns: Arc<turn::Turns>,
}

/// What the threads share.
struct Shared {
    options: Options,
    clock: Clock,
    trust: WallTrust,
    hasher: IdHasher,
    ops: mpsc::UnboundedSender<Op>,
    room: Arc<Semaphore>,
    tail: Mutex<claims::Tail>,
    claims: Mutex<claims::Claims>,
    apart: Mutex<claims::Apart>,
    dead: Mutex<dead::DeadLetters>,
    /// Held while a past period of dead letters is opened, and while one is deleted.
    opening: Mutex<()>,
    claimable: Notify,
    /// The first sequence number that is not settled.
    low_water: AtomicU64,
    bytes_in_hand: AtomicUsize,
    census: Mutex<Census>,
    /// What was lost and is not acknowledged.
    losses: Mutex<Vec<Loss>>,
    /// As of the last commitment.
    anchor: Mutex<anchor::Anchor>,
    /// What the names below the folder stood for at the start.
    places: places::Places,
    pressure: watch::Sender<Pressure>,
    /// As the housekeeper last found it.
    disk: Mutex<Disk>,
    stopped: OnceLock<String>,
    /// Whoever had the folder before did not close it.
    unclean: bool,
}

/// Whether the disk lets events in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pressure {
    None,
    /// The generations reached their quota: acceptance waits.
    Quota,
    /// The file system is below the reserve: acceptance answers `unavailable`.
    Reserve(String),
}

/// Work for the committer.
enum Op {
    Enqueue {
        block: Block,
        reply: oneshot::Sender<Result<Vec<Receipt>, QueueError>>,
        #[allow(dead_code, reason = "frees the room when the block is committed")]
        room: OwnedSemaphorePermit,
    },
    Mark(Mark, oneshot::Sender<()>),
    Doubt(Vec<EntryId>),
    Release(Vec<EntryId>),
    Settle(Vec<Settlement>, oneshot::Sender<()>),
    /// Claiming met events whose stored bytes cannot be used.
    SetAside {
        /// The store that they were read from, if it stands.
        generation: Option<u64>,
        first: u64,
        last: u64,
    },
    /// The same of a dead letter that is queued again.
    SetLetterAside(u64),
    Kept(housekeeper::Done),
    /// The committer has come round.
    Heartbeat(oneshot::Sender<()>),
    /// Check everything stored against the account of this moment.
    Verify(oneshot::Sender<Verdict>),
    /// What the operator asks about events, and does with dead letters.
    Ask(operate::Ask),
    Tick,
    Close(oneshot::Sender<()>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these is a bug that ends the thread that met it; the values
    // are whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SledEngine {
    /// Opens the queue, making it if the folder holds none. Blocks: recovery reads the ids of
    /// the unsealed generations.
    ///
    /// # Errors
    /// [`OpenError`] says which exit code it calls for.
    pub fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        let shared = open::open(options, clock)?;
        let turns = Arc::default();
        Ok(Self { shared, turns })
    }

    /// Whether whoever had the folder before did not close it: it was killed, or the power went.
    pub fn is_unclean_start(&self) -> bool {
        self.shared.unclean
    }

    /// Whether the wall clock is believed, judged from the last start's on.
    pub fn trust(&self) -> WallTrust {
        self.shared.trust.clone()
    }

    /// With a clock that a `Date` has agreed with, if the queue is new.
    #[cfg(test)]
    pub(super) fn confirmed(self) -> Self {
        let trust = self.trust();
        if trust.standing().doubt == Some(crate::clock::Doubt::Unconfirmed) {
            trust.observe_date(self.shared.clock.now());
        }
        self
    }

    pub(super) fn place(&self) -> String {
        self.shared.options.path.display().to_string()
    }

    pub(super) fn hasher(&self) -> IdHasher {
        self.shared.hasher
    }

    fn stopped(&self) -> QueueError {
        let why = self.shared.stopped.get();
        QueueError::Stopped(why.cloned().unwrap_or_else(|| "it is closed".into()))
    }

    fn send(&self, op: Op) -> Result<(), QueueError> {
        self.shared.ops.send(op).map_err(|_| self.stopped())
    }

    pub(super) async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        let mut pressure = self.shared.pressure.subscribe();
        loop {
            if self.shared.stopped.get().is_some() {
                return Err(self.stopped());
            }
            match &*pressure.borrow_and_update() {
                Pressure::None => break,
                Pressure::Reserve(why) => return Err(QueueError::Unavailable(why.clone())),
                Pressure::Quota => {}
            }
            tokio::select! {
                changed = pressure.changed() => changed.map_err(|_| self.stopped())?,
                () = self.shared.ops.closed() => return Err(self.stopped()),
            }
        }
        let bytes = block.packed.len().clamp(1, ROOM_BYTES) as u32;
        let room = self.shared.room.clone().acquire_many_owned(bytes).await;
        let room = room.map_err(|_| self.stopped())?;
        let (reply, receipts) = oneshot::channel();
        self.send(Op::Enqueue { block, reply, room })?;
        Ok(Pending(receipts))
    }

    pub(super) async fn claim(
        &self,
        events: usize,
        bytes: usize,
        right: turn::Right,
    ) -> Result<Vec<Entry>, QueueError> {
        loop {
            let waiting = self.shared.claimable.notified();
            if self.shared.stopped.get().is_some() || self.shared.ops.is_closed() {
                return Err(self.stopped());
            }
            let (shared, right) = (self.shared.clone(), right.clone());
            let taken = tokio::task::spawn_blocking(move || {
                let _right = right;
                claims::take(&shared, events, bytes)
            });
            match taken.await {
                Ok(Ok(entries)) if entries.is_empty() => {}
                Ok(Ok(entries)) => return Ok(entries),
                Ok(Err(error)) => {
                    self.shared.fail(&error.to_string());
                    return Err(self.stopped());
                }
                Err(ended) => {
                    if ended.is_panic() {
                        self.shared.fail("claiming panicked, which is a bug");
                    }
                    return Err(self.stopped());
                }
            }
            tokio::select! {
                () = waiting => {}
                () = self.shared.ops.closed() => {}
            }
        }
    }

    pub(super) async fn mark(&self, mark: Mark) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(Op::Mark(mark, reply))?;
        done.await.map_err(|_| self.stopped())
    }

    pub(super) fn doubt(&self, ids: &[EntryId]) {
        // A stopped queue keeps the marks, which is what doubt asks for.
        let _ = self.send(Op::Doubt(ids.to_vec()));
    }

    pub(super) fn release(&self, ids: &[EntryId]) {
        // A stopped queue keeps the marks: the events are resent under the same names.
        let _ = self.send(Op::Release(ids.to_vec()));
    }

    pub(super) async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(Op::Settle(settlements, reply))?;
        done.await.map_err(|_| self.stopped())
    }

    pub(super) fn census(&self) -> Census {
        let mut census = *lock(&self.shared.census);
        let oldest = lock(&self.shared.tail).oldest(&self.shared);
        census.oldest_accepted_at = oldest;
        census
    }

    pub(super) fn losses(&self) -> Vec<Loss> {
        lock(&self.shared.losses).clone()
    }

    pub(super) async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        self.ask(operate::Ask::Acknowledge).await
    }

    pub(super) fn disk(&self) -> Disk {
        let disk = *lock(&self.shared.disk);
        let closed = match &*self.shared.pressure.borrow() {
            _ if self.shared.stopped.get().is_some() => Some(Closed::Stopped),
            Pressure::None => None,
            Pressure::Quota => Some(Closed::Quota),
            Pressure::Reserve(_) if disk.lacks_files() => Some(Closed::Inodes),
            Pressure::Reserve(_) => Some(Closed::Reserve),
        };
        Disk { closed, ..disk }
    }

    /// Has the committer do what is due by the clock, without waiting for the next look.
    #[cfg(test)]
    pub(super) fn tick(&self) {
        self.send(Op::Tick).unwrap();
    }

    pub(super) async fn heartbeat(&self) -> Result<(), QueueError> {
        let (reply, beat) = oneshot::channel();
        self.send(Op::Heartbeat(reply))?;
        beat.await.map_err(|_| self.stopped())
    }

    pub(super) async fn verify(&self) -> Result<Verdict, QueueError> {
        let (reply, verdict) = oneshot::channel();
        self.send(Op::Verify(reply))?;
        verdict.await.map_err(|_| self.stopped())
    }

    /// [`SledEngine::close`] where there is no runtime.
    fn close_blocking(&self) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(Op::Close(reply))?;
        done.blocking_recv().map_err(|_| self.stopped())
    }

    pub(super) async fn close(&self) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(Op::Close(reply))?;
        done.await.map_err(|_| self.stopped())
    }
}

impl Shared {
    /// Latches: nothing is acknowledged from here on, and the owner is told.
    fn fail(&self, why: &str) {
        self.fail_as(why, false);
    }

    /// `is_displaced`: what is open is known not to be where it was.
    fn fail_as(&self, why: &str, is_displaced: bool) {
        if self.stopped.set(why.to_owned()).is_ok() {
            // What fails first may follow from a folder that is not there any more.
            let displaced = self.places.displaced();
            if is_displaced || !matches!(displaced, Ok(None)) {
                self.leave_anchor();
            }
            match displaced {
                Ok(None) => tracing::error!(
                    "storage failed, nothing more is acknowledged: {why}; free the disk or \
                     replace it, then start again: what was acknowledged is on it"
                ),
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
    fn anchor_of_now(&self) -> anchor::Anchor {
        let census = *lock(&self.census);
        let mut anchor = lock(&self.anchor).clone();
        anchor.open = census.queued + census.sending;
        anchor.dead = census.dead_total();
        anchor
    }

    /// Brings the anchor up to date. It is a witness alone: where it cannot be written, the queue
    /// does without.
    fn write_anchor(&self) {
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

    /// Latches if the queue's files are not where they were: what was acknowledged is in files
    /// that nobody will find. Whether they are.
    fn is_in_place(&self) -> Result<bool, error::StoreError> {
        let Some(path) = places::displaced(self)? else {
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
struct PanicIsFailure<'a> {
    shared: &'a Shared,
    thread: &'static str,
}

impl Drop for PanicIsFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = format!("the {} panicked, which is a bug", self.thread);
            self.shared.fail(&why);
        }
    }
}

/// The wall time below which ids are forgotten.
fn horizon(options: &Options, now: Millis) -> Millis {
    now.saturating_sub(i64::try_from(options.dedup_window.as_millis()).unwrap_or(i64::MAX))
}
