//! What a start finds in the generations and in `seen/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Batch;
use super::chunk::AcceptTotals;
use super::claims::{Readable, read_chunk};
use super::committer::Head;
use super::dedup::Dedup;
use super::error::{At, StoreError};
use super::files::{delete_folder, disk_usage};
use super::guard::{Guard, keep};
use super::housekeeper::Job;
use super::ledger::{Ledger, Sealed};
use super::open::generation_folder;
use super::seen::SeenFile;
use super::store::Store;
use crate::clock::Clock;
use crate::queue::entry::Millis;
use crate::queue::ranges::RangeSet;

/// What the generations and `seen/` hold.
#[derive(Default)]
pub(super) struct Generations {
    /// Sequence numbers that some store holds.
    pub(super) held: RangeSet,
    pub(super) sealed: BTreeMap<u64, Sealed>,
    pub(super) unsealed: BTreeMap<u64, Unsealed>,
    pub(super) revived: Vec<u64>,
    pub(super) last_seq: u64,
    pub(super) totals: AcceptTotals,
    /// The highest generation whose ids are in `seen/`: its number is not given again.
    pub(super) covered_to: u64,
    /// Of `sealed`, those that were read all the same.
    reread: Vec<Unsealed>,
    /// Something in a generation could not be read.
    pub(super) damaged: bool,
}

pub(super) struct Unsealed {
    pub(super) store: Arc<Store>,
    /// First and last sequence number, if it holds any.
    pub(super) numbers: Option<(u64, u64)>,
    pub(super) newest: Millis,
    pub(super) ids: Vec<u128>,
    /// First number of each chunk, and its count of ids.
    chunks: Vec<(u64, usize)>,
}

impl Unsealed {
    /// Each sequence number with its id.
    fn numbered(&self) -> impl Iterator<Item = (u64, u128)> + '_ {
        let numbers = self
            .chunks
            .iter()
            .flat_map(|(first, n)| *first..*first + *n as u64);
        numbers.zip(self.ids.iter().copied())
    }
}

/// Opens the files of remembered ids; says which generations they cover.
pub(super) fn open_seen(
    guard: &Guard<'_>,
    dedup: &mut Dedup,
    found: &mut Generations,
) -> Result<RangeSet, StoreError> {
    let root = guard.root;
    let dir = root.join("seen");
    let mut files = Vec::new();
    for entry in fs::read_dir(&dir).at(&dir)? {
        let path = entry.at(&dir)?.path();
        guard.reads(&path);
        match SeenFile::open(&path) {
            Ok(file) => files.push(Arc::new(file)),
            Err(error @ StoreError::Damaged { .. }) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let kept = keep(root, &path, &name)?;
                tracing::error!(
                    "{error}; it was moved to {}: a messageId in it that comes again is sent again",
                    kept.display()
                );
            }
            Err(error) => return Err(error),
        }
    }
    let within = |file: &SeenFile, other: &SeenFile| {
        let ((f, l), (of, ol)) = (file.coverage.generations, other.coverage.generations);
        (f, l) != (of, ol) && of <= f && l <= ol
    };
    let mut covered = RangeSet::default();
    for file in &files {
        found.last_seq = found.last_seq.max(file.coverage.last_seq);
        found.covered_to = found.covered_to.max(file.coverage.generations.1);
        if files.iter().any(|other| within(file, other)) {
            // A merge put the larger one in place and was cut short.
            fs::remove_file(file.path()).at(file.path())?;
            continue;
        }
        let (first, last) = file.coverage.generations;
        covered.insert(first..=last);
        dedup.seal(first, file.clone());
    }
    Ok(covered)
}

/// Opens and scans what is not sealed; gives the copies made, each with its store.
pub(super) fn open_generations(
    guard: &Guard<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    covered: &RangeSet,
    is_remade: bool,
    found: &mut Generations,
) -> Result<Vec<(PathBuf, PathBuf)>, StoreError> {
    let dir = guard.root.join("gen");
    let mut copies = Vec::new();
    let mut folders: Vec<u64> = Vec::new();
    for entry in fs::read_dir(&dir).at(&dir)? {
        let name = entry.at(&dir)?.file_name();
        folders.extend(name.to_str().and_then(|n| n.parse::<u64>().ok()));
    }
    folders.sort_unstable();
    for (generation, sealed) in ledger.generations.clone() {
        if !folders.contains(&generation) {
            ledger.remove_generation(batch, generation);
        } else if covered.contains(generation) {
            found.held.insert(sealed.first_seq..=sealed.last_seq);
            found.last_seq = found.last_seq.max(sealed.last_seq);
            found.sealed.insert(generation, sealed);
        }
    }
    for generation in folders {
        if found.sealed.contains_key(&generation) {
            continue;
        }
        let path = generation_folder(guard.root, generation);
        if Store::is_unborn(&path)? {
            // If it ever held something, the numbers that are missing tell.
            delete_folder(&path)?;
            continue;
        }
        let copy = guard.copy(&path)?;
        guard.reads(&path);
        match Store::open(&path) {
            Ok(store) => {
                let unsealed = scan(store, found)?;
                match unsealed.numbers {
                    // Its ids stand in `seen/` already; it was read to remake the account.
                    Some((first_seq, last_seq)) if is_remade && covered.contains(generation) => {
                        let sealed = Sealed {
                            first_seq,
                            last_seq,
                        };
                        ledger.put_generation(batch, generation, sealed);
                        found.sealed.insert(generation, sealed);
                        found.reread.push(unsealed);
                    }
                    _ => {
                        // Invariant: a sealed generation is never written to, for it is deleted
                        // when what the account says is in it is settled. This one, if it was
                        // sealed before its file in `seen/` was lost, is not any more.
                        if ledger.generations.contains_key(&generation) {
                            ledger.remove_generation(batch, generation);
                        }
                        found.unsealed.insert(generation, unsealed);
                    }
                }
                copies.extend(copy.map(|copy| (copy, path)));
            }
            Err(error @ StoreError::Damaged { .. }) => {
                let kept = guard.keep(copy, &path)?;
                if path.exists() {
                    delete_folder(&path)?;
                }
                found.damaged = true;
                tracing::error!("{error}; it was moved to {}", kept.display());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(copies)
}

/// Reads the heads of a generation's chunks: numbers and ids, no event.
fn scan(store: Store, found: &mut Generations) -> Result<Unsealed, StoreError> {
    let store = Arc::new(store);
    let mut unsealed = Unsealed {
        store: store.clone(),
        numbers: None,
        newest: 0,
        ids: Vec::new(),
        chunks: Vec::new(),
    };
    let (firsts, met) = store.firsts()?;
    if let Some(error) = met {
        found.damaged = true;
        tracing::error!("{error}; what can be read of it is kept");
    }
    for first in firsts {
        let chunk = match read_chunk(&store, first) {
            Ok(chunk) => chunk,
            Err(error @ StoreError::Damaged { .. }) => {
                found.damaged = true;
                tracing::error!("{error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let last = chunk.last_seq();
        found.held.insert(first..=last);
        found.last_seq = found.last_seq.max(last);
        found.totals = found.totals.max(&chunk.totals);
        found.revived.extend(chunk.revived);
        let begin = unsealed.numbers.map_or(first, |(begin, _)| begin);
        unsealed.numbers = Some((begin, last));
        unsealed.newest = unsealed.newest.max(chunk.accepted_at);
        unsealed.chunks.push((first, chunk.ids.len()));
        unsealed.ids.extend(chunk.ids);
    }
    Ok(unsealed)
}

impl Generations {
    /// Each sequence number that was read, with its id.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, u128)> + '_ {
        let read = self.unsealed.values().chain(&self.reread);
        read.flat_map(Unsealed::numbered)
    }

    /// The generation to write to: the newest unsealed one, or a new one.
    pub(super) fn head(&mut self, root: &Path, clock: &Clock) -> Result<Head, StoreError> {
        let sealed = self.sealed.keys().next_back().copied().unwrap_or(0);
        // Invariant: generation numbers never go down. The ids of a generation replace the file
        // that bears its number.
        let newest_sealed = sealed.max(self.covered_to);
        let newest = self.unsealed.last_key_value().map(|(g, _)| *g);
        let (generation, unsealed) = match newest.filter(|g| *g > newest_sealed) {
            Some(generation) => (generation, self.unsealed.remove(&generation)),
            None => (newest_sealed.max(newest.unwrap_or(0)) + 1, None),
        };
        let begun_at = clock.now();
        Ok(match unsealed {
            Some(unsealed) => Head {
                generation,
                bytes: disk_usage(unsealed.store.path()),
                store: unsealed.store,
                first_seq: unsealed.numbers.map(|(first, _)| first),
                ids: unsealed.ids,
                begun_at,
            },
            None => Head {
                generation,
                store: Arc::new(Store::create(&generation_folder(root, generation))?),
                first_seq: None,
                ids: Vec::new(),
                bytes: 0,
                begun_at,
            },
        })
    }

    pub(super) fn readable(&self, head: &Head, last_seq: u64) -> BTreeMap<u64, Readable> {
        let sealed = self.sealed.iter().map(|(generation, sealed)| {
            (
                *generation,
                Readable {
                    first_seq: sealed.first_seq,
                    store: None,
                    is_held: false,
                },
            )
        });
        let unsealed = self.unsealed.iter().filter_map(|(generation, unsealed)| {
            let (first_seq, _) = unsealed.numbers?;
            let store = Some(unsealed.store.clone());
            Some((
                *generation,
                Readable {
                    first_seq,
                    store,
                    is_held: true,
                },
            ))
        });
        let first_seq = head.first_seq.unwrap_or(last_seq + 1);
        let readable = Readable {
            first_seq,
            store: Some(head.store.clone()),
            is_held: true,
        };
        sealed
            .chain(unsealed)
            .chain([(head.generation, readable)])
            .collect()
    }

    /// Unsealed generations below the head are full, or were left behind by a stop.
    pub(super) fn seal_jobs(self, head: &Head) -> Vec<Job> {
        let below = self
            .unsealed
            .into_iter()
            .filter(|(generation, _)| *generation < head.generation);
        below
            .map(|(generation, unsealed)| match unsealed.numbers {
                None => Job::Delete(generation),
                Some((first_seq, last_seq)) => Job::Seal {
                    generation,
                    store: unsealed.store,
                    first_seq,
                    last_seq,
                    newest: unsealed.newest,
                    ids: unsealed.ids,
                },
            })
            .collect()
    }
}
