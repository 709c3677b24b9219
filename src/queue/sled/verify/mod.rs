//! `pinrelay verify`: the promise, checked against what is on disk.
//!
//! With the daemon stopped, what a start does is done to a clone of the folder, so that whatever a
//! start would refuse or tell is found; then everything stored is read against the account that
//! came of it. In a running daemon the housekeeper walks over the open stores ([`live`]).
//! `--repair` is a start, and takes out what only reading finds; it deletes nothing.

mod clone;
mod live;
mod walk;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::account::is_new;
use super::anchor::{self, Beside};
use super::error::StoreError;
use super::files::{create_private_dir, is_there};
use super::guard::{Guard, copy_durably, keep};
use super::high::{Found, HighFile};
use super::identity::{self, Identity};
use super::meta::{IDENTITY, Meta};
use super::open::generation_folder;
use super::recovery::recover;
use super::state::State;
use super::store::Store;
use super::{Op, Options, SledEngine, period, syscalls};
use crate::clock::Clock;
use crate::queue::error::OpenError;
use crate::queue::verdict::{Finding, Verdict};
use clone::Scratch;
pub(super) use live::run as live;
use walk::{Piece, Walk};

const CUT_SHORT: &str =
    "the folder holds no queue yet: its making was cut short, and the next start makes it anew";

/// Checks the queue that these options are of, which no daemon has open. `tell` hears what is
/// being read.
///
/// # Errors
/// [`OpenError::InUse`] while a daemon runs on it; otherwise what kept it from being read.
pub fn verify(
    options: &Options,
    clock: &Clock,
    tell: &mut dyn FnMut(&str),
) -> Result<Verdict, OpenError> {
    let root = &options.path;
    let beside = anchor::read(root)?;
    // Nothing is made below the place where a disk belongs.
    if let Err(OpenError::Damaged(what)) = beside.refuse_unmounted(root) {
        return Ok(refused(what, "mount it"));
    }
    if !is_there(root)? {
        let nothing = format!(
            "queue folder {}: it does not exist; nothing was ever queued there",
            root.display()
        );
        let anchor = beside.anchor().ok_or(OpenError::Io(nothing))?;
        let what = format!(
            "its folder is gone: {} undelivered events and {} dead letters were in it",
            anchor.open, anchor.dead
        );
        let next = "mount it or put it back from a copy; without either, the next start counts \
                    them as set aside";
        let mut verdict = refused(what, next);
        verdict.notes.clear();
        return Ok(verdict);
    }
    let _lock = identity::lock(root)?;
    Ok(check(options, clock, beside, tell)?.0)
}

/// Checks the queue as [`verify`] does, mends what can be, and checks it again. Gives what was
/// found before and after.
///
/// # Errors
/// As [`verify`], and those of opening the queue.
pub fn repair(
    options: Options,
    clock: Clock,
    tell: &mut dyn FnMut(&str),
) -> Result<(Verdict, Verdict), OpenError> {
    let root = options.path.clone();
    anchor::read(&root)?.refuse_unmounted(&root)?;
    if !is_there(&root)? {
        return Err(OpenError::Io(format!(
            "queue folder {}: there is none to repair; mount it or put it back from a copy, or \
             start without it",
            root.display()
        )));
    }
    let (before, pieces) = {
        let _lock = identity::lock(&root)?;
        let (mut verdict, mut pieces) = check(&options, &clock, anchor::read(&root)?, tell)?;
        if !verdict.findings.is_empty() && restore_format(&root)? {
            // Without it nothing else could be judged.
            let (more, of_more) = check(&options, &clock, anchor::read(&root)?, tell)?;
            verdict.findings.extend(more.findings);
            pieces.extend(of_more);
        }
        move_aside(&root, &pieces)?;
        (verdict, pieces)
    };
    if before.findings.is_empty() {
        return Ok((before.clone(), before));
    }
    tell("repairing");
    // Opening mends the account and sets aside what no store holds.
    let engine = SledEngine::open(options.clone(), clock.clone())?;
    let stopped = |e: crate::queue::error::QueueError| OpenError::Io(e.to_string());
    for piece in &pieces {
        if let Piece::Lines {
            generation,
            first,
            last,
        } = piece
        {
            let (generation, first, last) = (*generation, *first, *last);
            let op = Op::SetAside {
                generation,
                first,
                last,
            };
            engine.send(op).map_err(stopped)?;
        }
    }
    engine.close_blocking().map_err(stopped)?;
    let _lock = identity::lock(&root)?;
    remove_rows(&root, &pieces)?;
    let (after, _) = check(&options, &clock, anchor::read(&root)?, tell)?;
    Ok((before, after))
}

/// Puts the evidence of what a repair will settle into `quarantine/`.
fn move_aside(root: &Path, pieces: &[Piece]) -> Result<(), StoreError> {
    create_private_dir(&root.join("quarantine"))?;
    let mut copied = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Seen(name) => drop(keep(root, &root.join("seen").join(name), name)?),
            piece => {
                if let Some(store) = store_of(root, piece)?.filter(|s| !copied.contains(s)) {
                    let name = store.strip_prefix(root).unwrap_or(&store).display();
                    let name = format!("{}.copy", name.to_string().replace('/', "-"));
                    let copy = root.join("quarantine/verify.deleting");
                    copy_durably(&store, &copy)?;
                    keep(root, &copy, &name)?;
                    copied.push(store);
                }
            }
        }
    }
    Ok(())
}

/// The folder of the store that a piece was read from.
fn store_of(root: &Path, piece: &Piece) -> Result<Option<PathBuf>, StoreError> {
    let path = match piece {
        Piece::Lines {
            generation: Some(generation),
            ..
        } => generation_folder(root, *generation),
        Piece::Letters { period, .. } => period::folder(&root.join("dead"), *period),
        _ => return Ok(None),
    };
    Ok(is_there(&path)?.then_some(path))
}

/// Takes what cannot be used out of the stores; their copies are in `quarantine/`.
fn remove_rows(root: &Path, pieces: &[Piece]) -> Result<(), StoreError> {
    for piece in pieces {
        // It may have gone with its generation.
        let Some(path) = store_of(root, piece)? else {
            continue;
        };
        let (first, last) = match piece {
            Piece::Lines { first, last, .. } => (*first, *last),
            Piece::Letters { first, .. } => (*first, *first),
            _ => continue,
        };
        match Store::open(root, &path) {
            Ok(store) => store.remove_parts(first, last)?,
            // Its copy is kept, and all that was in it is settled.
            Err(StoreError::Damaged { .. }) => super::files::delete_folder(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the `format` file again where it is missing or damaged: from the account's copy, or
/// where that is gone too, with a new key, so that the queue opens. Then no messageId that was
/// accepted before is known again. Whether it was.
fn restore_format(root: &Path) -> Result<bool, StoreError> {
    let path = root.join(identity::FILE);
    match identity::load(root) {
        Ok(Some(_)) => return Ok(false),
        Ok(None) | Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let beside = anchor::read(root)?;
    let known = match identity_in_meta(root)? {
        Some(identity) => Some(identity),
        None => beside.anchor().map(|anchor| anchor.identity.clone()),
    };
    if is_there(&path)? {
        keep(root, &path, identity::FILE)?;
    }
    known.unwrap_or_else(|| Identity::new(None)).write(root)?;
    Ok(true)
}

/// What the account has as the queue's identity; none where it cannot be read.
fn identity_in_meta(root: &Path) -> Result<Option<Identity>, StoreError> {
    let text = peek(root, |store| store.get(IDENTITY))?.flatten();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| identity::parse(&root.join(identity::FILE), &text).ok()))
}

/// The counters of the account; none where it cannot be read.
pub(super) fn peek_state(root: &Path) -> Result<Option<State>, StoreError> {
    peek(root, |store| Ok(Meta::read(store)?.state))
}

/// Looks into a copy of `meta`, for opening it writes; none where it is missing or damaged.
fn peek<T>(
    root: &Path,
    look: impl FnOnce(&Store) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    if !Meta::is_there(root)? {
        return Ok(None);
    }
    let scratch = Scratch::of_account(root)?;
    let looked =
        Store::open(scratch.path(), &Meta::folder(scratch.path())).and_then(|store| look(&store));
    scratch.remove()?;
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The verdict on a queue that a start would refuse.
fn refused(what: String, next: &str) -> Verdict {
    let mut verdict = Verdict {
        findings: vec![Finding {
            object: "the queue".into(),
            what,
            next: next.into(),
        }],
        ..Verdict::default()
    };
    let note = "a start would refuse it, so nothing else was judged";
    verdict.notes.push(note.into());
    verdict
}

fn check(
    options: &Options,
    clock: &Clock,
    mut beside: Beside,
    tell: &mut dyn FnMut(&str),
) -> Result<(Verdict, Vec<Piece>), OpenError> {
    let root = &options.path;
    syscalls::watch(root, options.on_failure.clone());
    if !is_there(&root.join(identity::FILE))?
        && !Meta::is_there(root)?
        && !is_there(&root.join("gen"))?
        && beside.anchor().is_none()
    {
        let mut verdict = Verdict::default();
        verdict.notes.push("the folder holds no queue yet".into());
        return Ok((verdict, Vec::new()));
    }
    if let Beside::Anchor(anchor) = &mut beside {
        // The folder is as it should be; the clone is no file system of its own.
        anchor.is_mount = false;
    }
    tell("all that a start reads");
    let scratch = Scratch::of(root)?;
    let checked = check_clone(options, clock, &beside, &scratch, tell);
    scratch.remove()?;
    let (mut verdict, pieces) = checked?;
    let quarantine = root.join("quarantine");
    let kept = match is_there(&quarantine)? {
        true => super::files::entries(&quarantine)?.len(),
        false => 0,
    };
    if kept > 0 {
        let note = format!("quarantine/ holds {kept} pieces of earlier damage");
        verdict.notes.push(note);
    }
    Ok((verdict, pieces))
}

/// Does to the clone what a start does, then reads all of it.
fn check_clone(
    options: &Options,
    clock: &Clock,
    beside: &Beside,
    scratch: &Scratch,
    tell: &mut dyn FnMut(&str),
) -> Result<(Verdict, Vec<Piece>), OpenError> {
    let root = scratch.path();
    let of_the_queue = |text: &str| {
        let queue = scratch.of_what().display().to_string();
        text.replace(&root.display().to_string(), &queue)
    };
    let options = Options {
        path: root.to_owned(),
        adopt: false,
        on_progress: Arc::new(|_| {}),
        ..options.clone()
    };
    let telling = RefCell::new(&mut *tell);
    let tell_reading = |what: &str| (telling.borrow_mut())(what.trim_start_matches("reading "));
    let is_cut_short = !Meta::is_there(root)? && {
        let high = match HighFile::look(&root.join("high"))? {
            Found::High(high) => high.state,
            Found::Nothing | Found::Damaged => State::default(),
        };
        beside.anchor().is_none() && is_new(root, &high)?
    };
    let guard = Guard::new(root, &tell_reading, true);
    let recovered = match recover(&options, clock, &guard, beside) {
        Ok(recovered) => recovered,
        Err(OpenError::Foreign(what)) => {
            return Ok((refused(of_the_queue(&what), "do as it says"), Vec::new()));
        }
        Err(OpenError::Damaged(what)) => {
            let what = of_the_queue(&what);
            let next = match identity::load(scratch.of_what()) {
                Ok(Some(_)) => "do as it says",
                _ => match identity_in_meta(scratch.of_what())? {
                    Some(_) => "run `pinrelay verify --repair`: the account holds a copy",
                    None => {
                        "put it back from a backup of this queue; without one, `pinrelay verify \
                         --repair` makes a new key, and no messageId that was accepted before is \
                         known again"
                    }
                },
            };
            return Ok((refused(what, next), Vec::new()));
        }
        Err(error) => return Err(error),
    };
    let findings = guard.findings.take();
    if is_cut_short && findings.is_empty() {
        let mut verdict = Verdict::default();
        verdict.notes.push(CUT_SHORT.into());
        return Ok((verdict, Vec::new()));
    }
    // Its stores are closed: the walk opens them one at a time.
    let ledger = recovered.into_ledger();
    let walk = Walk::new(&ledger).all(root, &mut scratch.stores(), false, tell)?;
    let (mut verdict, pieces) = (walk.verdict, walk.pieces);
    verdict.findings.splice(0..0, findings);
    for text in verdict
        .findings
        .iter_mut()
        .flat_map(|f| [&mut f.what, &mut f.next])
    {
        *text = of_the_queue(text);
    }
    for loss in ledger.losses() {
        verdict
            .notes
            .push(format!("not acknowledged: {}", loss.words()));
    }
    Ok((verdict, pieces))
}
