//! `pinrelay verify --repair`: a start, and what only reading finds taken out. It deletes nothing.

use std::path::Path;
use std::path::PathBuf;

use crate::clock::Clock;
use crate::queue::contract::{OpenError, Verdict};
use crate::queue::sled::account::{Identity, anchor, identity, peek};
use crate::queue::sled::disk::{
    QUARANTINE, SEEN, Store, StoreError, copy_durably, create_private_dir, generation_folder,
    is_there, layout::FORMAT, period_folder, quarantine,
};
use crate::queue::sled::engine::SledEngine;
use crate::queue::sled::options::Options;
use crate::queue::sled::verify::{check, walk::Piece};

/// Checks the queue as [`verify`](crate::queue::sled::verify::verify) does, mends what can be, and
/// checks it again. Returns what was found before and after.
///
/// # Errors
/// As [`verify`](crate::queue::sled::verify::verify), and those of opening the queue.
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
            engine.set_aside(generation, first, last).map_err(stopped)?;
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
    create_private_dir(&root.join(QUARANTINE))?;
    let mut copied = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Seen(name) => drop(quarantine::put(root, &root.join(SEEN).join(name), name)?),
            piece => {
                if let Some(store) = store_of(root, piece)?.filter(|s| !copied.contains(s)) {
                    let name = store.strip_prefix(root).unwrap_or(&store).display();
                    let name = format!("{}.copy", name.to_string().replace('/', "-"));
                    let copy = root.join(QUARANTINE).join("verify.deleting");
                    copy_durably(&store, &copy)?;
                    quarantine::put(root, &copy, &name)?;
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
        Piece::Letters { period, .. } => period_folder(root, *period),
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
        match Store::open(root, &path) {
            Ok(store) => match piece {
                Piece::Lines { first, last, .. } => store.remove_parts(*first, *last)?,
                Piece::Letters { first, .. } => store.remove_parts(*first, *first)?,
                _ => {}
            },
            // Its copy is kept, and all that was in it is settled.
            Err(StoreError::Damaged { .. }) => {
                crate::queue::sled::disk::files::delete_folder(&path)?
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the `format` file again where it is missing or damaged: from the account's copy, or
/// where that is gone too, with a new key, so that the queue opens. Then no messageId that was
/// accepted before is known again. Whether it was.
fn restore_format(root: &Path) -> Result<bool, StoreError> {
    let path = root.join(FORMAT);
    match identity::load(root) {
        Ok(Some(_)) => return Ok(false),
        Ok(None) | Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let beside = anchor::read(root)?;
    let known = match peek::identity(root)? {
        Some(identity) => Some(identity),
        None => beside.anchor().map(|anchor| anchor.identity.clone()),
    };
    if is_there(&path)? {
        quarantine::put(root, &path, FORMAT)?;
    }
    known.unwrap_or_else(|| Identity::new(None)).write(root)?;
    Ok(true)
}
