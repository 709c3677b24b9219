//! Taking the bytes of what is gone out of a store that stays, since others in it wait or are dead.
//!
//! sled leaves what is removed in its log. So a successor is written that holds the rest under the
//! same keys, and takes the folder's name in one step; numbers, ids and the account stay as they
//! are, and a crash leaves the one or the other.

use std::path::{Path, PathBuf};

use crate::queue::contract::{LetterNumber, Number, Seq};
use crate::queue::lock::lock;
use crate::queue::ranges::{Cursor, RangeSet};
use crate::queue::record::dead_record;
use crate::queue::sled::account::Period;
use crate::queue::sled::dead::{heads, read_letters};
use crate::queue::sled::disk::{
    At, Batch, Store, StoreError, disk_usage, exchange, forget_copy, generation_folder, has_room,
    is_there, parts, period_folder, retry_without_fds, successor,
};
use crate::queue::sled::line::read_chunk;
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::runtime::{Shared, period_store};

/// Operations in one batch.
const MAX_OPS: usize = 400;

/// Why the bytes stay for now.
const NO_ROOM: &str = "there is no room to write its rest anew; free some of the disk";
const NO_EXCHANGE: &str =
    "this file system cannot exchange two folders; use ext4, XFS, btrfs or another that can";

/// What a store without the bytes of what is gone came to.
enum Rest {
    /// It holds none of them.
    NotNeeded,
    /// They stay for now, which was told.
    Later,
    Written(PathBuf),
}

/// Takes the bytes of settled events out of a full generation. One in which something is damaged
/// stays as it is: claiming meets that, and keeps it. Whether none is left; false: to be tried
/// again.
pub fn generation(
    shared: &Shared,
    generation: Generation,
    settled: &Cursor,
) -> Result<bool, StoreError> {
    let held = lock(&shared.claims).generations.hold(generation);
    let store = match held {
        Ok(Some(store)) => store,
        Ok(None) => return Ok(false),
        Err(StoreError::Damaged { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let path = generation_folder(&shared.options.path, generation);
    let written = write_events(shared, &store, &path, settled);
    // Nobody opens it between the two.
    let mut claims = lock(&shared.claims);
    claims.generations.close(generation);
    drop(store);
    let next = match passing_damage(written)? {
        Rest::Written(next) => next,
        rest => return Ok(matches!(rest, Rest::NotNeeded)),
    };
    let is_exchanged = claims.generations.holds(generation) && exchange(&path, &next)?;
    drop(claims);
    finish(shared, &path, &next, is_exchanged)
}

/// Takes the bytes of letters that are gone out of a past period. `numbers`: of the period.
pub fn period(
    shared: &Shared,
    period: PeriodNumber,
    numbers: &Period,
    gone: &RangeSet<LetterNumber>,
) -> Result<bool, StoreError> {
    let store = match period_store(shared, period) {
        Ok(Some(store)) => store,
        Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let path = period_folder(&shared.options.path, period);
    let written = write_letters(shared, &store, &path, numbers, gone);
    drop(store);
    let next = match passing_damage(written)? {
        Rest::Written(next) => next,
        rest => return Ok(matches!(rest, Rest::NotNeeded)),
    };
    let opening = lock(&shared.opening);
    let is_exchanged = is_there(&path)? && lock(&shared.dead).exchange(&opening, period, &next)?;
    drop(opening);
    finish(shared, &path, &next, is_exchanged)
}

/// The generation without the bytes of what is settled.
fn write_events(
    shared: &Shared,
    store: &Store,
    path: &Path,
    settled: &Cursor,
) -> Result<Rest, StoreError> {
    let (firsts, met) = store.firsts::<Seq>()?;
    if let Some(damage) = met {
        return Err(damage);
    }
    let read = |first| {
        let chunk = read_chunk(store, first)?;
        let erased = chunk.erased(|seq| settled.is_settled(seq));
        let erased = erased.map_err(|bad| StoreError::bad(store.path(), "its events", bad))?;
        Ok::<_, StoreError>((chunk, erased))
    };
    let mut is_needed = false;
    for first in &firsts {
        is_needed |= read(*first)?.1.is_some();
    }
    if !is_needed {
        return Ok(Rest::NotNeeded);
    }
    if !may_write(shared, path)? {
        return Ok(Rest::Later);
    }
    let mut next = Successor::begin(path)?;
    for first in firsts {
        let (chunk, erased) = read(first)?;
        next.put(first, &erased.unwrap_or(chunk).encode())?;
    }
    next.close(&shared.options.path).map(Rest::Written)
}

/// The period without the bytes of what is gone.
fn write_letters(
    shared: &Shared,
    store: &Store,
    path: &Path,
    numbers: &Period,
    gone: &RangeSet<LetterNumber>,
) -> Result<Rest, StoreError> {
    let (firsts, met) = store.firsts::<LetterNumber>()?;
    if let Some(damage) = met {
        return Err(damage);
    }
    // What a crash left beyond the period's end was never counted, and may hold anything.
    let (firsts, beyond): (Vec<_>, Vec<_>) =
        firsts.into_iter().partition(|first| numbers.holds(*first));
    let has_bytes = heads(store)?
        .iter()
        .any(|(number, head)| gone.contains(*number) && !head.is_erased());
    if !has_bytes && beyond.is_empty() {
        return Ok(Rest::NotNeeded);
    }
    if !may_write(shared, path)? {
        return Ok(Rest::Later);
    }
    let mut next = Successor::begin(path)?;
    for first in firsts {
        let mut records = read_letters(store, first)?;
        for (number, record) in first.onward().zip(&mut records) {
            if gone.contains(number) || !numbers.holds(number) {
                record.erase();
            }
        }
        next.put(first, &dead_record::encode(&records))?;
    }
    next.close(&shared.options.path).map(Rest::Written)
}

/// Whether there is room for the rest beside it, which is told if not.
fn may_write(shared: &Shared, path: &Path) -> Result<bool, StoreError> {
    let has_room = has_room(&shared.options.path, disk_usage(path)?)?;
    if !has_room {
        tell(shared, path, NO_ROOM);
    }
    Ok(has_room)
}

fn tell(shared: &Shared, path: &Path, why: &str) {
    let name = path.strip_prefix(&shared.options.path).unwrap_or(path);
    tracing::warn!(
        "{}: the bytes of what was delivered or purged stay on the disk for now: {why}",
        name.display()
    );
}

/// A damaged store is nobody's here to tell of, and stays as it is.
fn passing_damage(written: Result<Rest, StoreError>) -> Result<Rest, StoreError> {
    match written {
        Err(StoreError::Damaged { .. }) => Ok(Rest::NotNeeded),
        written => written,
    }
}

/// Deletes the one of the two that is not needed, and a copy of what was there before.
fn finish(
    shared: &Shared,
    path: &Path,
    other: &Path,
    is_exchanged: bool,
) -> Result<bool, StoreError> {
    if is_exchanged {
        forget_copy(&shared.options.path, path)?;
    } else if is_there(path)? {
        tell(shared, path, NO_EXCHANGE);
    }
    retry_without_fds(|| std::fs::remove_dir_all(other)).at(other)?;
    Ok(is_exchanged)
}

/// The store that is to take another's place. Until then it bears a name that a start deletes.
struct Successor {
    store: Store,
    batch: Batch,
}

impl Successor {
    fn begin(of: &Path) -> Result<Self, StoreError> {
        let path = successor(of);
        if is_there(&path)? {
            retry_without_fds(|| std::fs::remove_dir_all(&path)).at(&path)?;
        }
        Ok(Self {
            store: Store::create(&path)?,
            batch: Batch::default(),
        })
    }

    fn put(&mut self, number: impl Number, bytes: &[u8]) -> Result<(), StoreError> {
        if self.batch.len() > 0 && self.batch.len() + parts(bytes.len()) > MAX_OPS {
            self.store.commit(std::mem::take(&mut self.batch))?;
        }
        self.batch.put_parts(&number.to_key(), bytes);
        Ok(())
    }

    /// Closes it, opened once more so that its snapshot stands; gives where it is.
    fn close(self, root: &Path) -> Result<PathBuf, StoreError> {
        let path = self.store.path().to_owned();
        self.store.commit(self.batch)?;
        drop(self.store);
        drop(Store::open(root, &path)?);
        forget_copy(root, &path)?;
        Ok(path)
    }
}
