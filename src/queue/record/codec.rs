//! Bytes of stored values: little-endian fields, and a checksum that binds a value to its key.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::queue::contract::Number;

/// The stored form of this release. A value or file of a newer one is refused, untouched.
pub const FORMAT_VERSION: u8 = 1;

/// sled keeps up to 16 entries in one record; 16 of these stay well below a quarter of a
/// 512 KiB segment, above which sled writes files that nobody syncs.
pub const MAX_VALUE: usize = 6_000;

/// Why stored bytes cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("its checksum does not hold")]
    Checksum,
    #[error("it is shorter than it says")]
    Short,
    #[error("it holds an impossible value")]
    Value,
    #[error("it was written by a newer pinrelay (format {0})")]
    Newer(u8),
}

/// `payload` as it is stored under `key`: the checksum covers both, so that a value that turns
/// up under another key is found out too.
pub fn append_checksum(key: &[u8], mut payload: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// The inverse of [`append_checksum`].
pub fn verify_checksum<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let split = value.len().checked_sub(8).ok_or(DecodeError::Short)?;
    let (payload, sum) = value.split_at(split);
    if checksum(key, payload).to_le_bytes() == sum {
        Ok(payload)
    } else {
        Err(DecodeError::Checksum)
    }
}

/// The checksum at the end of a sealed value.
pub fn sum_of(sealed: &[u8]) -> u64 {
    sealed
        .last_chunk()
        .map_or(0, |sum| u64::from_le_bytes(*sum))
}

/// A 64-bit checksum; not a secret, it guards against damage alone.
pub fn checksum(key: &[u8], payload: &[u8]) -> u64 {
    let mut sum = Checksum::begun(key);
    sum.add(payload);
    sum.done()
}

/// A [`checksum`] of a payload that comes in pieces.
pub struct Checksum(SipHasher13);

impl Checksum {
    pub fn begun(key: &[u8]) -> Self {
        let mut hasher = SipHasher13::new_with_keys(0x7069_6e72, key.len() as u64);
        hasher.write(key);
        Self(hasher)
    }

    pub fn add(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    pub fn done(self) -> u64 {
        self.0.finish()
    }
}

/// Appends fields.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Begins with the format version.
    pub fn versioned() -> Self {
        Self(vec![FORMAT_VERSION])
    }

    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }

    pub fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    pub fn number(&mut self, number: impl Number) {
        self.u64(number.value());
    }

    pub fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    pub fn i64(&mut self, v: i64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    pub fn u128(&mut self, v: u128) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    /// LEB128: small numbers in few bytes.
    pub fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    /// A length (u32) and the bytes.
    pub fn bytes(&mut self, v: &[u8]) {
        self.u32(v.len() as u32);
        self.0.extend_from_slice(v);
    }
}

/// Takes fields off the front.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the format version first.
    pub fn versioned(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Self(bytes);
        match reader.u8()? {
            FORMAT_VERSION => Ok(reader),
            version if version > FORMAT_VERSION => Err(DecodeError::Newer(version)),
            _ => Err(DecodeError::Value),
        }
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Short)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn number<N: Number>(&mut self) -> Result<N, DecodeError> {
        self.u64().map(N::of)
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            v |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(v);
            }
        }
        Err(DecodeError::Value)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()? as usize;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_a_wrong_key_are_found() {
        let value = append_checksum(b"key", b"payload".to_vec());
        assert_eq!(verify_checksum(b"key", &value), Ok(&b"payload"[..]));
        assert_eq!(verify_checksum(b"kez", &value), Err(DecodeError::Checksum));
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify_checksum(b"key", &bad),
                Err(DecodeError::Checksum),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn varints_round_trip() {
        let mut w = Writer::default();
        let values = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        values.iter().for_each(|v| w.varint(*v));
        let mut r = Reader(&w.0);
        assert!(values.iter().all(|v| r.varint() == Ok(*v)));
        assert!(r.0.is_empty());
    }
}
