//! Opening the queue: [`recover`] first, then the threads.

use std::sync::{Arc, Mutex, OnceLock, mpsc};

use tokio::sync::{Notify, Semaphore, watch};

use crate::clock::{Clock, Millis};
use crate::queue::contract::{IdHasher, OpenError};
use crate::queue::sled::account::{Anchor, anchor};
use crate::queue::sled::disk::{Evidence, syscalls};
use crate::queue::sled::ids::{DeliveredLetters, Scrub};
use crate::queue::sled::line::{Claims, Head, OpenGenerations, Tail, deferred::deferred};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::options::Options;
use crate::queue::sled::recovery::{Handover, Recovered, generations::Generations, recover};
use crate::queue::sled::runtime::{Job, Places, Pressure, ROOM_BYTES, Shared};
use crate::queue::sled::threads::{committer::Committer, housekeeper};

pub fn open(options: Options, clock: Clock) -> Result<Arc<Shared>, OpenError> {
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
        let evidence = Evidence::new(&options.path, &*tell, false);
        recover(&options, &clock, &evidence, &beside)?
    };
    let Recovered {
        identity,
        is_unclean,
        last_wall,
        found,
        dead,
        trust,
        handover,
    } = recovered;
    let Handover {
        high,
        meta,
        ledger,
        head,
        ..
    } = &handover;
    let root = options.path.clone();
    let census = ledger.census();
    tracing::info!(
        queue = %identity.id, accepted = census.accepted, queued = census.queued,
        in_doubt = census.in_doubt, dead = census.dead_total(), losses = ledger.losses.len(),
        "queue opened{}", if census.imbalance() == 0 { "; the ledger holds" } else { "" }
    );

    let delivered = DeliveredLetters::load(&meta.store)?;
    let deferred = deferred(ledger);
    let claims = Claims::new(
        ledger.cursor.clone(),
        ledger.marks.names(),
        OpenGenerations::new(&root, found.readable(head, ledger.state.last_seq)),
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
    let places = Places::of(&root, high, &meta.store)?;
    let (ops, receiver) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        hasher: IdHasher::new(identity.key),
        ops,
        room: Arc::new(Semaphore::new(ROOM_BYTES)),
        tail: Mutex::new(Tail::new(ledger.state.last_seq)),
        claims: Mutex::new(claims),
        deferred: Mutex::new(deferred),
        dead: Mutex::new(dead),
        opening: Mutex::default(),
        claimable: Notify::new(),
        low_water: ledger.cursor.low_water().0.into(),
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
    let (jobs, inbox) = mpsc::channel();
    for job in seal_jobs(found, head, |generation| {
        handover.dedup.sealed_at(generation).unwrap_or(last_wall)
    }) {
        // The receiver is held right here.
        let _ = jobs.send(job);
    }
    let keeper = spawn("housekeeper", {
        let shared = shared.clone();
        let scrub = Scrub::new(handover.dedup.files());
        move || housekeeper::run(&shared, &inbox, scrub)
    })?;
    let threads = (receiver, jobs, keeper);
    let committer = Committer::new(shared.clone(), threads, handover, delivered);
    spawn("committer", move || committer.run())?;
    Ok(shared)
}

/// Unsealed generations below the head are full, of age, or were left behind by a stop. `ended`:
/// when the last life that wrote to one ended, at the earliest. What was imported bears an older
/// time, and is remembered from its coming.
fn seal_jobs(found: Generations, head: &Head, ended: impl Fn(Generation) -> Millis) -> Vec<Job> {
    let below = found
        .unsealed
        .into_iter()
        .filter(|(generation, _)| *generation < head.generation);
    below
        .map(|(generation, unsealed)| match unsealed.numbers {
            None => Job::Delete {
                generation,
                is_held: false,
            },
            Some((first_seq, last_seq)) => Job::Seal {
                generation,
                store: unsealed.store,
                first_seq,
                last_seq,
                newest: unsealed.newest.max(ended(generation)),
                ids: unsealed.ids,
            },
        })
        .collect()
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
