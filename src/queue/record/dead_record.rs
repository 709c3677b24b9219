//! One group of dead letters as it is stored, packed like a chunk.
//!
//! Layout: version u8 · count u32 · per record: id hash u128, hash of the bytes u64, reason u8
//! (255: deferred) · unpacked length u32 · packed records, each: failures u32, accepted_at,
//! event_time, died_at i64, message, body.

use bytes::Bytes;

use crate::clock::Millis;
use crate::queue::block;
use crate::queue::contract::DeadReason;
use crate::queue::record::codec::{self, DecodeError, Reader, Writer};

/// One dead letter as it is stored.
pub struct Record {
    pub id_hash: u128,
    /// `None`: deferred, and queued again from here.
    pub reason: Option<DeadReason>,
    pub failures: u32,
    pub accepted_at: Millis,
    pub event_time: i64,
    pub died_at: Millis,
    pub message: String,
    pub body: Bytes,
}

impl Record {
    /// Takes out its bytes and what was said of it: its letter is gone. That it was there stays.
    pub fn erase(&mut self) {
        self.body = Bytes::new();
        self.message = String::new();
        self.event_time = 0;
    }
}

/// The hash by which "the same bytes" is decided.
pub fn body_hash(body: &[u8]) -> u64 {
    codec::checksum(b"dead letter", body)
}

/// At most 64 records and about 256 KiB, so that reading one letter stays cheap.
pub fn groups(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |r: &Record| {
            bytes += r.body.len();
            bytes <= 256 << 10
        };
        let len = rest
            .iter()
            .take(64)
            .take_while({
                let mut fits = fits;
                move |r| fits(r)
            })
            .count();
        if rest.is_empty() {
            return None;
        }
        let (group, tail) = rest.split_at(len.max(1));
        rest = tail;
        Some(group)
    })
}

/// What a group says of one letter without being unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub id_hash: u128,
    pub body_hash: u64,
    /// `None`: deferred.
    pub reason: Option<DeadReason>,
}

impl Head {
    /// Whether its bytes were taken out, since its letter is gone. No event is without any.
    pub fn is_erased(&self) -> bool {
        self.body_hash == body_hash(b"")
    }
}

/// The heads of a group, and a reader of what follows them.
fn read_heads(bytes: &[u8]) -> Result<(Vec<Head>, Reader<'_>), DecodeError> {
    let mut r = Reader::versioned(bytes)?;
    let heads = (0..r.u32()?)
        .map(|_| {
            let (id_hash, body_hash) = (r.u128()?, r.u64()?);
            let reason = r.u8()?;
            let known = DeadReason::from_index(reason.into());
            match (known, reason) {
                (None, reason) if reason != u8::MAX => Err(DecodeError::Value),
                (reason, _) => Ok(Head {
                    id_hash,
                    body_hash,
                    reason,
                }),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok((heads, r))
}

/// The heads of a group.
pub fn heads(bytes: &[u8]) -> Result<Vec<Head>, DecodeError> {
    Ok(read_heads(bytes)?.0)
}

pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut plain = Writer::default();
    for record in records {
        plain.u32(record.failures);
        plain.i64(record.accepted_at);
        plain.i64(record.event_time);
        plain.i64(record.died_at);
        plain.bytes(record.message.as_bytes());
        plain.bytes(&record.body);
    }
    let mut w = Writer::versioned();
    w.u32(records.len() as u32);
    for record in records {
        w.u128(record.id_hash);
        w.u64(body_hash(&record.body));
        w.u8(record.reason.map_or(u8::MAX, |reason| reason.index() as u8));
    }
    w.u32(plain.0.len() as u32);
    w.bytes(&block::pack(&plain.0));
    w.0
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let (heads, mut r) = read_heads(bytes)?;
    let plain_len = r.u32()? as usize;
    let plain = block::unpack_bytes(r.bytes()?, plain_len).map_err(|_| DecodeError::Value)?;
    let mut r = Reader(&plain);
    heads
        .into_iter()
        .map(|head| {
            Ok(Record {
                id_hash: head.id_hash,
                reason: head.reason,
                failures: r.u32()?,
                accepted_at: r.i64()?,
                event_time: r.i64()?,
                died_at: r.i64()?,
                message: String::from_utf8_lossy(r.bytes()?).into_owned(),
                body: Bytes::copy_from_slice(r.bytes()?),
            })
        })
        .collect()
}
