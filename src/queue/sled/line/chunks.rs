//! Reading chunks of events from a generation's store.

use crate::queue::contract::{Number, Seq};
use crate::queue::record::chunk::{self, Chunk};
use crate::queue::sled::disk::{Store, StoreError, part_key, split_part};

/// What there is at a number of the line.
pub enum Met {
    Chunk(Chunk),
    /// It is in a stretch that cannot be read, which ends with this number.
    Unreadable(Seq),
}

/// What a store has at `seq`, which lies in it; it ends with number `end`.
pub fn find_chunk(store: &Store, seq: Seq, end: Seq) -> Result<Met, StoreError> {
    let first = match at_or_below(store, seq) {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::error!("{error}");
            None
        }
        first => first?,
    };
    match first.map(|first| read_chunk(store, first)) {
        Some(Ok(chunk)) if chunk.last_seq() >= seq => return Ok(Met::Chunk(chunk)),
        None | Some(Ok(_) | Err(StoreError::Damaged { .. })) => {}
        Some(Err(error)) => return Err(error),
    }
    // The first chunk that begins behind it ends the stretch.
    let next = store
        .firsts::<Seq>()?
        .0
        .into_iter()
        .find(|first| *first > seq);
    Ok(Met::Unreadable(
        next.map_or(end, |next| (next - 1).min(end)),
    ))
}

/// The first number of the chunk that begins at `seq` or last before it.
fn at_or_below(store: &Store, seq: Seq) -> Result<Option<Seq>, StoreError> {
    let limit = part_key(&chunk::key(seq), u16::MAX);
    let key = store.key_at_or_below(&limit)?;
    let prefix = key.as_deref().and_then(split_part);
    Ok(prefix.and_then(|(prefix, _)| Seq::of_key(prefix)))
}

/// Reads the chunk that begins with `first`.
pub fn read_chunk(store: &Store, first: Seq) -> Result<Chunk, StoreError> {
    let bad = |bad| StoreError::bad(store.path(), &format!("the chunk of event {first}"), bad);
    let bytes = store.read_parts(first)?.map_err(bad)?;
    Chunk::decode(first, &bytes).map_err(bad)
}
