//! A list of purged letters: ids and numbers, no event.
//!
//! Layout: version u8 · magic u64 · first and last number u64 · when it was written i64 · per
//! letter: id hash u128, number u64 · a checksum over all of it.

use crate::clock::Millis;
use crate::queue::contract::LetterNumber;
use crate::queue::record::codec::{self, DecodeError, Reader, Writer};
/// What its checksum is keyed with.
pub const KEY: &[u8] = b"purged";

const MAGIC: u64 = 0x7072_7075_7267_0001;

/// What a list covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// The numbers of the period that it stands for.
    pub first: LetterNumber,
    pub last: LetterNumber,
    /// When it was written.
    pub purged_at: Millis,
}

/// A letter by its messageId and number.
pub type Named = (u128, LetterNumber);

/// A list as it is stored.
pub fn encode(list: &List, named: &[Named]) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(MAGIC);
    w.number(list.first);
    w.number(list.last);
    w.i64(list.purged_at);
    for (id_hash, number) in named {
        w.u128(*id_hash);
        w.number(*number);
    }
    codec::append_checksum(KEY, w.0)
}

/// The list in a file's bytes.
pub fn decode(bytes: &[u8]) -> Result<(List, Vec<Named>), DecodeError> {
    let mut r = Reader::versioned(codec::verify_checksum(KEY, bytes)?)?;
    if r.u64()? != MAGIC {
        return Err(DecodeError::Value);
    }
    let list = List {
        first: r.number()?,
        last: r.number()?,
        purged_at: r.i64()?,
    };
    let mut named = Vec::with_capacity(r.0.len() / 24);
    while !r.0.is_empty() {
        named.push((r.u128()?, r.number()?));
    }
    Ok((list, named))
}
