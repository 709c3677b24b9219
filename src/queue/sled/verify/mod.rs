//! `pinrelay verify`: the promise, checked against what is on disk.
//!
//! With the daemon stopped, what a start does is done to a clone of the folder, so that whatever a
//! start would refuse or tell is found; then everything stored is read against the account that
//! came of it. In a running daemon the housekeeper walks over the open stores ([`live`]).
//! `--repair` is a start, and takes out what only reading finds; it deletes nothing.

mod clone;
pub mod live;
pub mod walk;

use std::cell::RefCell;
use std::sync::Arc;

use crate::clock::Clock;
use crate::queue::contract::{Finding, OpenError, Verdict};
use crate::queue::sled::account::{Beside, Found, HighFile, Meta, anchor, identity, is_new, peek};
use crate::queue::sled::disk::{
    Evidence, GENERATIONS, QUARANTINE, Scratch, is_there,
    layout::{FORMAT, HIGH},
    syscalls,
};
use crate::queue::sled::options::Options;
use crate::queue::sled::record::State;
use crate::queue::sled::recovery::recover;
use crate::queue::sled::verify::{
    clone::Cloned,
    walk::{Piece, Walk},
};

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

/// Checks a queue that is locked for this process. Gives what a repair has to deal with, too.
pub fn check(
    options: &Options,
    clock: &Clock,
    mut beside: Beside,
    tell: &mut dyn FnMut(&str),
) -> Result<(Verdict, Vec<Piece>), OpenError> {
    let root = &options.path;
    syscalls::watch(root, options.on_failure.clone());
    if !is_there(&root.join(FORMAT))?
        && !Meta::is_there(root)?
        && !is_there(&root.join(GENERATIONS))?
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
    let quarantine = root.join(QUARANTINE);
    let kept = match is_there(&quarantine)? {
        true => crate::queue::sled::disk::files::entries(&quarantine)?.len(),
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
        let high = match HighFile::look(&root.join(HIGH))? {
            Found::High(high) => high.state,
            Found::Nothing | Found::Damaged => State::default(),
        };
        beside.anchor().is_none() && is_new(root, &high)?
    };
    let evidence = Evidence::new(root, &tell_reading, true);
    let recovered = match recover(&options, clock, &evidence, beside) {
        Ok(recovered) => recovered,
        Err(OpenError::Foreign(what)) => {
            return Ok((refused(of_the_queue(&what), "do as it says"), Vec::new()));
        }
        Err(OpenError::Damaged(what)) => {
            let what = of_the_queue(&what);
            let next = match identity::load(scratch.of_what()) {
                Ok(Some(_)) => "do as it says",
                _ => match peek::identity(scratch.of_what())? {
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
    let findings = evidence.findings.take();
    if is_cut_short && findings.is_empty() {
        let mut verdict = Verdict::default();
        verdict.notes.push(CUT_SHORT.into());
        return Ok((verdict, Vec::new()));
    }
    // Its stores are closed: the walk opens them one at a time.
    let ledger = recovered.into_ledger();
    let walk = Walk::new(&ledger).all(root, &mut Cloned::of(scratch), false, tell)?;
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
            .push(format!("not acknowledged: {}", loss.message()));
    }
    Ok((verdict, pieces))
}
