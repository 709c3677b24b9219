//! What holds of stored bytes, whatever the disk gives back.
//!
//! Behind a checksum, damage does not get this far; a fault of ours that wrote nonsense would.

use std::sync::Arc;

use crate::queue::block;
use crate::queue::block::BlockBuilder;
use crate::queue::contract::{EntryId, IdHasher, LetterNumber, Number, Seq};
use crate::queue::record::{
    chunk::{AcceptTotals, Chunk},
    codec::{self, DecodeError, Reader, Writer},
    dead_record, mark,
};
use crate::queue::sled::account::high_water;
use crate::queue::sled::ids::file;
use crate::queue::sled::record::purged_list;

/// What is written is read back the same; what is read at all is written back to the same
/// meaning; nothing is read into more memory than its bytes can stand for.
///
/// The first byte says which of the formats the rest is.
pub fn chunk(data: &[u8]) {
    let [format, rest @ ..] = data else {
        return;
    };
    match format % 11 {
        0 => chunk_written(rest),
        1 => chunk_read(rest),
        2 => block_read(rest),
        3 => mark_written(rest),
        4 => mark_read(rest),
        5 => value(rest),
        6 => high_slot(rest),
        7 => seen_header(rest),
        8 => seen_index(rest),
        9 => dead_letters(rest),
        _ => purged_list(rest),
    }
}

/// Takes a number off the front; 0 when nothing is left.
fn byte(data: &mut &[u8]) -> u8 {
    data.split_off_first().copied().unwrap_or_default()
}

/// Events of 0 to 255 bytes, some of them duplicates, some retrying.
fn chunk_written(mut data: &[u8]) {
    let accepted_at = i64::from(byte(&mut data)) * 7_000_000_000;
    let mut builder = BlockBuilder::new(IdHasher::new([7; 16]), accepted_at);
    let (mut queued, mut retried, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    while !data.is_empty() || builder.is_empty() {
        let (flags, len) = (byte(&mut data), byte(&mut data));
        let (body, later) = data.split_at(usize::from(len).min(data.len()));
        data = later;
        let at = builder.len() as u32;
        if flags & 1 == 0 || at == 0 {
            queued.push(at);
            bodies.push(body);
            if flags & 2 != 0 {
                retried.push(LetterNumber(u64::from(flags) << 20));
            }
        }
        let time = i64::from(flags) - 100;
        builder.push(&format!("{at}"), time, body);
    }
    let block = builder.finish();
    let chunk = Chunk {
        first_seq: Seq(42),
        accepted_at,
        totals: AcceptTotals {
            accepted: 41 + queued.len() as u64,
            retried: retried.len() as u64,
            ..AcceptTotals::default()
        },
        packed_count: block.ids.len() as u32,
        ids: queued.iter().map(|at| block.ids[*at as usize]).collect(),
        queued,
        retried,
        plain_len: block.plain_len as u32,
        packed: block.packed,
    };
    let bytes = chunk.encode();
    assert_eq!(Chunk::decode(Seq(42), &bytes).as_ref(), Ok(&chunk));
    let entries = chunk.entries().expect("a chunk of our own unpacks");
    assert_eq!(entries.len(), bodies.len());
    for ((entry, body), seq) in entries.iter().zip(bodies).zip(Seq(42).onward()) {
        assert_eq!(entry.id, EntryId::line(seq));
        assert_eq!(entry.body, body);
    }
    // A part that is missing at the end is missed.
    let cut = bytes.len() - 1 - usize::from(bytes[bytes.len() - 1]) % bytes.len();
    assert!(
        Chunk::decode(Seq(42), &bytes[..cut]).is_err(),
        "cut at {cut}"
    );
}

fn chunk_read(data: &[u8]) {
    let Some((seq, bytes)) = data.split_first_chunk() else {
        return;
    };
    let first_seq = Seq(u64::from_be_bytes(*seq));
    let Ok(chunk) = Chunk::decode(first_seq, bytes) else {
        return;
    };
    assert_eq!(chunk.first_seq, first_seq);
    assert_eq!(chunk.ids.len(), chunk.queued.len());
    assert!(!chunk.ids.is_empty() && chunk.last_seq() >= first_seq);
    assert!(chunk.queued.is_sorted_by(|a, b| a < b));
    assert!(
        chunk
            .queued
            .last()
            .is_some_and(|last| *last < chunk.packed_count)
    );
    assert!(chunk.ids.len() * 16 + chunk.retried.len() * 8 <= bytes.len());
    assert_eq!(
        Chunk::decode(first_seq, &chunk.encode()).as_ref(),
        Ok(&chunk)
    );
    if let Ok(entries) = chunk.entries() {
        assert_eq!(entries.len(), chunk.ids.len());
        let held: usize = entries.iter().map(|entry| entry.body.len()).sum();
        assert!(held <= chunk.plain_len as usize);
        within(chunk.plain_len as usize, &chunk.packed);
    }
}

/// Counts and lengths that lie about packed bytes.
fn block_read(data: &[u8]) {
    let Some((count, rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((plain_len, packed)) = rest.split_first_chunk() else {
        return;
    };
    let count = u32::from_le_bytes(*count) as usize;
    let plain_len = u32::from_le_bytes(*plain_len) as usize;
    if let Ok(items) = block::unpack(packed, count, plain_len) {
        assert_eq!(items.len(), count);
        within(plain_len, packed);
    }
    // The same bytes as what is packed.
    let again = block::pack(data);
    let plain = block::unpack_bytes(&again, data.len());
    assert_eq!(plain.expect("our own bytes unpack"), data);
    assert!(block::unpack_bytes(&again, data.len() + 1).is_err());
    assert!(block::unpack_bytes(&again, data.len() - 1).is_err());
}

fn within(plain_len: usize, packed: &[u8]) {
    assert!(
        plain_len <= packed.len() << 15,
        "{plain_len} bytes out of {}",
        packed.len()
    );
}

fn mark_written(mut data: &[u8]) {
    let names: Vec<Arc<str>> = ["page_visit", "Kauf", "", "ä\n"].map(Arc::from).to_vec();
    let mut events = Vec::new();
    let mut seq = 0u64;
    while !data.is_empty() {
        let (step, flags) = (byte(&mut data), byte(&mut data));
        seq = seq.wrapping_add(u64::from(step) << (flags >> 2));
        let id = match flags & 64 {
            0 => EntryId::line(Seq(seq)),
            _ => EntryId::dead(LetterNumber(seq)),
        };
        events.push((id, names[usize::from(flags & 3)].clone()));
    }
    let at = seq as i64;
    assert_eq!(mark::decode(&mark::encode(at, &events)), Ok((at, events)));
}

fn mark_read(bytes: &[u8]) {
    if let Ok((at, events)) = mark::decode(bytes) {
        assert!(events.len() * 2 <= bytes.len());
        assert_eq!(mark::decode(&mark::encode(at, &events)), Ok((at, events)));
    }
}

/// A sealed value opens to its payload under its own key alone; other bytes open only if they
/// are a sealed value; any number comes back from its bytes.
fn value(data: &[u8]) {
    let (key, payload) = data.split_at(data.len().min(8));
    let mut sealed = codec::append_checksum(key, payload.to_vec());
    assert_eq!(codec::verify_checksum(key, &sealed), Ok(payload));
    let other = [key, b"x"].concat();
    assert_eq!(
        codec::verify_checksum(&other, &sealed),
        Err(DecodeError::Checksum)
    );
    let at = payload.first().map_or(0, |byte| usize::from(*byte)) % sealed.len();
    sealed[at] ^= 1 << (at % 8);
    assert_eq!(
        codec::verify_checksum(key, &sealed),
        Err(DecodeError::Checksum)
    );
    if let Ok(opened) = codec::verify_checksum(key, payload) {
        assert_eq!(codec::append_checksum(key, opened.to_vec()), payload);
    }
    let mut r = Reader(payload);
    while let Ok(number) = r.varint() {
        let mut w = Writer::default();
        w.varint(number);
        assert_eq!(Reader(&w.0).varint(), Ok(number));
    }
}

fn high_slot(payload: &[u8]) {
    if let Ok((written, high)) =
        high_water::read_record(&codec::append_checksum(high_water::KEY, payload.to_vec()))
    {
        let record = high_water::record(written, &high);
        assert_eq!(high_water::read_record(&record), Ok((written, high)));
    }
    let _ = high_water::read_record(payload);
}

fn seen_header(payload: &[u8]) {
    let sealed = codec::append_checksum(b"header", payload.to_vec());
    if let Ok(coverage) = file::read_header(&sealed) {
        assert_eq!(file::read_header(&file::header(&coverage)), Ok(coverage));
    }
    let _ = file::read_header(payload);
}

/// Filters that say anything at all may be wrong about an id, but they answer.
fn seen_index(data: &[u8]) {
    let [blocks, payload @ ..] = data else {
        return;
    };
    let sealed = codec::append_checksum(b"index", payload.to_vec());
    if let Ok((fences, filters)) = file::read_index(&sealed, usize::from(*blocks) * 5) {
        assert!(fences.len() * 8 <= payload.len());
        for filter in &filters {
            for id in 0..64u128 {
                filter.may_hold(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            }
        }
    }
}

fn purged_list(payload: &[u8]) {
    let sealed = codec::append_checksum(purged_list::KEY, payload.to_vec());
    if let Ok((list, named)) = purged_list::decode(&sealed) {
        assert!(named.len() * 24 <= payload.len());
        assert_eq!(purged_list::encode(&list, &named), sealed);
    }
    let _ = purged_list::decode(payload);
}

fn dead_letters(bytes: &[u8]) {
    let Ok(records) = dead_record::decode(bytes) else {
        return;
    };
    assert!(records.len() * 25 <= bytes.len());
    let written = dead_record::encode(&records);
    let again = dead_record::decode(&written).expect("our own record is read");
    assert_eq!(dead_record::encode(&again), written);
}
