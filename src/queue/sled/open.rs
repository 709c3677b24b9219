//! Opening the queue: recovery first, then the threads.
//!
//! After an unclean stop each store that was open for writing is copied before it is opened,
//! for opening overwrites the evidence; the copy goes once the store agrees with `high`, and
//! is kept in `quarantine/` if it does not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use tokio::sync::{Notify, Semaphore, watch};

use super::batch::Batch;
use super::claims::{Apart, Claims, Tail};
use super::committer::Committer;
use super::dead::DeadLetters;
use super::dedup::Dedup;
use super::error::StoreError;
use super::files::{create_private_dir, is_there, sweep, sync_dir};
use super::found::{Generations, open_generations, open_seen};
use super::guard::Guard;
use super::high::{Found, High, HighFile};
use super::housekeeper::{self};
use super::ledger::Ledger;
use super::meta::{IDENTITY, Meta};
use super::purged::Purged;
use super::retention::Nearness;
use super::state::State;
use super::{Options, Pressure, ROOM_BYTES, Shared, account, guard, identity, period, purged};
use crate::clock::{Clock, WallTrust};
use crate::queue::entry::EntryId;
use crate::queue::ranges::RangeSet;
use crate::queue::{IdHasher, OpenError};

/// The folder of a generation.
pub(super) fn generation_folder(root: &Path, generation: u64) -> PathBuf {
    root.join("gen").join(format!("{generation:010}"))
}

pub(super) fn open(options: Options, clock: Clock) -> Result<Arc<Shared>, OpenError> {
    let root = options.path.clone();
    let lock = identity::lock(&root)?;
    let machine_id = options.machine_id.as_deref();
    if options.adopt && identity::load(&root)?.is_none() && !is_there(&root.join("gen"))? {
        return Err(OpenError::Io(format!(
            "queue folder {}: it holds no queue to adopt; restore it there first",
            root.display()
        )));
    }
    let identity = identity::load_or_create(&root, machine_id)?;
    if !options.adopt && !identity.is_at_home(machine_id) {
        return Err(OpenError::Foreign(format!(
            "queue folder {}: it was made on another machine, which may still send its events. \
             If that one is stopped for good, or this is a restored copy: `pinrelay adopt`",
            root.display()
        )));
    }
    // Names that a killed process made and did not sync are found and built upon: they have to
    // be durable before what follows from them is.
    sync_dir(&root)?;
    for dir in ["gen", "seen", "quarantine", "dead", purged::FOLDER] {
        create_private_dir(&root.join(dir))?;
        sweep(&root.join(dir))?;
        sync_dir(&root.join(dir))?;
    }
    sweep(&root)?;
    // A store's making syncs its name in its folder, not that folder's name in here.
    sync_dir(&root)?;
    let (mut high_file, found) = HighFile::open(&root.join("high"))?;
    let high = match found {
        Found::High(high) => high,
        // The first start of a new queue, or one that was cut short, even while it wrote this
        // file: it is synced before `meta` is made.
        Found::Nothing | Found::Damaged
            if !Meta::is_there(&root)? && account::is_new(&root, &State::default())? =>
        {
            High {
                clean: true,
                ..High::default()
            }
        }
        Found::Nothing | Found::Damaged => {
            tracing::error!(
                "{}/high is damaged or missing: it is written anew; whether a store was cut \
                 short cannot be told this time",
                root.display()
            );
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
        tell: &*options.on_progress,
    };
    let mut account = account::open(&guard, &high)?;
    let ledger = &mut account.ledger;
    let set_aside_before = ledger.state.set_aside;
    let wall = ledger.state.wall;
    let last = account.meta.clocks()?;
    let trust = WallTrust::new(clock.clone(), last, (wall > 0).then_some(wall));
    let mut batch = Batch::default();
    let mut found = Generations::default();
    let mut dedup = Dedup::default();
    let covered = open_seen(&guard, &mut dedup, &mut found)?;
    let copies = open_generations(
        &guard,
        ledger,
        &mut batch,
        &covered,
        account.is_remade,
        &mut found,
    )?;
    let state = &mut ledger.state;
    state.last_seq = state.last_seq.max(high.state.last_seq).max(found.last_seq);
    state.totals = (state.totals.max(&high.state.totals)).max(&found.totals);
    // Each number was given to an event that was new or revived.
    let numbered = state.last_seq.saturating_sub(state.totals.revived);
    state.totals.accepted = state.totals.accepted.max(numbered);
    if account.is_remade {
        account::settle_what_was_deleted(ledger, &mut batch, &found);
    }
    let missing = set_missing_aside(ledger, &mut batch, &found);
    for (copy, store) in copies {
        // Any store may be the short one: a gap shows where events are missing, not who lost them.
        if missing > 0 || found.last_seq < high.state.last_seq {
            let kept = guard.keep(Some(copy), &store)?;
            tracing::error!(
                "store {}: the stores end at event {}, {} was acknowledged, {missing} are missing. \
                 As it was: {}",
                store.display(),
                found.last_seq,
                ledger.state.last_seq,
                kept.display()
            );
        } else {
            guard.agreed(Some(copy))?;
        }
    }

    let roll_bytes = (options.dead_max_bytes / 8).max(1 << 20);
    let mut dead = open_letters(
        &guard,
        ledger,
        &mut batch,
        account.is_remade,
        &found,
        roll_bytes,
    )?;
    let purged = Purged::open(
        &guard,
        ledger,
        &mut batch,
        dead.take_purged(),
        &found.revived,
        account.is_remade,
    )?;
    if account.is_remade {
        account::finish(ledger, &mut batch, clock.now());
    }
    for (generation, unsealed) in &found.unsealed {
        for id in &unsealed.ids {
            dedup.insert(*generation, *id);
        }
    }
    let head = found.head(&root, &clock)?;
    let noted = trust.believed_reading();
    if let Some(now) = noted {
        ledger.state.wall = now.wall;
        Meta::note_clocks(&mut batch, now);
    }
    let identity = match options.adopt {
        true => {
            ledger.doubt_everything(clock.now());
            identity.adopted(machine_id)
        }
        false => identity,
    };
    // A copy for `verify --repair`: without the key in it no messageId is known again.
    if account.meta.store.get(IDENTITY)?.as_deref() != Some(identity.text().as_bytes()) {
        batch.put(IDENTITY, identity.text().into_bytes());
    }
    account.meta.commit(batch, &mut ledger.state)?;
    if options.adopt {
        identity.write(&root)?;
    }
    let is_whole =
        !account.is_remade && !found.damaged && ledger.state.set_aside == set_aside_before;
    guard::settle_copies(&root, is_whole)?;

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

    let (meta, ledger) = (account.meta, account.ledger);
    let apart = apart(&ledger);
    let in_doubt: HashMap<EntryId, Arc<str>> = (ledger.marks.iter())
        .map(|(id, marked)| (id, marked.name.clone()))
        .collect();
    let claims = Claims::new(
        ledger.cursor.clone(),
        in_doubt,
        found.readable(&head, ledger.state.last_seq),
    );
    let (ops, receiver) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        hasher: IdHasher::new(identity.key),
        ops,
        room: Arc::new(Semaphore::new(ROOM_BYTES)),
        tail: Mutex::new(Tail::new(ledger.state.last_seq)),
        claims: Mutex::new(claims),
        apart: Mutex::new(apart),
        dead: Mutex::new(dead),
        opening: Mutex::new(()),
        claimable: Notify::new(),
        low_water: ledger.cursor.mark().into(),
        bytes_in_hand: 0.into(),
        census: Mutex::new(census),
        pressure: watch::channel(Pressure::None).0,
        disk: Mutex::default(),
        stopped: OnceLock::new(),
        unclean: !high.clean,
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
        purged,
        dead_quota: Nearness::default(),
        noted,
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

/// Opens the dead letters; those that cannot be read are set aside, those that events of the line
/// have replaced are gone.
fn open_letters(
    guard: &Guard<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    is_remade: bool,
    found: &Generations,
    roll_bytes: u64,
) -> Result<DeadLetters, StoreError> {
    let root = guard.root;
    if is_remade {
        account::recount_letters(guard, ledger, batch)?;
    }
    let copy = match ledger.periods.keys().next_back() {
        Some(period) => guard.copy(&period::folder(&root.join("dead"), *period))?,
        None => None,
    };
    // Their replacements were committed; a crash came before `meta` took note.
    let mut replaced = found.revived.clone();
    replaced.retain(|number| ledger.is_dead(*number));
    replaced.sort_unstable();
    replaced.dedup();
    let set_aside = ledger.state.set_aside;
    let mut dead = DeadLetters::open(guard, ledger, batch, roll_bytes)?;
    match copy {
        Some(copy) if ledger.state.set_aside > set_aside => {
            let kept = guard::keep(root, &copy, "dead.copy")?;
            tracing::error!("the period as it was before this start: {}", kept.display());
        }
        copy => guard.agreed(copy)?,
    }
    for number in replaced {
        if ledger.is_dead(number) {
            if let Some(reason) = dead.reason(number) {
                ledger.uncount_dead(number, reason);
                ledger.put_period_of(batch, number);
            }
            ledger.bury(batch, number);
        } else {
            // Just set aside as a letter that cannot be read; its event stands in the line.
            ledger.state.set_aside -= 1;
        }
    }
    if is_remade {
        account::one_event_one_place(ledger, batch, &mut dead, found)?;
    }
    Ok(dead)
}

/// Sets aside numbers that were accepted and that no store holds any more; how many.
fn set_missing_aside(ledger: &mut Ledger, batch: &mut Batch, found: &Generations) -> u64 {
    let mut missing = RangeSet::default();
    let (low, last) = (ledger.cursor.mark(), ledger.state.last_seq);
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
        ledger.set_line_aside(batch, first, last);
    }
    count
}

/// The dead letters that are queued again, with their periods and the names they went out under.
fn apart(ledger: &Ledger) -> Apart {
    let mut apart = Apart::default();
    for (first, last) in ledger.dead_queued.iter() {
        for number in first..=last {
            if let Some(period) = ledger.period_of(number) {
                let marked = ledger.marks.get(EntryId::dead(number));
                let name = marked.map(|marked| marked.name.clone());
                apart.0.push_back((number, period, name));
            }
        }
    }
    apart
}
