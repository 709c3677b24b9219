//! Opening the queue: recovery first, then the threads.
//!
//! After an unclean stop each store that was open for writing is copied before it is opened,
//! for opening overwrites the evidence; the copy goes once the store agrees with `high`, and
//! is kept in `quarantine/` if it does not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use super::claims::{Apart, Claims, Tail};
use super::committer::Committer;
use super::dead::DeadLetters;
use super::dedup::Dedup;
use super::found::{Generations, max_totals, open_generations, open_seen};
use super::guard::Guard;
use super::high::{Found, High, HighFile};
use super::housekeeper::{self};
use super::ledger::Ledger;
use super::store::{Batch, Store, create_private_dir, delete_folder, sweep};
use super::{Options, Pressure, ROOM_BYTES, Shared, identity};
use crate::clock::{Clock, WallTrust};
use crate::queue::entry::EntryId;
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
    for (generation, unsealed) in &found.unsealed {
        for id in &unsealed.ids {
            dedup.insert(*generation, *id);
        }
    }
    let head = found.head(&root, &clock)?;
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
