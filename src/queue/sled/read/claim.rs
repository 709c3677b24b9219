//! Handing out events first in, first out: from the newest chunks in memory, or from the
//! generations on disk; and dead letters that are queued again, a share of each claim.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::queue::contract::{
    CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, Entry, Origin, Seq, deferred_share,
};
use crate::queue::lock::lock;
use crate::queue::record::chunk::Chunk;
use crate::queue::sled::disk::{At, StoreError, retire};
use crate::queue::sled::line::{Claims, DeferredLetter, Met, find_chunk};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::runtime::{CommitterOp, Shared, period_store};

/// Takes up to `max_events` events of at most `max_bytes` together.
pub fn take(
    shared: &Shared,
    max_events: usize,
    max_bytes: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut claims = lock(&shared.claims);
    let in_hand = shared.bytes_in_hand.load(Ordering::Acquire);
    let window_end = Seq(shared.low_water.load(Ordering::Acquire)) + CLAIM_WINDOW_EVENTS;
    let mut taken: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    if in_hand >= CLAIM_WINDOW_BYTES {
        return Ok(taken);
    }
    let fits = |bytes: usize, len: usize, none: bool| {
        none || (bytes + len <= max_bytes && in_hand + bytes + len <= CLAIM_WINDOW_BYTES)
    };
    let deferred = lock(&shared.deferred).len();
    let line_share = max_events - deferred_share(max_events).min(deferred);
    while taken.len() < line_share && load(shared, &mut claims)? {
        let fits = claims.first_loaded().is_some_and(|entry| {
            let beyond = matches!(entry.id.origin(), Origin::Line(seq) if seq >= window_end);
            !beyond && fits(bytes, entry.body.len(), taken.is_empty())
        });
        let Some(entry) = fits.then(|| claims.hand_out()).flatten() else {
            break;
        };
        bytes += entry.body.len();
        taken.push(entry);
    }
    while taken.len() < max_events {
        let Some(letter) = lock(&shared.deferred).pop_front() else {
            break;
        };
        let Some(entry) = read_letter(shared, &mut claims, &letter)? else {
            continue;
        };
        if !fits(bytes, entry.body.len(), taken.is_empty()) {
            lock(&shared.deferred).push_front(letter);
            break;
        }
        bytes += entry.body.len();
        taken.push(Entry {
            sent_as: letter.sent_as,
            ..entry
        });
    }
    shared.bytes_in_hand.fetch_add(bytes, Ordering::AcqRel);
    Ok(taken)
}

/// A dead letter that is queued again; none if it had to be set aside.
fn read_letter(
    shared: &Shared,
    claims: &mut Claims,
    letter: &DeferredLetter,
) -> Result<Option<Entry>, StoreError> {
    let DeferredLetter { number, period, .. } = *letter;
    let read = claims
        .group
        .read(period, number, || period_store(shared, period));
    let read = match read {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::error!("{error}");
            None
        }
        read => read?,
    };
    if read.is_none() {
        tracing::error!("dead letter {number}, queued again, cannot be read: it is set aside");
        // A stopped committer means the process is ending; the next start meets it again.
        let _ = shared.ops.send(CommitterOp::SetLetterAside(number));
    }
    Ok(read)
}

/// Loads the next chunk that holds something unsettled; false if there is none.
fn load(shared: &Shared, claims: &mut Claims) -> Result<bool, StoreError> {
    while !claims.has_loaded() {
        let (committed, found) = {
            let tail = lock(&shared.tail);
            (tail.committed(), tail.find(claims.next()))
        };
        if claims.next() > committed {
            return Ok(false);
        }
        let chunk = match found {
            Some(chunk) => Some(chunk),
            None => read(shared, claims, committed)?,
        };
        let Some(chunk) = chunk else { continue };
        match chunk.entries() {
            Ok(entries) => {
                claims.load(entries);
                lock(&shared.tail).handed_out(&chunk);
                claims.pass(chunk.last_seq());
            }
            Err(error) => {
                tracing::error!(first_seq = %chunk.first_seq, "a stored chunk: {error}");
                let generation = claims.generations.holding(claims.next());
                set_aside(shared, claims, generation, chunk.last_seq());
            }
        }
    }
    Ok(true)
}

/// Events up to `last` cannot be read: they are settled as such and passed.
fn set_aside(shared: &Shared, claims: &mut Claims, generation: Option<Generation>, last: Seq) {
    // A stopped committer means the process is ending; the next start finds the gap again.
    let _ = shared.ops.send(CommitterOp::SetAside {
        generation,
        first: claims.next(),
        last,
    });
    claims.pass(last);
}

/// The chunk on disk that holds the next number; none if that stretch had to be set aside.
fn read(
    shared: &Shared,
    claims: &mut Claims,
    committed: Seq,
) -> Result<Option<Arc<Chunk>>, StoreError> {
    let next = claims.next();
    let Some(generation) = claims.generations.holding(next) else {
        let last = claims.generations.before_all(committed);
        set_aside(shared, claims, None, last);
        return Ok(None);
    };
    let end = claims.generations.end_of(generation, next, committed);
    let store = match claims.generations.keep_open(generation) {
        Ok(Some(store)) => store,
        // It was found under the same lock.
        Ok(None) => return Ok(None),
        Err(error @ StoreError::Damaged { .. }) => {
            if let Some(path) = shared.places.displaced()? {
                // It is no damage that all of the folder is gone.
                let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(source).at(&path);
            }
            let folder = claims.generations.folder(generation);
            let kept = retire(&shared.options.path, &folder)?;
            tracing::error!(
                "{error}; events {next} to {end} are set aside. As it was: {}",
                kept.map_or("gone".into(), |kept| kept.display().to_string())
            );
            set_aside(shared, claims, Some(generation), end);
            claims.generations.remove(generation);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match find_chunk(&store, next, end)? {
        Met::Chunk(chunk) => Ok(Some(Arc::new(chunk))),
        Met::Unreadable(last) => {
            tracing::error!(
                store = %store.path().display(),
                "events {next} to {last} cannot be read: they are set aside"
            );
            set_aside(shared, claims, Some(generation), last);
            Ok(None)
        }
    }
}
