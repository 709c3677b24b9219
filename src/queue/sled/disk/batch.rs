//! What is committed to a store at once, and how a payload of any length is put there in parts:
//! no value is longer than [`MAX_VALUE`].

use crate::queue::record::codec::{self, MAX_VALUE};

/// Changes that become durable together.
#[derive(Default)]
pub struct Batch {
    /// Keys and their new values; none where one is removed. Of a repeated key the last counts.
    changes: Vec<(sled::IVec, Option<sled::IVec>)>,
}

impl Batch {
    /// Puts a payload of at most [`MAX_VALUE`] bytes.
    pub fn put(&mut self, key: &[u8], payload: Vec<u8>) {
        debug_assert!(
            payload.len() <= MAX_VALUE,
            "{} bytes under one key",
            payload.len()
        );
        let value = codec::append_checksum(key, payload);
        self.changes.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.changes.push((key.into(), None));
    }

    /// Puts a payload of any length under `prefix` + part number.
    pub fn put_parts(&mut self, prefix: &[u8], payload: &[u8]) {
        for (part, piece) in payload.chunks(MAX_VALUE).enumerate() {
            self.put(&part_key(prefix, part as u16), piece.to_vec());
        }
    }

    /// What is to be written.
    pub fn changes(&self) -> &[(sled::IVec, Option<sled::IVec>)] {
        &self.changes
    }

    /// Operations so far.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Each key changed, in order, and the checksum of its new value; none where it is removed.
    pub fn journal(&self) -> impl Iterator<Item = (&[u8], Option<u64>)> {
        let changes = self.changes.iter();
        changes.map(|(key, value)| (key.as_ref(), value.as_deref().map(codec::sum_of)))
    }
}

/// How many parts a payload takes.
pub fn parts(len: usize) -> usize {
    len.div_ceil(MAX_VALUE)
}

/// `prefix` and the part number, big-endian.
pub fn part_key(prefix: &[u8], part: u16) -> Vec<u8> {
    [prefix, &part.to_be_bytes()].concat()
}

/// Splits a key of [`part_key`].
pub fn split_part(key: &[u8]) -> Option<(&[u8], u16)> {
    let (prefix, part) = key.split_last_chunk::<2>()?;
    Some((prefix, u16::from_be_bytes(*part)))
}
