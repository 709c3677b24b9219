//! What a file of remembered ids covers, and what the account remembers of one.

use crate::clock::Millis;
use crate::queue::contract::Seq;
use crate::queue::record::codec::{DecodeError, Reader, Writer};
use crate::queue::sled::numbers::Generation;
/// What a file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// First and last generation whose ids are in it.
    pub generations: (Generation, Generation),
    /// The last sequence number among them.
    pub last_seq: Seq,
    /// When the newest of them was accepted.
    pub newest: Millis,
    /// How many ids.
    pub count: u64,
}

impl Coverage {
    pub fn write(&self, w: &mut Writer) {
        w.number(self.generations.0);
        w.number(self.generations.1);
        w.number(self.last_seq);
        w.i64(self.newest);
        w.u64(self.count);
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            generations: (r.number()?, r.number()?),
            last_seq: r.number()?,
            newest: r.i64()?,
            count: r.u64()?,
        })
    }

    /// Whether every generation of `other` is among these.
    pub fn holds(&self, other: &Self) -> bool {
        let ((first, last), (from, to)) = (self.generations, other.generations);
        first <= from && to <= last
    }
}

/// A file of remembered ids as it was written. It is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdFile {
    /// Its length in bytes.
    pub len: u64,
    /// Of its header and index, which a start reads anyway. The index is made of all ids.
    pub sum: u64,
    pub coverage: Coverage,
    /// Its deletion has begun: it may be there or not.
    pub is_leaving: bool,
    /// That something in it cannot be read was told.
    pub is_harmed: bool,
}

impl IdFile {
    /// Whether `other` is the same file, whatever is known of it.
    pub fn is(&self, other: &Self) -> bool {
        (self.len, self.sum, self.coverage) == (other.len, other.sum, other.coverage)
    }
}
