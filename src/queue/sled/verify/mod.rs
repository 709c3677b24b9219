//! `pinrelay verify`: the promise, checked against what is on disk.
//!
//! With the daemon stopped each store is copied and the copy is opened, for opening writes. In a
//! running daemon the housekeeper walks over the open stores ([`live`]). `--repair` moves what is
//! damaged to `quarantine/` and settles its events as set aside; it deletes nothing.

mod live;
mod walk;

use std::path::{Path, PathBuf};

pub(super) use live::run as live;
use walk::{Piece, Stores, Walk};

use super::account::is_new;
use super::error::{At, StoreError};
use super::files::create_private_dir;
use super::guard::{copy_durably, copy_folder, keep};
use super::high::{Found, HighFile};
use super::identity::{self, Identity};
use super::ledger::Ledger;
use super::meta::{IDENTITY, Meta};
use super::open::generation_folder;
use super::store::Store;
use super::{Op, Options, SledEngine, period};
use crate::clock::Clock;
use crate::queue::OpenError;
use crate::queue::verdict::{Finding, Verdict};

const CUT_SHORT: &str =
    "the folder holds no queue yet: its making was cut short, and the next start makes it anew";

/// Checks the queue at `root`, which no daemon has open. `tell` hears what is being read.
///
/// # Errors
/// [`OpenError::InUse`] while a daemon runs on it; otherwise what kept it from being read.
pub fn verify(root: &Path, tell: &mut dyn FnMut(&str)) -> Result<Verdict, OpenError> {
    if !root.is_dir() {
        return Err(OpenError::Io(format!(
            "queue folder {}: it does not exist; nothing was ever queued there",
            root.display()
        )));
    }
    let _lock = identity::lock(root)?;
    Ok(check(root, tell)?.0)
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
    let (before, pieces) = {
        let _lock = identity::lock(&root)?;
        let (verdict, pieces) = check(&root, tell)?;
        move_aside(&root, &pieces)?;
        (verdict, pieces)
    };
    if before.findings.is_empty() {
        return Ok((before.clone(), before));
    }
    tell("repairing");
    // Opening mends the account and sets aside what no store holds.
    let engine = SledEngine::open(options, clock)?;
    let stopped = |e: crate::queue::QueueError| OpenError::Io(e.to_string());
    for piece in &pieces {
        if let Piece::Lines { first, last, .. } = piece {
            let (first, last) = (*first, *last);
            engine.send(Op::SetAside { first, last }).map_err(stopped)?;
        }
    }
    engine.close_blocking().map_err(stopped)?;
    let _lock = identity::lock(&root)?;
    remove_rows(&root, &pieces)?;
    let (after, _) = check(&root, tell)?;
    Ok((before, after))
}

/// Puts the evidence of what a repair will settle into `quarantine/`.
fn move_aside(root: &Path, pieces: &[Piece]) -> Result<(), StoreError> {
    create_private_dir(&root.join("quarantine"))?;
    let mut copied = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Seen(name) => drop(keep(root, &root.join("seen").join(name), name)?),
            Piece::Format => restore_format(root)?,
            piece => {
                if let Some(store) = store_of(root, piece).filter(|s| !copied.contains(s)) {
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
fn store_of(root: &Path, piece: &Piece) -> Option<PathBuf> {
    let path = match piece {
        Piece::Lines {
            generation: Some(generation),
            ..
        } => generation_folder(root, *generation),
        Piece::Letters { period, .. } => period::folder(&root.join("dead"), *period),
        _ => return None,
    };
    path.exists().then_some(path)
}

/// Takes what cannot be used out of the stores; their copies are in `quarantine/`.
fn remove_rows(root: &Path, pieces: &[Piece]) -> Result<(), StoreError> {
    for piece in pieces {
        // It may have gone with its generation.
        let Some(path) = store_of(root, piece) else {
            continue;
        };
        let (first, last) = match piece {
            Piece::Lines { first, last, .. } => (*first, *last),
            Piece::Letters { first, .. } => (*first, *first),
            _ => continue,
        };
        match Store::open(&path) {
            Ok(store) => store.remove_parts(first, last)?,
            // Its copy is kept, and all that was in it is settled.
            Err(StoreError::Damaged { .. }) => super::files::delete_folder(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the `format` file again from the account's copy.
fn restore_format(root: &Path) -> Result<(), StoreError> {
    let path = root.join(identity::FILE);
    if let Some(identity) = identity_in_meta(root)? {
        if path.exists() {
            keep(root, &path, identity::FILE)?;
        }
        identity.write(root)?;
    }
    Ok(())
}

fn identity_in_meta(root: &Path) -> Result<Option<Identity>, StoreError> {
    let mut text = None;
    Copies::new(root).show(&Meta::folder(root), &mut |store| {
        text = store.get(IDENTITY).ok().flatten();
    })?;
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| identity::parse(&root.join(identity::FILE), &text).ok()))
}

fn check(root: &Path, tell: &mut dyn FnMut(&str)) -> Result<(Verdict, Vec<Piece>), StoreError> {
    let mut early: Vec<(Piece, Finding)> = Vec::new();
    let mut find = |piece, object: &str, what: String, next: &str| {
        let (object, next) = (object.into(), next.into());
        early.push((piece, Finding { object, what, next }));
    };
    let noted = |note: &str| {
        let mut verdict = Verdict::default();
        verdict.notes.push(note.into());
        Ok((verdict, Vec::new()))
    };
    let identity = identity::load(root);
    let is_known = matches!(identity, Ok(Some(_)));
    match identity {
        Ok(Some(_)) => {}
        Ok(None) if !Meta::is_there(root)? => return noted("the folder holds no queue yet"),
        Ok(None) | Err(StoreError::Damaged { .. }) => {
            let next = match identity_in_meta(root) {
                Ok(Some(_)) => "run `pinrelay verify --repair`: the account holds a copy",
                _ => "restore it from a backup of this queue, or move the folder away",
            };
            let what = "the key of the messageIds is missing or damaged".into();
            find(Piece::Format, identity::FILE, what, next);
        }
        Err(error) => return Err(error),
    }
    const REPAIR: &str = "start the daemon, which mends it, or run `pinrelay verify --repair`";
    let looked = match HighFile::look(&root.join("high"))? {
        Found::High(high) => Some(high.state),
        Found::Nothing | Found::Damaged => None,
    };
    // A crash may leave `high` and `meta` torn in any way while they are made.
    let is_new = is_known && is_new(root, &looked.unwrap_or_default())?;
    if is_new && !Meta::is_there(root)? {
        return noted(CUT_SHORT);
    }
    let high = match looked {
        Some(high) => Some(high),
        None => {
            let what = "it is damaged or missing: whether a store was cut short cannot be told";
            find(Piece::AtOpen, "high", what.into(), REPAIR);
            None
        }
    };
    tell("meta");
    let mut copies = Copies::new(root);
    let ledger = match copies.account() {
        Ok(ledger) => ledger,
        Err(StoreError::Damaged { .. }) if is_new => return noted(CUT_SHORT),
        Err(error @ StoreError::Damaged { .. }) => {
            find(Piece::AtOpen, "meta", error.to_string(), REPAIR);
            let (pieces, findings) = early.into_iter().unzip();
            let mut verdict = Verdict {
                findings,
                ..Verdict::default()
            };
            let note = "without the account nothing else can be judged";
            verdict.notes.push(note.into());
            return Ok((verdict, pieces));
        }
        Err(error) => return Err(error),
    };
    let walk = Walk::new(&ledger, high).all(root, &mut copies, false, tell)?;
    let (mut verdict, mut pieces) = (walk.verdict, walk.pieces);
    for (piece, finding) in early {
        verdict.findings.push(finding);
        pieces.push(piece);
    }
    let kept = std::fs::read_dir(root.join("quarantine")).map_or(0, Iterator::count);
    if kept > 0 {
        let note = format!("quarantine/ holds {kept} pieces of earlier damage");
        verdict.notes.push(note);
    }
    Ok((verdict, pieces))
}

/// Stores looked at through copies, one at a time: opening one writes to it.
struct Copies {
    root: PathBuf,
}

impl Copies {
    fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    fn show(&self, store: &Path, look: &mut dyn FnMut(&Store)) -> Result<(), StoreError> {
        let quarantine = self.root.join("quarantine");
        create_private_dir(&quarantine)?;
        // Swept at the next start, should this process end here.
        let copy = quarantine.join("verify.deleting");
        if copy.exists() {
            std::fs::remove_dir_all(&copy).at(&copy)?;
        }
        let copied = copy_folder(store, &copy);
        let opened = copied.and_then(|()| Store::open(&copy));
        let opened = opened.map(|opened| look(&opened.copy_of(store)));
        if copy.exists() {
            // Also where there was no room for all of it.
            std::fs::remove_dir_all(&copy).at(&copy)?;
        }
        // The copy is gone; what is wrong is wrong with the store.
        opened.map_err(|error| match error {
            StoreError::Damaged { what, .. } => StoreError::damaged(store, &what),
            error => error,
        })
    }

    /// The account, checked row by row.
    fn account(&mut self) -> Result<Ledger, StoreError> {
        let path = Meta::folder(&self.root);
        if !Meta::is_there(&self.root)? {
            return Err(StoreError::damaged(&path, "it is missing"));
        }
        let mut ledger = None;
        self.show(&path, &mut |store| {
            ledger = Some(Meta::read(store).and_then(|rows| {
                if Meta::is_unfinished(store)? {
                    let what = "a start ended while it made the account anew";
                    return Err(StoreError::damaged(store.path(), what));
                }
                Ledger::load(store, rows.state)
            }));
        })?;
        ledger.unwrap_or_else(|| Err(StoreError::damaged(&path, "it cannot be read")))
    }
}

impl Stores for Copies {
    fn generations(&self) -> Vec<u64> {
        let folders = std::fs::read_dir(self.root.join("gen"));
        let mut generations: Vec<u64> = folders
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|g| !Store::is_unborn(&generation_folder(&self.root, *g)).unwrap_or(false))
            .collect();
        generations.sort_unstable();
        generations
    }

    fn generation(
        &mut self,
        generation: u64,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError> {
        self.show(&generation_folder(&self.root, generation), look)
    }

    fn period(&mut self, period: u64, look: &mut dyn FnMut(&Store)) -> Result<bool, StoreError> {
        let path = period::folder(&self.root.join("dead"), period);
        if !path.exists() {
            return Err(StoreError::damaged(&path, "it is missing"));
        }
        self.show(&path, look)?;
        Ok(true)
    }
}
