//! What must not hold up the committer: making stores, sealing and deleting generations,
//! merging remembered ids, watching the disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::queue::lock::lock;
use crate::queue::sled::account::Sealed;
use crate::queue::sled::disk::{
    At, SEEN, Store, StoreError, delete_folder, generation_folder, generation_name, is_there,
    layout::HIGH, quarantine, retry_without_fds, sync_dir,
};
use crate::queue::sled::ids::{Scrub, SeenFile, merge};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::record::Coverage;
use crate::queue::sled::runtime::{
    CommitterOp, Done, Job, PanicIsFailure, Shared, disk_watch::look,
};
use crate::queue::sled::threads::erase;
use crate::queue::sled::verify::live;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks between two ticks of the committer.
const LOOKS_PER_TICK: u32 = 10;

/// Runs until [`Job::Stop`] or a failure, which it tells.
pub fn run(shared: &Shared, jobs: &Receiver<Job>, mut scrub: Scrub) {
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
                let _ = shared.ops.send(CommitterOp::Tick);
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
            Ok(Some(done)) => drop(shared.ops.send(CommitterOp::JobDone(done))),
            Ok(None) => {}
            Err(error) => return shared.fail(&error.to_string()),
        }
    }
}

/// Reads a little more of the remembered ids.
fn go_on(shared: &Shared, scrub: &mut Scrub) -> Result<(), StoreError> {
    for harmed in scrub.step()? {
        // A closed committer is about to say Stop.
        let _ = shared.ops.send(CommitterOp::JobDone(Done::Harmed(harmed)));
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
            let file = Arc::new(SeenFile::write(&root.join(SEEN), coverage, ids)?);
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
            lock(&shared.claims).generations.remove(generation);
            let (folder, name) = (
                generation_folder(root, generation),
                generation_name(generation),
            );
            if is_held {
                if let Some(kept) = quarantine::retire(root, &folder)? {
                    tracing::warn!(
                        "{name} is done with, and something in it could not be \
                         used: it was moved to {}",
                        kept.display()
                    );
                }
            } else {
                quarantine::forget_copy(root, &folder)?;
                if is_there(&folder)? {
                    delete_folder(&folder)?;
                }
            }
            Some(Done::Deleted(generation))
        }
        Job::EraseEvents {
            generation,
            settled,
        } => {
            let is_done = erase::generation(shared, generation, &settled)?;
            Some(Done::ErasedEvents {
                generation,
                is_done,
            })
        }
        Job::EraseLetters {
            period,
            numbers,
            gone,
        } => {
            let is_done = erase::period(shared, period, &numbers, &gone)?;
            Some(Done::ErasedLetters { period, is_done })
        }
        Job::Merge(files) => {
            let merged = match merge::merge(&root.join(SEEN), &files) {
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
            let _ = reply.send(live::verify(shared, &ledger, meta));
            None
        }
        Job::Stop => None,
    })
}

/// Makes `high` durable, then the anchor: what it names must be in the folder.
fn anchor(shared: &Shared) -> Result<(), StoreError> {
    let path = shared.options.path.join(HIGH);
    let file = retry_without_fds(|| std::fs::File::open(&path)).at(&path)?;
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
fn reopen(shared: &Shared, generation: Generation, store: Arc<Store>) -> Result<(), StoreError> {
    let mut claims = lock(&shared.claims);
    claims.generations.close(generation);
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
