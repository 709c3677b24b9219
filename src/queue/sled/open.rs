//! Opening the queue: recovery first, then the threads.
//!
//! After an unclean stop each store that was open for writing is copied before it is opened,
//! for opening overwrites the evidence; the copy goes once the store agrees with `high`, and
//! is kept in `quarantine/` if it does not.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::{Notify, Semaphore, watch};

use super::chunk::{AcceptTotals, Chunk};
use super::claims::{Apart, Claims, Readable, Tail, read_chunk};
use super::committer::{Committer, Head};
use super::dead::DeadLetters;
use super::dedup::Dedup;
use super::high::{Found, High, HighFile};
use super::housekeeper::{self, Job};
use super::ledger::{Ledger, Sealed};
use super::seen::SeenFile;
use super::store::{
    At, Batch, Store, StoreError, create_private_dir, delete_folder, disk_usage, split_part, sweep,
};
use super::{Options, Pressure, ROOM_BYTES, Shared, identity};
use crate::clock::{Clock, WallTrust};
use crate::queue::entry::{EntryId, Millis};
use crate::queue::ranges::RangeSet;
use crate::queue::{IdHasher, OpenError};

/// A stop longer than this is taken for a wrong clock.
const MAX_OFF: Duration = Duration::from_secs(5 * 86_400);

/// The folder of a generation.
pub(super) fn generation_folder(root: &Path, generation: u64) -> PathBuf {
    root.join("gen").join(format!("{generation:010}"))
}

pub(super) fn open(options: Options, clock: Clock) -> Result<Arc<Shared>, OpenError> {
    let root = options.path.clone();
    let lock = identity::lock(&root)?;
    let identity = identity::load_or_create(&root)?;
    for dir in ["gen", "seen", "quarantine"] {
        create_private_dir(&root.join(dir))?;
        sweep(&root.join(dir))?;
    }
    sweep(&root)?;
    let (mut high_file, found) = HighFile::open(&root.join("high"))?;
    let high = match found {
        Found::High(high) => high,
        Found::Nothing => High {
            clean: true,
            ..High::default()
        },
        Found::Damaged => {
            tracing::error!("{}/high is damaged: it is written anew", root.display());
            High::default()
        }
    };
    // From here on a crash is an unclean stop.
    high_file.write(&High {
        clean: false,
        ..high
    })?;
    high_file.sync()?;

    let guard = Guard {
        root: &root,
        clean: high.clean,
    };
    let (meta, mut ledger) = open_meta(&guard, &high)?;
    let trust = WallTrust::new(
        clock.clone(),
        (ledger.wall > 0).then_some(ledger.wall),
        MAX_OFF,
    );
    let mut batch = Batch::default();
    let mut found = Generations::default();
    let mut dedup = Dedup::default();
    let covered = open_seen(&root, &mut dedup, &mut found)?;
    let copies = open_generations(&guard, &mut ledger, &mut batch, &covered, &mut found)?;
    ledger.last_seq = ledger.last_seq.max(high.last_seq).max(found.last_seq);
    ledger.totals = max_totals(&ledger.totals, &max_totals(&high.totals, &found.totals));
    let missing = set_missing_aside(&mut ledger, &mut batch, &found);
    for (copy, store) in copies {
        // Any store may be the short one: a gap shows where events are missing, not who lost them.
        if missing > 0 || found.last_seq < high.last_seq {
            let kept = guard.keep(Some(copy), &store)?;
            tracing::error!(
                "store {}: the stores end at event {}, {} was acknowledged, {missing} are missing. \
                 As it was: {}",
                store.display(),
                found.last_seq,
                ledger.last_seq,
                kept.display()
            );
        } else {
            guard.agreed(Some(copy))?;
        }
    }

    let dead_dir = root.join("dead");
    let copy = match DeadLetters::current_folder(&dead_dir, &ledger) {
        Some(folder) => guard.copy(&folder)?,
        None => None,
    };
    let dead = DeadLetters::open(
        &dead_dir,
        &ledger,
        (options.dead_max_bytes / 8).max(1 << 20),
    )?;
    guard.agreed(copy)?;
    for number in std::mem::take(&mut found.revived) {
        // Its replacement was committed; a crash came before `meta` took note.
        if ledger.is_dead(number) {
            if let Some(reason) = dead.reason(number) {
                ledger.dead[reason.index()] -= 1;
            }
            ledger.bury(&mut batch, number);
        }
    }
    let head = found.head(&root, &clock)?;
    for (id, generation) in &found.ids {
        dedup.insert(*generation, *id);
    }
    let wall = if trust.believed() {
        clock.now()
    } else {
        ledger.wall
    };
    ledger.put_state(&mut batch, wall);
    meta.commit(batch)?;

    let census = ledger.census();
    if census.imbalance() == 0 {
        tracing::info!(
            queue = %identity.id, accepted = census.accepted, queued = census.queued,
            in_doubt = census.in_doubt, dead = census.dead_total(), "queue opened; the ledger holds"
        );
    } else {
        tracing::error!(
            imbalance = census.imbalance(),
            "the ledger does not add up: accepted events are unaccounted for; keep {} as it is \
             and compare with a backup",
            root.display()
        );
    }

    let apart = apart(&ledger);
    let in_doubt: HashMap<EntryId, Arc<str>> = (ledger.marks.iter())
        .map(|(id, marked)| (*id, marked.name.clone()))
        .collect();
    let claims = Claims::new(
        ledger.cursor.clone(),
        in_doubt,
        found.readable(&head, ledger.last_seq),
    );
    let (ops, receiver) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        hasher: IdHasher::new(identity.key),
        ops,
        room: Arc::new(Semaphore::new(ROOM_BYTES)),
        tail: Mutex::new(Tail::new(ledger.last_seq)),
        claims: Mutex::new(claims),
        apart: Mutex::new(apart),
        dead: Mutex::new(dead),
        claimable: Notify::new(),
        low_water: ledger.cursor.mark().into(),
        bytes_in_hand: 0.into(),
        census: Mutex::new(census),
        pressure: watch::channel(Pressure::None).0,
        stopped: OnceLock::new(),
        options,
        clock,
        trust,
    });
    let (jobs, inbox) = mpsc::channel();
    for job in found.seal_jobs(&head) {
        // The receiver is held right here.
        let _ = jobs.send(job);
    }
    let keeper = spawn("housekeeper", {
        let shared = shared.clone();
        move || housekeeper::run(&shared, &inbox)
    })?;
    let committer = Committer {
        shared: shared.clone(),
        ops: receiver,
        meta,
        head,
        next: None,
        next_asked: false,
        ledger,
        dedup,
        high: high_file,
        jobs,
        housekeeper: Some(keeper),
        deleting: Vec::new(),
        merging: false,
        lock,
    };
    spawn("committer", move || committer.run())?;
    Ok(shared)
}

fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|e| OpenError::Io(format!("the {name} thread cannot be started: {e}")))
}

/// Copies a store before it is opened after an unclean stop.
struct Guard<'a> {
    root: &'a Path,
    clean: bool,
}

impl Guard<'_> {
    fn copy(&self, store: &Path) -> Result<Option<PathBuf>, StoreError> {
        if self.clean || !store.exists() {
            return Ok(None);
        }
        let name = store
            .strip_prefix(self.root)
            .unwrap_or(store)
            .display()
            .to_string();
        let copy = self
            .root
            .join("quarantine")
            .join(format!("{}.copy", name.replace('/', "-")));
        if copy.exists() {
            // A start that was cut short left it: it is nearer to the crash than the store is now.
            return Ok(Some(copy));
        }
        let size = disk_usage(store);
        let free = statvfs(self.root).map_or(0, |s| s.blocks_available() * s.fragment_size());
        if free < size + (size >> 2) {
            tracing::warn!(
                store = name,
                "no room to copy this store before it is opened"
            );
            return Ok(None);
        }
        let partial = copy.with_extension("deleting");
        copy_folder(store, &partial)?;
        fs::rename(&partial, &copy).at(&copy)?;
        Ok(Some(copy))
    }

    /// The store agrees with what must be in it.
    fn agreed(&self, copy: Option<PathBuf>) -> Result<(), StoreError> {
        copy.map_or(Ok(()), |copy| delete_folder(&copy))
    }

    /// The store does not: the copy, or the store itself, is kept for the operator.
    fn keep(&self, copy: Option<PathBuf>, store: &Path) -> Result<PathBuf, StoreError> {
        let from = copy.as_deref().unwrap_or(store);
        let name = from.file_name().and_then(|n| n.to_str()).unwrap_or("store");
        keep(self.root, from, name)
    }
}

/// Moves a folder into `quarantine/`, under a name like `name`.
fn keep(root: &Path, from: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let kept = (1..)
        .map(|n| root.join("quarantine").join(format!("{name}.{n}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| root.join("quarantine/store"));
    fs::rename(from, &kept).at(from)?;
    Ok(kept)
}

/// Moves a sealed generation that cannot be opened out of the way: in its place it would be
/// deleted as soon as its events are set aside. None if it is gone already.
pub(super) fn keep_generation(root: &Path, generation: u64) -> Result<Option<PathBuf>, StoreError> {
    let folder = generation_folder(root, generation);
    if !folder.exists() {
        return Ok(None);
    }
    keep(root, &folder, &format!("gen-{generation:010}")).map(Some)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), StoreError> {
    create_private_dir(to)?;
    for entry in fs::read_dir(from).at(from)? {
        let entry = entry.at(from)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).at(&target)?;
        }
    }
    Ok(())
}

fn open_meta(guard: &Guard<'_>, high: &High) -> Result<(Store, Ledger), OpenError> {
    let path = guard.root.join("meta");
    let unborn = Store::is_unborn(&path)?;
    if unborn || !path.exists() {
        if high.settle_no > 0 || high.last_seq > 0 {
            return Err(OpenError::Io(format!(
                "store {}: it is missing, and with it the account of what was delivered; \
                 restore the queue folder from a backup, or move it away to begin anew",
                path.display()
            )));
        }
        if unborn {
            delete_folder(&path)?;
        }
        let mut ledger = Ledger::new();
        let store = Store::create(&path)?;
        let mut batch = Batch::default();
        ledger.put_state(&mut batch, 0);
        store.commit(batch)?;
        return Ok((store, ledger));
    }
    let copy = guard.copy(&path)?;
    let store = Store::open(&path)?;
    let ledger = Ledger::load(&store)?;
    if ledger.settle_no < high.settle_no {
        let kept = guard.keep(copy, &path.with_extension("none")).ok();
        tracing::error!(
            lost = high.settle_no - ledger.settle_no,
            "store {}: its last settlements are missing (it was damaged or truncated); their \
             events are sent again. As it was: {}",
            path.display(),
            kept.map_or("no copy".into(), |kept| kept.display().to_string())
        );
    } else {
        guard.agreed(copy)?;
    }
    Ok((store, ledger))
}

/// What the generations and `seen/` hold.
#[derive(Default)]
struct Generations {
    /// Sequence numbers that some store holds.
    held: RangeSet,
    sealed: BTreeMap<u64, Sealed>,
    unsealed: BTreeMap<u64, Unsealed>,
    ids: Vec<(u128, u64)>,
    revived: Vec<u64>,
    last_seq: u64,
    totals: AcceptTotals,
    /// The highest generation whose ids are in `seen/`: its number is not given again.
    covered_to: u64,
}

struct Unsealed {
    store: Arc<Store>,
    /// First and last sequence number, if it holds any.
    numbers: Option<(u64, u64)>,
    newest: Millis,
    ids: Vec<u128>,
}

/// Opens the files of remembered ids; says which generations they cover.
fn open_seen(
    root: &Path,
    dedup: &mut Dedup,
    found: &mut Generations,
) -> Result<RangeSet, StoreError> {
    let dir = root.join("seen");
    let mut files = Vec::new();
    for entry in fs::read_dir(&dir).at(&dir)? {
        let path = entry.at(&dir)?.path();
        match SeenFile::open(&path) {
            Ok(file) => files.push(Arc::new(file)),
            Err(error @ StoreError::Newer { .. }) => return Err(error),
            Err(error) => {
                let name = path.file_name().unwrap_or_default();
                let kept = root.join("quarantine").join(name);
                fs::rename(&path, &kept).at(&path)?;
                tracing::error!(
                    "{error}; it was moved to {}: a messageId in it that comes again is sent again",
                    kept.display()
                );
            }
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
fn open_generations(
    guard: &Guard<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    covered: &RangeSet,
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
        match Store::open(&path) {
            Ok(store) => {
                scan(store, generation, found)?;
                copies.extend(copy.map(|copy| (copy, path)));
            }
            Err(error @ StoreError::Damaged { .. }) => {
                let kept = guard.keep(copy, &path)?;
                if path.exists() {
                    delete_folder(&path)?;
                }
                tracing::error!("{error}; it was moved to {}", kept.display());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(copies)
}

/// Reads the heads of a generation's chunks: numbers and ids, no event.
fn scan(store: Store, generation: u64, found: &mut Generations) -> Result<(), StoreError> {
    let store = Arc::new(store);
    let mut unsealed = Unsealed {
        store: store.clone(),
        numbers: None,
        newest: 0,
        ids: Vec::new(),
    };
    let mut firsts = Vec::new();
    for row in store.scan(&[], &[0xff; 11]) {
        let (key, _) = row?;
        if let Some((prefix, 0)) = split_part(&key) {
            firsts.extend(prefix.try_into().ok().map(u64::from_be_bytes));
        }
    }
    for first in firsts {
        let Some(Chunk {
            totals,
            ids,
            revived,
            accepted_at,
            ..
        }) = read_chunk(&store, first)?
        else {
            tracing::error!(
                store = %store.path().display(), first_seq = first, "a stored chunk is damaged"
            );
            continue;
        };
        let last = first + ids.len() as u64 - 1;
        found.held.insert(first..=last);
        found.last_seq = found.last_seq.max(last);
        found.totals = max_totals(&found.totals, &totals);
        found.revived.extend(revived);
        found.ids.extend(ids.iter().map(|id| (*id, generation)));
        let begin = unsealed.numbers.map_or(first, |(begin, _)| begin);
        unsealed.numbers = Some((begin, last));
        unsealed.newest = unsealed.newest.max(accepted_at);
        unsealed.ids.extend(ids);
    }
    found.unsealed.insert(generation, unsealed);
    Ok(())
}

/// Sets aside numbers that were accepted and that no store holds any more; how many.
fn set_missing_aside(ledger: &mut Ledger, batch: &mut Batch, found: &Generations) -> u64 {
    let mut missing = RangeSet::default();
    let (low, last) = (ledger.cursor.mark(), ledger.last_seq);
    if low <= last {
        missing.insert(low..=last);
    }
    for (first, last) in found
        .held
        .iter()
        .chain(ledger.cursor.above().clone().iter())
    {
        missing.remove(first..=last);
    }
    let count = missing.count();
    for (first, last) in missing.iter().collect::<Vec<_>>() {
        tracing::error!(
            "events {first} to {last} were acknowledged and are missing from the stores: \
             {} set aside",
            last - first + 1
        );
        ledger.set_aside += last - first + 1;
        for seq in first..=last {
            ledger.unmark(batch, EntryId::line(seq));
        }
        ledger.settle_line(batch, first, last);
    }
    count
}

/// The dead letters that are queued again, with their periods and the names they went out under.
fn apart(ledger: &Ledger) -> Apart {
    let mut apart = Apart::default();
    for (first, last) in ledger.dead_queued.iter() {
        for number in first..=last {
            let holds =
                |(_, p): &(&u64, &super::ledger::Period)| (p.first..=p.last).contains(&number);
            if let Some((period, _)) = ledger.periods.iter().find(holds) {
                let name = ledger
                    .marks
                    .get(&EntryId::dead(number))
                    .map(|m| m.name.clone());
                apart.0.push_back((number, *period, name));
            }
        }
    }
    apart
}

fn max_totals(a: &AcceptTotals, b: &AcceptTotals) -> AcceptTotals {
    AcceptTotals {
        accepted: a.accepted.max(b.accepted),
        duplicate: a.duplicate.max(b.duplicate),
        ignored: a.ignored.max(b.ignored),
        rejected: a.rejected.max(b.rejected),
        revived: a.revived.max(b.revived),
    }
}

impl Generations {
    /// The generation to write to: the newest unsealed one, or a new one.
    fn head(&mut self, root: &Path, clock: &Clock) -> Result<Head, StoreError> {
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

    fn readable(&self, head: &Head, last_seq: u64) -> BTreeMap<u64, Readable> {
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
    fn seal_jobs(self, head: &Head) -> Vec<Job> {
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
