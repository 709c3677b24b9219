//! A chunk: the events of one block as they stand in a generation.
//!
//! Key: first sequence number (u64), part (u16), big-endian. The chunk's bytes are split into
//! parts of at most [`MAX_VALUE`](crate::queue::record::codec::MAX_VALUE); each part carries its
//! own checksum.
//!
//! Layout (little-endian): version u8 · events packed u32 · events queued u32 · accepted_at i64 ·
//! unpacked length u32 · totals 5 × u64 · a bitmap of which packed events are queued (only if
//! not all are) · the id hashes of the queued ones, 16 bytes each · retried dead numbers (count
//! u32, then u64 each) · packed length u32 · packed bytes.

use bytes::Bytes;

use crate::clock::Millis;
use crate::queue::block::{self, Item};
use crate::queue::contract::{Entry, EntryId, LetterNumber, Number, Seq};
use crate::queue::record::codec::{DecodeError, Reader, Writer};

/// Running totals of the accept side, as of the end of a chunk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AcceptTotals {
    pub accepted: u64,
    pub duplicate: u64,
    pub ignored: u64,
    pub rejected: u64,
    pub retried: u64,
}

impl AcceptTotals {
    /// Of two copies of which either may be behind, each total.
    pub fn max(&self, other: &Self) -> Self {
        Self {
            accepted: self.accepted.max(other.accepted),
            duplicate: self.duplicate.max(other.duplicate),
            ignored: self.ignored.max(other.ignored),
            rejected: self.rejected.max(other.rejected),
            retried: self.retried.max(other.retried),
        }
    }

    pub fn write(&self, w: &mut Writer) {
        for total in [
            self.accepted,
            self.duplicate,
            self.ignored,
            self.rejected,
            self.retried,
        ] {
            w.u64(total);
        }
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            accepted: r.u64()?,
            duplicate: r.u64()?,
            ignored: r.u64()?,
            rejected: r.u64()?,
            retried: r.u64()?,
        })
    }
}

/// A committed chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub first_seq: Seq,
    pub accepted_at: Millis,
    pub totals: AcceptTotals,
    /// Which of the packed events are queued, ascending.
    pub queued: Vec<u32>,
    /// Events packed, duplicates included.
    pub packed_count: u32,
    /// Id hashes of the queued events, in their order.
    pub ids: Vec<u128>,
    /// Dead letters that events of this chunk replace.
    pub retried: Vec<LetterNumber>,
    pub plain_len: u32,
    pub packed: Bytes,
}

/// The key prefix of the chunk that begins with `first_seq`.
pub fn key(first_seq: Seq) -> [u8; 8] {
    first_seq.to_key()
}

impl Chunk {
    /// The last sequence number in it.
    pub fn last_seq(&self) -> Seq {
        self.first_seq + self.ids.len() as u64 - 1
    }

    /// Its stored bytes, parts not yet split.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::versioned();
        w.0.reserve(self.packed.len() + self.ids.len() * 16 + 96);
        w.u32(self.packed_count);
        w.u32(self.ids.len() as u32);
        w.i64(self.accepted_at);
        w.u32(self.plain_len);
        self.totals.write(&mut w);
        if self.ids.len() != self.packed_count as usize {
            let mut bitmap = vec![0u8; (self.packed_count as usize).div_ceil(8)];
            for at in &self.queued {
                bitmap[*at as usize / 8] |= 1 << (at % 8);
            }
            w.0.extend_from_slice(&bitmap);
        }
        self.ids.iter().for_each(|id| w.u128(*id));
        w.u32(self.retried.len() as u32);
        self.retried.iter().for_each(|number| w.number(*number));
        w.bytes(&self.packed);
        w.0
    }

    /// The inverse of [`Chunk::encode`]. Only whole chunks decode: no prefix of one does.
    pub fn decode(first_seq: Seq, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::versioned(bytes)?;
        let packed_count = r.u32()?;
        let count = r.u32()?;
        // Numbers of the line end below those of dead letters. Each counted id takes 16 bytes;
        // without this check, a nonsensical count would reserve memory for billions.
        let numbers = 1..EntryId::dead(LetterNumber(0)).to_raw() - u64::from(u32::MAX);
        if count == 0
            || count > packed_count
            || !numbers.contains(&first_seq.0)
            || r.0.len() / 16 < count as usize
        {
            return Err(DecodeError::Value);
        }
        let accepted_at = r.i64()?;
        let plain_len = r.u32()?;
        let totals = AcceptTotals::read(&mut r)?;
        let queued: Vec<u32> = if count == packed_count {
            (0..count).collect()
        } else {
            let bitmap = r.take((packed_count as usize).div_ceil(8))?;
            let set = |at: &u32| bitmap[*at as usize / 8] & 1 << (at % 8) != 0;
            (0..packed_count).filter(set).collect()
        };
        if queued.len() != count as usize || r.0.len() < count as usize * 16 {
            return Err(DecodeError::Value);
        }
        let ids = (0..count).map(|_| r.u128()).collect::<Result<_, _>>()?;
        let retried_count = r.u32()?;
        if retried_count > count {
            return Err(DecodeError::Value);
        }
        let retried = (0..retried_count)
            .map(|_| r.number())
            .collect::<Result<_, _>>()?;
        let packed = Bytes::copy_from_slice(r.bytes()?);
        if !r.0.is_empty() {
            return Err(DecodeError::Value);
        }
        Ok(Self {
            first_seq,
            accepted_at,
            totals,
            queued,
            packed_count,
            ids,
            retried,
            plain_len,
            packed,
        })
    }

    /// Its events as claims, in order.
    pub fn entries(&self) -> Result<Vec<Entry>, DecodeError> {
        let items = block::unpack(
            &self.packed,
            self.packed_count as usize,
            self.plain_len as usize,
        )
        .map_err(|_| DecodeError::Value)?;
        let numbered = self.first_seq.onward().zip(&self.ids).zip(&self.queued);
        Ok(numbered
            .map(|((seq, id_hash), at)| {
                let item = &items[*at as usize];
                Entry {
                    id: EntryId::line(seq),
                    id_hash: *id_hash,
                    accepted_at: self.accepted_at,
                    event_time: item.event_time,
                    body: item.body.clone(),
                    sent_as: None,
                    failures: 0,
                }
            })
            .collect())
    }
}

impl Chunk {
    /// Takes out the bytes of the events that are gone, and those of the duplicates that were
    /// packed beside them. What a start reads, numbers, ids and totals, stays. `None`: there was
    /// nothing to take out.
    pub fn erased(&self, is_gone: impl Fn(Seq) -> bool) -> Result<Option<Self>, DecodeError> {
        let plain_len = self.plain_len as usize;
        let items = block::unpack(&self.packed, self.packed_count as usize, plain_len);
        let items = items.map_err(|_| DecodeError::Value)?;
        let has_duplicates = items.len() != self.ids.len();
        let mut is_changed = has_duplicates;
        let numbered = self.first_seq.onward().zip(&self.queued);
        let kept = numbered.map(|(seq, at)| {
            let item = &items[*at as usize];
            let is_taken_out = !item.body.is_empty() && is_gone(seq);
            is_changed |= is_taken_out;
            match is_taken_out {
                true => Item {
                    event_time: 0,
                    body: Bytes::new(),
                },
                false => item.clone(),
            }
        });
        let kept: Vec<Item> = kept.collect();
        if !is_changed {
            return Ok(None);
        }
        let (packed, plain_len) = block::repack(&kept);
        Ok(Some(Self {
            queued: (0..self.ids.len() as u32).collect(),
            packed_count: self.ids.len() as u32,
            plain_len: plain_len as u32,
            packed,
            ids: self.ids.clone(),
            retried: self.retried.clone(),
            ..*self
        }))
    }

    /// The numbers of its events whose bytes were taken out: they were settled before.
    pub fn erased_numbers(&self) -> Result<Vec<Seq>, DecodeError> {
        let entries = self.entries()?.into_iter().zip(self.first_seq.onward());
        let erased = entries.filter(|(entry, _)| entry.body.is_empty());
        Ok(erased.map(|(_, seq)| seq).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::block::BlockBuilder;
    use crate::queue::id_hash::IdHasher;

    fn sample(queued: Vec<u32>, retried: Vec<LetterNumber>) -> Chunk {
        let mut builder = BlockBuilder::new(IdHasher::new([7; 16]), 1_700_000_000_123);
        for i in 0..5 {
            builder.push(
                &format!("id-{i}"),
                1_700_000_000 + i,
                format!("{{\"n\":{i}}}").as_bytes(),
            );
        }
        let block = builder.finish();
        Chunk {
            first_seq: Seq(42),
            accepted_at: block.accepted_at,
            totals: AcceptTotals {
                accepted: 9,
                duplicate: 2,
                ignored: 3,
                rejected: 4,
                retried: 1,
            },
            packed_count: 5,
            ids: queued.iter().map(|at| block.ids[*at as usize]).collect(),
            queued,
            retried,
            plain_len: block.plain_len as u32,
            packed: block.packed,
        }
    }

    #[test]
    fn a_chunk_comes_back_whole_and_without_its_duplicates() {
        for queued in [vec![0, 1, 2, 3, 4], vec![1, 4], vec![0]] {
            let chunk = sample(queued.clone(), vec![LetterNumber(17)]);
            let back = Chunk::decode(Seq(42), &chunk.encode()).unwrap();
            assert_eq!(back, chunk);
            let entries = back.entries().unwrap();
            assert_eq!(entries.len(), queued.len());
            for (entry, (at, seq)) in entries.iter().zip(queued.iter().zip(42..)) {
                assert_eq!(entry.id, EntryId::line(Seq(seq)));
                assert_eq!(entry.body, format!("{{\"n\":{at}}}"));
                assert_eq!(entry.event_time, 1_700_000_000 + i64::from(*at));
            }
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_others_and_all_numbers_and_ids() {
        let chunk = sample(vec![0, 2, 4], vec![LetterNumber(17)]);
        let erased = chunk.erased(|seq| seq == Seq(43)).unwrap().unwrap();
        let back = Chunk::decode(Seq(42), &erased.encode()).unwrap();
        assert_eq!(back, erased);
        assert_eq!(
            (&back.ids, &back.retried, back.totals, back.accepted_at),
            (&chunk.ids, &chunk.retried, chunk.totals, chunk.accepted_at)
        );
        let bodies = |chunk: &Chunk| -> Vec<Bytes> {
            let entries = chunk.entries().unwrap().into_iter();
            entries.map(|entry| entry.body).collect()
        };
        assert_eq!(bodies(&back), ["{\"n\":0}", "", "{\"n\":4}"]);
        assert_eq!(back.erased_numbers().unwrap(), [Seq(43)]);
        // The duplicates that were packed with them are gone as well.
        let whole = block::unpack(&back.packed, 3, back.plain_len as usize).unwrap();
        assert_eq!(whole.len(), 3);
        assert_eq!(back.erased(|seq| seq == Seq(43)).unwrap(), None);
    }

    #[test]
    fn no_prefix_of_a_chunk_decodes_and_a_newer_one_is_named() {
        let bytes = sample(vec![1, 2], vec![]).encode();
        for len in 0..bytes.len() {
            assert!(
                Chunk::decode(Seq(42), &bytes[..len]).is_err(),
                "{len} bytes"
            );
        }
        let newer = [&[2], &bytes[1..]].concat();
        assert_eq!(Chunk::decode(Seq(42), &newer), Err(DecodeError::Newer(2)));
    }
}
