//! What must not hold up the committer: making stores, sealing and deleting generations,
//! merging remembered ids, watching the disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use tokio::sync::oneshot;

use super::error::{At, StoreError};
use super::files::{delete_folder, disk_usage, is_there, patiently, sync_dir};
use super::ledger::{Ledger, Sealed};
use super::open::generation_folder;
use super::scrub::{Harmed, Scrub};
use super::seen::{self, Coverage, SeenFile};
use super::store::Store;
use super::{Op, PanicIsFailure, Pressure, Shared, guard, lock, verify};
use crate::clock::Millis;
use crate::queue::disk::Disk;
use crate::queue::verdict::Verdict;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Inodes that are kept free, at most a quarter of all: a generation, a period of dead letters and
/// what recovery copies take tens of them, and a file that cannot be made ends the process.
const FILES_RESERVE: u64 = 1_000;
/// How many looks between two ticks of the committer.
const LOOKS_PER_TICK: u32 = 10;

/// Asked of the housekeeper.
pub(super) enum Job {
    /// Make the store of this generation.
    Prepare(u64),
    /// Close a full generation: its ids into `seen/`, the store reopened once so that its
    /// snapshot stands (with one, damage to the log is found out instead of truncated).
    Seal {
        generation: u64,
        store: Arc<Store>,
        first_seq: u64,
        last_seq: u64,
        newest: Millis,
        ids: Vec<u128>,
    },
    /// Delete a generation that is settled and sealed; one in which something could not be used
    /// goes to `quarantine/`.
    Delete {
        generation: u64,
        is_held: bool,
    },
    /// One file for these.
    Merge(Vec<Arc<SeenFile>>),
    /// Delete a file of ids past the window.
    Forget(Arc<SeenFile>),
    /// Make `high` durable, and the anchor behind it.
    SyncHigh,
    /// Check the stores against the account of a moment ago, and what was found in `meta`.
    Verify(Box<Ledger>, Option<StoreError>, oneshot::Sender<Verdict>),
    Stop,
}

/// What came of it.
pub(super) enum Done {
    Prepared(Arc<Store>),
    Sealed {
        generation: u64,
        sealed: Sealed,
        file: Arc<SeenFile>,
    },
    Deleted(u64),
    /// The names of the files that it was made of.
    Merged(Option<Arc<SeenFile>>, Vec<String>),
    Forgotten(String),
    /// A file of remembered ids is damaged.
    Harmed(Harmed),
}

/// Runs until [`Job::Stop`] or a failure, which it tells.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>, mut scrub: Scrub) {
    let _told = PanicIsFailure {
        shared,
        thread: "housekeeper",
    };
    let mut looks = 0;
    let mut anchored = lock(&shared.anchor).state;
    if let Err(error) = look(shared).and_then(|()| go_on(shared, &mut scrub)) {
        return shared.fail(&error.to_string());
    }
    let mut due = Instant::now() + LOOK;
    loop {
        let outcome = match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(job) => work(shared, job),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        };
        // By the clock, not when there is nothing else to do: under load there always is.
        if Instant::now() >= due {
            let mut looked = look(shared).and_then(|()| go_on(shared, &mut scrub));
            due = Instant::now() + LOOK;
            looks += 1;
            if looks % LOOKS_PER_TICK == 0 {
                // A closed committer is about to say Stop.
                let _ = shared.ops.send(Op::Tick);
                let state = lock(&shared.anchor).state;
                if state != anchored {
                    anchored = state;
                    looked = looked.and_then(|()| anchor(shared));
                }
            }
            if let Err(error) = looked {
                return shared.fail(&error.to_string());
            }
        }
        match outcome {
            Ok(Some(done)) => drop(shared.ops.send(Op::Kept(done))),
            Ok(None) => {}
            Err(error) => return shared.fail(&error.to_string()),
        }
    }
}

/// Reads a little more of the remembered ids.
fn go_on(shared: &Shared, scrub: &mut Scrub) -> Result<(), StoreError> {
    for harmed in scrub.step()? {
        // A closed committer is about to say Stop.
        let _ = shared.ops.send(Op::Kept(Done::Harmed(harmed)));
    }
    Ok(())
}

fn work(shared: &Shared, job: Job) -> Result<Option<Done>, StoreError> {
    let root = &shared.options.path;
    Ok(match job {
        Job::Prepare(generation) => {
            let store = Store::create(&generation_folder(root, generation))?;
            Some(Done::Prepared(Arc::new(store)))
        }
        Job::Seal {
            generation,
            store,
            first_seq,
            last_seq,
            newest,
            ids,
        } => {
            let coverage = Coverage {
                generations: (generation, generation),
                last_seq,
                newest,
                count: 0,
            };
            let file = Arc::new(SeenFile::write(&root.join("seen"), coverage, ids)?);
            reopen(shared, generation, store)?;
            Some(Done::Sealed {
                generation,
                sealed: Sealed {
                    first_seq,
                    last_seq,
                },
                file,
            })
        }
        Job::Delete {
            generation,
            is_held,
        } => {
            let gone = lock(&shared.claims).generations.remove(&generation);
            drop(gone);
            let folder = generation_folder(root, generation);
            if is_held {
                if let Some(kept) = guard::retire(root, &folder)? {
                    tracing::warn!(
                        "gen/{generation:010} is done with, and something in it could not be \
                         used: it was moved to {}",
                        kept.display()
                    );
                }
            } else {
                guard::forget_copy(root, &folder)?;
                if is_there(&folder)? {
                    delete_folder(&folder)?;
                }
            }
            Some(Done::Deleted(generation))
        }
        Job::Merge(files) => {
            let merged = match seen::merge(&root.join("seen"), &files) {
                Ok(merged) => merged.map(Arc::new),
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!("{error}; these remembered ids are not merged");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let names = files.iter().map(|file| file.name()).collect();
            if merged.is_some() {
                remove(&files)?;
            }
            Some(Done::Merged(merged, names))
        }
        Job::Forget(file) => {
            let name = file.name();
            remove(&[file])?;
            Some(Done::Forgotten(name))
        }
        Job::SyncHigh => {
            anchor(shared)?;
            None
        }
        Job::Verify(ledger, meta, reply) => {
            // Whoever asked may be gone.
            let _ = reply.send(verify::live(shared, &ledger, meta));
            None
        }
        Job::Stop => None,
    })
}

/// Makes `high` durable, then the anchor: what it names must be in the folder.
fn anchor(shared: &Shared) -> Result<(), StoreError> {
    let path = shared.options.path.join("high");
    let file = patiently(|| std::fs::File::open(&path)).at(&path)?;
    file.sync_data().at(&path)?;
    shared.write_anchor();
    Ok(())
}

/// Removes files of ids, durably: what the account then knows nothing of must not come back with
/// a power cut. One that was to be merged when it was forgotten is gone already.
fn remove(files: &[Arc<SeenFile>]) -> Result<(), StoreError> {
    for path in files.iter().map(|file| file.path()) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at(path);
            }
            _ => {}
        }
    }
    let folder = files.first().and_then(|file| file.path().parent());
    folder.map_or(Ok(()), sync_dir)
}

/// Closes and reopens a full generation while nobody reads it, and leaves it closed.
fn reopen(shared: &Shared, generation: u64, store: Arc<Store>) -> Result<(), StoreError> {
    let mut claims = lock(&shared.claims);
    if let Some(readable) = claims.generations.get_mut(&generation) {
        readable.store = None;
        readable.is_held = false;
    }
    let path = store.path().to_owned();
    // Readers hold the store only under the lock that is held here, so this is the last handle.
    drop(store);
    match Store::open(&shared.options.path, &path) {
        Ok(store) => drop(store),
        Err(error @ StoreError::Damaged { .. }) => {
            // Claiming meets it again and sets its events aside.
            tracing::error!("{error}, found when it was closed");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Looks at the disk: whether the queue's files are where they were, and whether events may come
/// in.
pub(super) fn look(shared: &Shared) -> Result<(), StoreError> {
    if shared.stopped.get().is_some() || !shared.is_in_place()? {
        return Ok(());
    }
    let disk = measure(shared)?;
    *lock(&shared.disk) = disk;
    let pressure = pressure(&disk);
    shared.pressure.send_if_modified(|current| {
        let kind = std::mem::discriminant(current) != std::mem::discriminant(&pressure);
        if kind {
            match &pressure {
                Pressure::None => tracing::info!("the disk has room again: accepting"),
                Pressure::Quota => tracing::warn!(
                    "the queue reached queue.max_bytes: reading stops until deliveries free \
                     it; raise the quota or see why delivery is slow"
                ),
                Pressure::Reserve(why) => tracing::warn!("not accepting: {why}"),
            }
            *current = pressure;
        }
        kind
    });
    Ok(())
}

fn measure(shared: &Shared) -> Result<Disk, StoreError> {
    let options = &shared.options;
    let mut disk = Disk {
        used: disk_usage(&options.path.join("gen"))?,
        quota: options.max_bytes,
        dead_used: disk_usage(&options.path.join("dead"))?,
        dead_quota: options.dead_max_bytes,
        ..Disk::default()
    };
    // Where the system does not say, nothing is held against events.
    if let Ok(stat) = statvfs(&options.path) {
        let block = stat.fragment_size();
        disk.free = stat.blocks_available() * block;
        disk.reserve = options.min_free.min(stat.blocks() * block / 4);
        // Where files are not numbered beforehand the system says that there are none at all.
        disk.files_free = stat.files_available();
        disk.files_reserve = match options.min_free {
            0 => 0,
            _ => FILES_RESERVE.min(stat.files() / 4),
        };
    }
    Ok(disk)
}

fn pressure(disk: &Disk) -> Pressure {
    // First: with bytes left, nobody would think of it.
    if disk.lacks_files() {
        return Pressure::Reserve(format!(
            "the file system of queue.path is nearly out of inodes: {} free where {} are kept; \
             send again later, after files were deleted there (`df -i` shows them)",
            disk.files_free, disk.files_reserve
        ));
    }
    if disk.free < disk.reserve {
        return Pressure::Reserve(format!(
            "the disk is nearly full: {} MiB free where queue.min_free keeps {} MiB; send \
             again later, after space was freed",
            disk.free >> 20,
            disk.reserve >> 20
        ));
    }
    if disk.used >= disk.quota {
        return Pressure::Quota;
    }
    Pressure::None
}
