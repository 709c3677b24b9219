//! Opening the queue: [`recover`] first, then the threads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use tokio::sync::{Notify, Semaphore, watch};

use super::anchor::{self, Anchor};
use super::claims::{Apart, Claims, Tail};
use super::committer::Committer;
use super::guard::Guard;
use super::housekeeper;
use super::kept::Kept;
use super::ledger::Ledger;
use super::places::Places;
use super::recovery::{Recovered, recover};
use super::retention::Nearness;
use super::scrub::Scrub;
use super::{Options, Pressure, ROOM_BYTES, Shared, syscalls};
use crate::clock::Clock;
use crate::queue::entry::EntryId;
use crate::queue::error::OpenError;
use crate::queue::id_hash::IdHasher;

/// The folder of a generation.
pub(super) fn generation_folder(root: &Path, generation: u64) -> PathBuf {
    root.join("gen").join(format!("{generation:010}"))
}

pub(super) fn open(options: Options, clock: Clock) -> Result<Arc<Shared>, OpenError> {
    let beside = anchor::read(&options.path)?;
    syscalls::watch(&options.path, {
        let on_failure = options.on_failure.clone();
        Arc::new(move |why| {
            tracing::error!("the queue cannot be read: {why}; see to the disk, then start again");
            on_failure(why);
        })
    });
    let recovered = {
        let tell = options.on_progress.clone();
        let guard = Guard::new(&options.path, &*tell, false);
        recover(&options, &clock, &guard, &beside)?
    };
    let Recovered {
        lock,
        identity,
        high,
        is_unclean,
        meta,
        ledger,
        dedup,
        found,
        head,
        dead,
        purged,
        trust,
        noted,
    } = recovered;
    let root = options.path.clone();
    let census = ledger.census();
    tracing::info!(
        queue = %identity.id, accepted = census.accepted, queued = census.queued,
        in_doubt = census.in_doubt, dead = census.dead_total(), losses = ledger.losses.len(),
        "queue opened{}", if census.imbalance() == 0 { "; the ledger holds" } else { "" }
    );

    let kept = Kept::load(&meta.store)?;
    let apart = apart(&ledger);
    let in_doubt: HashMap<EntryId, Arc<str>> = (ledger.marks.iter())
        .map(|(id, marked)| (id, marked.name.clone()))
        .collect();
    let claims = Claims::new(
        ledger.cursor.clone(),
        in_doubt,
        found.readable(&head, ledger.state.last_seq),
    );
    let anchor = Anchor {
        state: ledger.state,
        open: census.queued + census.sending,
        dead: census.dead_total(),
        is_mount: anchor::is_mount(&root)?.unwrap_or(false),
        identity: identity.clone(),
    };
    if options.adopt && beside.anchor().is_some() {
        // What stands there says otherwise, and the next start would refuse the queue by it.
        anchor::write(&root, &anchor).map_err(|error| {
            OpenError::Io(format!(
                "{error}: it speaks of what was here before, and a start would refuse this queue: \
                 let the daemon's user write there, or remove it, then adopt again"
            ))
        })?;
    }
    let places = Places::of(&root, &high, &meta.store)?;
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
        losses: Mutex::new(ledger.losses()),
        anchor: Mutex::new(anchor),
        places,
        pressure: watch::channel(Pressure::None).0,
        disk: Mutex::default(),
        stopped: OnceLock::new(),
        unclean: is_unclean,
        options,
        clock,
        trust,
    });
    syscalls::watch(&shared.options.path, {
        let shared = Arc::downgrade(&shared);
        Arc::new(move |why| {
            if let Some(shared) = shared.upgrade() {
                shared.fail(why);
            }
        })
    });
    // What it names is durable: `meta` was committed, and `high` is behind it.
    shared.write_anchor();
    let began_with = (ledger.state.last_seq, ledger.state.dead_next - 1);
    let (jobs, inbox) = mpsc::channel();
    for job in found.seal_jobs(&head) {
        // The receiver is held right here.
        let _ = jobs.send(job);
    }
    let keeper = spawn("housekeeper", {
        let shared = shared.clone();
        let scrub = Scrub::new(dedup.files());
        move || housekeeper::run(&shared, &inbox, scrub)
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
        kept,
        high,
        jobs,
        housekeeper: Some(keeper),
        deleting: Vec::new(),
        merging: false,
        purged,
        began_with,
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

/// The dead letters that are queued again, with their periods and the names they went out under.
pub(super) fn apart(ledger: &Ledger) -> Apart {
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
