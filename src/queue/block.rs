//! A block: the events of one read of one connection, packed in the ingest task.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::id_hash::IdHasher;
use super::letter::Import;
use crate::clock::Millis;

/// Collects checked events of one connection until they are handed to the queue together.
pub struct BlockBuilder {
    hasher: IdHasher,
    accepted_at: Millis,
    ids: Vec<u128>,
    times: Vec<i64>,
    lens: Vec<u32>,
    bodies: Vec<u8>,
    ignored: u32,
    rejected: u32,
}

impl BlockBuilder {
    /// An empty block whose events count as accepted at `accepted_at`.
    pub fn new(hasher: IdHasher, accepted_at: Millis) -> Self {
        Self {
            hasher,
            accepted_at,
            ids: Vec::new(),
            times: Vec::new(),
            lens: Vec::new(),
            bodies: Vec::new(),
            ignored: 0,
            rejected: 0,
        }
    }

    /// Adds one event. `event_time` in Unix seconds; `body` is the line without its line end.
    pub fn push(&mut self, message_id: &str, event_time: i64, body: &[u8]) {
        self.push_hashed(self.hasher.hash(message_id), event_time, body);
    }

    fn push_hashed(&mut self, id_hash: u128, event_time: i64, body: &[u8]) {
        self.ids.push(id_hash);
        self.times.push(event_time);
        self.lens
            .push(u32::try_from(body.len()).unwrap_or(u32::MAX));
        self.bodies.extend_from_slice(body);
    }

    /// Counts answers `ignored` that are saved with this block.
    pub fn count_ignored(&mut self) {
        self.ignored += 1;
    }

    /// Counts answers `rejected` that are saved with this block.
    pub fn count_rejected(&mut self) {
        self.rejected += 1;
    }

    /// The moment at which its events count as accepted.
    pub fn accepted_at(&self) -> Millis {
        self.accepted_at
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no event was pushed (there may still be answers to count).
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes of bodies so far.
    pub fn bytes(&self) -> usize {
        self.bodies.len()
    }

    /// Adds the events and the counts of another one behind its own; they count as accepted when
    /// its own were.
    pub fn append(&mut self, other: &Self) {
        self.ids.extend_from_slice(&other.ids);
        self.times.extend_from_slice(&other.times);
        self.lens.extend_from_slice(&other.lens);
        self.bodies.extend_from_slice(&other.bodies);
        self.ignored += other.ignored;
        self.rejected += other.rejected;
    }

    /// The keyed hashes of its events' messageIds, in order.
    pub fn ids(&self) -> &[u128] {
        &self.ids
    }

    /// Packs and compresses. Meant for the ingest task, so that the committer need not.
    pub fn finish(self) -> Block {
        let plain = plain(&self.lens, &self.times, &self.bodies);
        Block {
            accepted_at: self.accepted_at,
            ids: self.ids,
            plain_len: plain.len(),
            packed: pack(&plain),
            ignored: self.ignored,
            rejected: self.rejected,
            takes_back: false,
        }
    }
}

/// A block's bytes before they are compressed.
fn plain(lens: &[u32], times: &[i64], bodies: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bodies.len() + lens.len() * 12);
    for len in lens {
        plain.extend_from_slice(&len.to_le_bytes());
    }
    for time in times {
        plain.extend_from_slice(&time.to_le_bytes());
    }
    plain.extend_from_slice(bodies);
    plain
}

/// Packs events again; gives the length of what is packed, too.
pub(crate) fn repack(items: &[Item]) -> (Bytes, usize) {
    let lens: Vec<u32> = items.iter().map(|item| item.body.len() as u32).collect();
    let times: Vec<i64> = items.iter().map(|item| item.event_time).collect();
    let bodies: Vec<u8> = items
        .iter()
        .flat_map(|item| item.body.iter().copied())
        .collect();
    let plain = plain(&lens, &times, &bodies);
    (pack(&plain), plain.len())
}

/// Level 1: about 9 times smaller at a hundred events for about 1 GB/s.
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    /// A compressor and its output, kept from block to block: making one costs more than the
    /// work on a small block does.
    static PACKER: RefCell<Option<(Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses. The bytes that come back take just their own length: they are held in numbers.
pub(crate) fn pack(plain: &[u8]) -> Bytes {
    PACKER.with_borrow_mut(|packer| {
        let (compressor, out) = packer.get_or_insert_with(|| {
            // Unwrap safety: fails only when memory is refused.
            (
                Compressor::new(ZSTD_LEVEL).expect("a compressor"),
                Vec::new(),
            )
        });
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        // Unwrap safety: compressing into a buffer of `compress_bound` does not fail.
        compressor
            .compress_to_buffer(plain, out)
            .expect("in-memory compression");
        let packed = Bytes::copy_from_slice(out);
        // One large event must not leave every thread with a large buffer.
        out.shrink_to(KEPT_BUFFER);
        packed
    })
}

const KEPT_BUFFER: usize = 256 << 10;

/// Packed events of one connection, ready to be committed as one unit.
#[derive(Debug, Clone)]
pub struct Block {
    pub(crate) accepted_at: Millis,
    pub(crate) ids: Vec<u128>,
    pub(crate) plain_len: usize,
    pub(crate) packed: Bytes,
    pub(crate) ignored: u32,
    pub(crate) rejected: u32,
    /// The operator's: takes the place of a dead letter also with the same bytes.
    pub(crate) takes_back: bool,
}

impl Block {
    /// A block of one event that comes back.
    pub(super) fn of(hasher: IdHasher, event: &Import) -> Self {
        let mut builder = BlockBuilder::new(hasher, event.accepted_at);
        builder.push_hashed(event.id_hash, event.event_time, &event.body);
        Self {
            takes_back: true,
            ..builder.finish()
        }
    }
}

/// One event inside an unpacked block.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) event_time: i64,
    pub(crate) body: Bytes,
}

/// Why a packed block could not be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored block cannot be unpacked: {0}")]
pub(crate) struct UnpackError(&'static str);

/// The best that zstd can do: a block of 128 KiB in 4 bytes.
const MOST_PER_BYTE: usize = 32 << 10;

/// The inverse of [`pack`]: exactly `plain_len` bytes.
pub(crate) fn unpack_bytes(packed: &[u8], plain_len: usize) -> Result<Vec<u8>, UnpackError> {
    // zstd makes room for what the frame claims before it looks at what is there.
    if plain_len / MOST_PER_BYTE > packed.len() {
        return Err(UnpackError("more than the packed bytes can hold"));
    }
    let plain = UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(Decompressor::new()?),
        };
        unpacker.decompress(packed, plain_len)
    });
    let plain = plain.map_err(|_: std::io::Error| UnpackError("zstd"))?;
    if plain.len() == plain_len {
        Ok(plain)
    } else {
        Err(UnpackError("length"))
    }
}

/// The inverse of [`BlockBuilder::finish`]: `count` events out of `packed`.
pub(crate) fn unpack(
    packed: &[u8],
    count: usize,
    plain_len: usize,
) -> Result<Vec<Item>, UnpackError> {
    let plain = Bytes::from(unpack_bytes(packed, plain_len)?);
    let head = count.checked_mul(12).ok_or(UnpackError("count"))?;
    if head > plain.len() {
        return Err(UnpackError("length"));
    }
    let (mut at, mut items) = (head, Vec::with_capacity(count));
    for i in 0..count {
        let len = u32::from_le_bytes(array(&plain, i * 4)) as usize;
        let end = at.checked_add(len).filter(|end| *end <= plain.len());
        let end = end.ok_or(UnpackError("body length"))?;
        items.push(Item {
            event_time: i64::from_le_bytes(array(&plain, count * 4 + i * 8)),
            body: plain.slice(at..end),
        });
        at = end;
    }
    Ok(items)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    // Unwrap safety: callers stay below `head`, which was checked against the length.
    bytes[at..at + N].try_into().expect("slice of N bytes")
}
