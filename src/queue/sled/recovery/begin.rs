//! Whose folder it is, and whether it may be touched.

use std::path::Path;

use crate::queue::contract::OpenError;
use crate::queue::sled::account::{
    Anchor, Beside, Found, High, HighFile, Identity, Meta, identity, meta, peek,
};
use crate::queue::sled::disk::{
    DEAD, Evidence, GENERATIONS, PURGED, QUARANTINE, SEEN, create_private_dir, is_there,
    layout::{FORMAT, HIGH},
    sweep, sync_dir,
};
use crate::queue::sled::options::Options;
use crate::queue::sled::record::State;

/// Whose queue this is, and the counters that it must at least have.
pub struct Begun {
    pub lock: identity::Lock,
    pub identity: Identity,
    pub high_file: HighFile,
    pub high: High,
}

/// Takes the folder, and refuses one that is not to be touched.
pub fn begin(
    options: &Options,
    evidence: &Evidence<'_>,
    beside: &Beside,
) -> Result<Begun, OpenError> {
    let root = &options.path;
    let machine_id = options.machine_id.as_deref();
    if !options.adopt {
        // Before the folder is made: nobody is to write below the place where a disk belongs.
        beside.refuse_unmounted(root)?;
    }
    let lock = identity::lock(root)?;
    if let Beside::Damaged(path) = beside {
        let what = "it cannot be used: whether the folder was put back from a copy cannot be told";
        evidence.found(
            &path.display().to_string(),
            what.into(),
            "it is written anew",
        );
    }
    // Somebody who writes into it still, as it is emptied, may leave the beginnings of a store.
    let is_empty =
        !is_there(&root.join(FORMAT))? && !Meta::is_there(root)? && !meta::holds_anything(root)?;
    if options.adopt && is_empty && beside.anchor().is_none() {
        return Err(OpenError::Io(format!(
            "queue folder {}: it holds no queue to adopt; restore it there first",
            root.display()
        )));
    }
    let identity = match (identity::load(root)?, beside.anchor()) {
        (Some(identity), Some(anchor)) if !options.adopt => {
            refuse_put_back(root, &identity, anchor)?;
            identity
        }
        (Some(identity), _) => identity,
        (None, Some(anchor)) => {
            if is_empty {
                evidence.found(
                    "the queue",
                    format!(
                        "its folder was emptied: {} undelivered events and {} dead letters were \
                         in it",
                        anchor.open, anchor.dead
                    ),
                    "they are counted as set aside; if there is a backup, stop, put it back, and \
                     `pinrelay adopt`",
                );
            } else {
                let next = "it is written anew from what stands beside the folder";
                evidence.found(FORMAT, "it is missing".into(), next);
            }
            anchor.identity.write(root)?;
            anchor.identity.clone()
        }
        (None, None) => identity::load_or_create(root, machine_id)?,
    };
    if !options.adopt && !identity.is_at_home(machine_id) {
        return Err(OpenError::Foreign(format!(
            "queue folder {}: it was made on another machine, which may still send its events. \
             If that one is stopped for good, or this is a restored copy: `pinrelay adopt`",
            root.display()
        )));
    }
    // Names that a killed process made and did not sync are found and built upon: they have to
    // be durable before what follows from them is.
    sync_dir(root)?;
    for dir in [GENERATIONS, SEEN, QUARANTINE, DEAD, PURGED] {
        create_private_dir(&root.join(dir))?;
        sweep(&root.join(dir))?;
        sync_dir(&root.join(dir))?;
    }
    sweep(root)?;
    // A store's making syncs its name in its folder, not that folder's name in here.
    sync_dir(root)?;
    let (high_file, found) = HighFile::open(&root.join(HIGH))?;
    // One that was adopted since knows more than the anchor, or less, and is believed.
    let anchored = beside.anchor().filter(|_| !options.adopt || is_empty);
    let anchored = anchored.map_or(State::default(), |anchor| anchor.state);
    let high = match found {
        Found::High(high) => High {
            state: high.state.newest(&anchored),
            ..high
        },
        // The first start of a new queue, or one that was cut short, even while it wrote this
        // file: it is synced before `meta` is made.
        Found::Nothing | Found::Damaged
            if !Meta::is_there(root)? && meta::is_new(root, &anchored)? =>
        {
            High {
                clean: true,
                ..High::default()
            }
        }
        Found::Nothing | Found::Damaged => {
            let what = match anchored == State::default() {
                true => {
                    "it is damaged or missing: whether a store was cut short cannot be told this \
                     time"
                }
                false => "it is damaged or missing",
            };
            evidence.found("high", what.into(), "it is written anew");
            High {
                state: anchored,
                ..High::default()
            }
        }
    };
    Ok(Begun {
        lock,
        identity,
        high_file,
        high,
    })
}

/// A folder that is behind what was here last was put back from a copy: what it has as queued may
/// have been delivered since.
fn refuse_put_back(root: &Path, identity: &Identity, anchor: &Anchor) -> Result<(), OpenError> {
    let refused = |what: String| {
        Err(OpenError::Foreign(format!(
            "queue folder {}: {what}. If it was restored from a copy on purpose: `pinrelay adopt`",
            root.display()
        )))
    };
    if identity.id != anchor.identity.id {
        return refused(format!(
            "queue {} stands where queue {} was last",
            identity.id, anchor.identity.id
        ));
    }
    let last = anchor.state.settle_no;
    let behind = |state: &State| state.settle_no < last;
    match HighFile::look(&root.join(HIGH))? {
        Found::High(high) if behind(&high.state) => {}
        _ => return Ok(()),
    }
    // The file alone may be damaged; the account is the judge.
    match peek::state(root)? {
        Some(state) if behind(&state) => refused(format!(
            "it is older than what was here last, {} writes of its account are missing",
            last - state.settle_no
        )),
        _ => Ok(()),
    }
}
