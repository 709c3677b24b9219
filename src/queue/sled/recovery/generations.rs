//! What a start finds in the generations and in `seen/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{LetterNumber, LossKind, Number, Seq};
use crate::queue::ranges::RangeSet;
use crate::queue::record::chunk::AcceptTotals;
use crate::queue::sled::account::{Ledger, Mending, Sealed};
use crate::queue::sled::disk::{
    At, Batch, Evidence, GENERATIONS, SEEN, Store, StoreError, delete_folder, disk_usage, entries,
    generation_folder, is_there, numbered, quarantine, seen_name, sync_dir,
};
use crate::queue::sled::ids::{Dedup, SeenFile};
use crate::queue::sled::line::{Head, Readable, is_of_age, read_chunk};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::record::IdFile;

/// What the generations and `seen/` hold.
#[derive(Default)]
pub struct Generations {
    /// Sequence numbers that some store holds.
    pub held: RangeSet<Seq>,
    pub sealed: BTreeMap<Generation, Sealed>,
    pub unsealed: BTreeMap<Generation, Unsealed>,
    pub retried: Vec<LetterNumber>,
    pub last_seq: Seq,
    pub totals: AcceptTotals,
    /// The highest generation whose ids are in `seen/`: its number is not given again.
    pub covered_to: Generation,
    /// Of `sealed`, those that were read all the same.
    reread: Vec<Unsealed>,
    /// Sequence numbers whose bytes were taken out since they were settled; told only where the
    /// account is made anew, which knows no better.
    pub erased: Vec<Seq>,
    /// Something in a generation could not be read.
    pub damaged: bool,
}

pub struct Unsealed {
    pub store: Arc<Store>,
    /// First and last sequence number, if it holds any.
    pub numbers: Option<(Seq, Seq)>,
    /// When its first and its last event were accepted. What was taken back by an import has the
    /// time of its first life.
    pub oldest: Millis,
    pub newest: Millis,
    pub ids: Vec<u128>,
    /// First number of each chunk, and its count of ids.
    chunks: Vec<(Seq, usize)>,
}

impl Unsealed {
    /// Each sequence number with its id.
    fn numbered(&self) -> impl Iterator<Item = (Seq, u128)> + '_ {
        let numbers = self
            .chunks
            .iter()
            .flat_map(|(first, n)| first.onward().take(*n));
        numbers.zip(self.ids.iter().copied())
    }
}

/// What the inventory of files is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inventory {
    /// Every file must be as it says.
    Kept,
    /// An older release wrote last, or it went with the account: what is there is taken up.
    Unknown,
}

/// Opens the files of remembered ids and holds them against the inventory; says which generations
/// they cover. `window`: how long ids are remembered.
pub fn open_seen(
    mending: &mut Mending<'_>,
    inventory: Inventory,
    window: Millis,
    dedup: &mut Dedup,
    found: &mut Generations,
) -> Result<RangeSet<Generation>, StoreError> {
    let Mending {
        evidence,
        ledger,
        batch,
        now,
    } = mending;
    let (root, now) = (evidence.root, *now);
    let rows = ledger.files.clone();
    if inventory == Inventory::Unknown {
        rows.keys().for_each(|name| ledger.remove_file(batch, name));
    }
    let row = |name: &str| rows.get(name).filter(|_| inventory == Inventory::Kept);
    let generations = numbered(&root.join(GENERATIONS))?;
    let mut files: Vec<Arc<SeenFile>> = Vec::new();
    let mut harmed: Vec<(String, u64, String)> = Vec::new();
    for path in entries(&root.join(SEEN))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        evidence.reads(&path);
        let (what, count) = match SeenFile::open(&path) {
            Ok(file) => {
                let known = row(&name);
                let count = file.coverage.count;
                let is_new =
                    inventory == Inventory::Unknown || is_new(&file, &rows, &generations, ledger);
                let what = match known {
                    _ if file.name() != name => Some("it bears another file's name"),
                    Some(known) if known.is_leaving => {
                        // Its deletion was cut short.
                        fs::remove_file(&path).at(&path)?;
                        continue;
                    }
                    Some(known) if known.is(&file.record()) => None,
                    _ if is_new => None,
                    Some(_) => Some("it is not the file that was written"),
                    None => Some("it was not written here, or was deleted before"),
                };
                match what {
                    None => {
                        files.push(Arc::new(file));
                        continue;
                    }
                    Some(what) => (what.to_owned(), count),
                }
            }
            Err(StoreError::Damaged { what, .. }) => {
                // At most so many: what it says of itself cannot be read.
                let len = fs::metadata(&path).at(&path)?.len();
                (what, len / 16)
            }
            Err(error) => return Err(error),
        };
        let kept = quarantine::put(root, &path, &name)?;
        let what = format!("{what}; it was moved to {}", kept.display());
        harmed.push((name.into_owned(), count, what));
    }
    // What was removed here must not come back with a power cut, and be taken for foreign.
    sync_dir(&root.join(SEEN))?;
    let within = |file: &SeenFile, other: &SeenFile| {
        file.coverage.generations != other.coverage.generations
            && other.coverage.holds(&file.coverage)
    };
    let mut covered = RangeSet::default();
    for file in &files {
        found.last_seq = found.last_seq.max(file.coverage.last_seq);
        found.covered_to = found.covered_to.max(file.coverage.generations.1);
        if files.iter().any(|other| within(file, other)) {
            // A merge put the larger one in place and was cut short.
            fs::remove_file(file.path()).at(file.path())?;
            ledger.remove_file(batch, &file.name());
            continue;
        }
        let (first, last) = file.coverage.generations;
        covered.insert(first..=last);
        let is_harmed = rows.get(&file.name()).is_some_and(|row| row.is_harmed);
        let record = IdFile {
            is_harmed,
            ..file.record()
        };
        ledger.put_file(batch, &file.name(), record);
        dedup.seal(first, file.clone());
    }
    // What must be there and is not.
    for (name, known) in rows.iter().filter(|_| inventory == Inventory::Kept) {
        if files.iter().any(|file| file.name() == *name) {
            continue;
        }
        ledger.remove_file(batch, name);
        let is_merged = files
            .iter()
            .any(|file| file.coverage.holds(&known.coverage));
        if known.is_leaving || is_merged {
            harmed.retain(|(harmed, ..)| harmed != name);
            continue;
        }
        let is_told = harmed.iter_mut().find(|(harmed, ..)| harmed == name);
        let what = is_told.map_or("it is missing".into(), |(_, _, what)| std::mem::take(what));
        harmed.retain(|(harmed, ..)| harmed != name);
        // An unsealed generation has its ids in its chunks, and is sealed again.
        let (first, last) = known.coverage.generations;
        let object = seen_name(name);
        if first
            .through(last)
            .all(|generation| generations.contains(&generation))
        {
            let next = "its events are still stored: it is written again from them";
            evidence.found(&object, what, next);
            continue;
        }
        let count = known.coverage.count;
        let until = known.coverage.newest.saturating_add(window);
        ledger.lose_until(
            batch,
            LossKind::MessageIds,
            &object,
            count,
            now,
            Some(until),
        );
        let until = jiff::Timestamp::from_millisecond(until);
        let until = until.map_or("one dedup window from now".into(), |t| t.to_string());
        evidence.found(
            &object,
            format!("{what}: {count} ids are no longer remembered"),
            &format!(
                "duplicates are possible until {until}; shown by `pinrelay status` until it is \
                 acknowledged"
            ),
        );
    }
    for (name, count, what) in harmed {
        let object = seen_name(&name);
        if inventory == Inventory::Unknown {
            let count = count.max(1);
            ledger.lose(batch, LossKind::MessageIds, &object, count, now);
        }
        evidence.found(&object, what, "its messageIds are not remembered by it");
    }
    Ok(covered)
}

/// Whether a file that is not as the inventory says may be one of ours: a crash came before it was
/// noted. Then its generation is still there unsealed, or the files that it was made of are noted.
fn is_new(
    file: &SeenFile,
    rows: &BTreeMap<String, IdFile>,
    folders: &[Generation],
    ledger: &Ledger,
) -> bool {
    let (first, last) = file.coverage.generations;
    let is_unsealed = |g: Generation| folders.contains(&g) && !ledger.generations.contains_key(&g);
    let is_made_of = |row: &IdFile| {
        row.coverage.generations != file.coverage.generations && file.coverage.holds(&row.coverage)
    };
    first.through(last).all(is_unsealed) || rows.values().any(is_made_of)
}

/// Opens and scans what is not sealed; gives the stores that sled changed as it opened them.
pub fn open_generations(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    covered: &RangeSet<Generation>,
    is_rebuilt: bool,
    found: &mut Generations,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut changed = Vec::new();
    let folders = numbered(&evidence.root.join(GENERATIONS))?;
    for (generation, sealed) in ledger.generations.clone() {
        if !folders.contains(&generation) {
            ledger.remove_generation(batch, generation);
            ledger.release_generation(batch, generation);
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
        let path = generation_folder(evidence.root, generation);
        if Store::was_never_committed(&path)? {
            // If it ever held something, the numbers that are missing tell.
            delete_folder(&path)?;
            continue;
        }
        match evidence.open(&path) {
            Ok(store) => {
                // Each by itself: one before it may have been damaged, too.
                let before = std::mem::take(&mut found.damaged);
                let unsealed = scan(evidence, store, is_rebuilt, found)?;
                if found.damaged {
                    ledger.hold_generation(batch, generation);
                }
                found.damaged |= before;
                match unsealed.numbers {
                    // Its ids stand in `seen/` already; it was read to remake the account.
                    Some((first_seq, last_seq)) if is_rebuilt && covered.contains(generation) => {
                        let sealed = Sealed {
                            first_seq,
                            last_seq,
                        };
                        ledger.put_generation(batch, generation, sealed);
                        found.sealed.insert(generation, sealed);
                        found.reread.push(unsealed);
                    }
                    _ => {
                        // Invariant: a sealed generation is never written to, since it is deleted
                        // as soon as everything that the account knows of it is settled. This one
                        // may have been sealed before its file in `seen/` was lost: no longer.
                        if ledger.generations.contains_key(&generation) {
                            ledger.remove_generation(batch, generation);
                        }
                        found.unsealed.insert(generation, unsealed);
                    }
                }
                if evidence.copy(&path)?.is_some() {
                    changed.push(path);
                }
            }
            Err(StoreError::Damaged { what, .. }) => {
                let kept = evidence.quarantine(&path)?;
                if is_there(&path)? {
                    delete_folder(&path)?;
                }
                found.damaged = true;
                // Its number is not given again: what the account says of it would hold for
                // the next that bears it, and that would be deleted as settled.
                ledger.remove_generation(batch, generation);
                ledger.release_generation(batch, generation);
                found.covered_to = found.covered_to.max(generation);
                evidence.found_at(&path, what, &format!("it was moved to {}", kept.display()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// Reads the heads of a generation's chunks: numbers and ids, no event, unless the account is made
/// anew.
fn scan(
    evidence: &Evidence<'_>,
    store: Store,
    is_rebuilt: bool,
    found: &mut Generations,
) -> Result<Unsealed, StoreError> {
    let store = Arc::new(store);
    let mut unsealed = Unsealed {
        store: store.clone(),
        numbers: None,
        oldest: Millis::MAX,
        newest: 0,
        ids: Vec::new(),
        chunks: Vec::new(),
    };
    let (firsts, met) = store.firsts()?;
    const NEXT: &str = "what can be read of it is delivered; it goes to quarantine/ when it is \
                        done with";
    if let Some(error) = met {
        found.damaged = true;
        evidence.found_at(store.path(), error.to_string(), NEXT);
    }
    for first in firsts {
        let chunk = match read_chunk(&store, first) {
            Ok(chunk) => chunk,
            Err(error @ StoreError::Damaged { .. }) => {
                found.damaged = true;
                evidence.found_at(store.path(), error.to_string(), NEXT);
                continue;
            }
            Err(error) => return Err(error),
        };
        if is_rebuilt {
            // What cannot be unpacked is met again by the claims.
            found
                .erased
                .extend(chunk.erased_numbers().unwrap_or_default());
        }
        let last = chunk.last_seq();
        found.held.insert(first..=last);
        found.last_seq = found.last_seq.max(last);
        found.totals = found.totals.max(&chunk.totals);
        found.retried.extend(chunk.retried);
        let begin = unsealed.numbers.map_or(first, |(begin, _)| begin);
        unsealed.numbers = Some((begin, last));
        unsealed.oldest = unsealed.oldest.min(chunk.accepted_at);
        unsealed.newest = unsealed.newest.max(chunk.accepted_at);
        unsealed.chunks.push((first, chunk.ids.len()));
        unsealed.ids.extend(chunk.ids);
    }
    Ok(unsealed)
}

impl Generations {
    /// Each sequence number that was read, with its id.
    pub fn numbered(&self) -> impl Iterator<Item = (Seq, u128)> + '_ {
        let read = self.unsealed.values().chain(&self.reread);
        read.flat_map(Unsealed::numbered)
    }

    /// The generation to write to: the newest unsealed one unless it is of age, or a new one.
    /// `now`: the time by which events are stamped; `ended`: when the last life ended, at the
    /// earliest.
    pub fn head(&mut self, root: &Path, now: Millis, ended: Millis) -> Result<Head, StoreError> {
        let sealed = self.sealed.keys().next_back().copied().unwrap_or_default();
        // Invariant: generation numbers never go down. The ids of a generation replace the file
        // that bears its number.
        let newest_sealed = sealed.max(self.covered_to);
        let newest = self.unsealed.last_key_value().map(|(g, _)| *g);
        let is_young = |g: &Generation| {
            let unsealed = self.unsealed.get(g);
            unsealed.is_none_or(|u| u.numbers.is_none() || !is_of_age(u.oldest, now))
        };
        let (generation, unsealed) = match newest.filter(|g| *g > newest_sealed && is_young(g)) {
            Some(generation) => (generation, self.unsealed.remove(&generation)),
            None => (newest_sealed.max(newest.unwrap_or_default()).next(), None),
        };
        Ok(match unsealed {
            Some(unsealed) => Head {
                generation,
                bytes: disk_usage(unsealed.store.path())?,
                store: unsealed.store,
                first_seq: unsealed.numbers.map(|(first, _)| first),
                ids: unsealed.ids,
                begun_at: unsealed.oldest,
                newest: unsealed.newest.max(ended),
            },
            None => Head {
                generation,
                store: Arc::new(Store::create(&generation_folder(root, generation))?),
                first_seq: None,
                ids: Vec::new(),
                bytes: 0,
                begun_at: now,
                newest: 0,
            },
        })
    }

    pub fn readable(&self, head: &Head, last_seq: Seq) -> BTreeMap<Generation, Readable> {
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
}
