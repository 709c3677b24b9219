//! The filter over the ids of some blocks: it stays in memory, and spares nearly every look-up
//! the read of a block.

use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter as _, FilterRef as _};

use crate::queue::record::codec::{DecodeError, Reader, Writer};

/// Says "no" for nearly every id that is not in its blocks.
pub struct IdFilter {
    /// In place: a look-up that is answered by no filter asks each of them.
    descriptor: [u8; BinaryFuse16::DESCRIPTOR_LEN],
    /// Empty: it always says "maybe".
    fingerprints: Vec<u16>,
}

impl IdFilter {
    pub fn new(keys: &[u64]) -> Self {
        // Building may fail for a handful of ids; then every look-up reads its block.
        let Ok(filter) = BinaryFuse16::try_from(keys) else {
            return Self {
                descriptor: [0; BinaryFuse16::DESCRIPTOR_LEN],
                fingerprints: Vec::new(),
            };
        };
        let mut descriptor = [0; BinaryFuse16::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut descriptor);
        Self {
            descriptor,
            fingerprints: filter.fingerprints.into_vec(),
        }
    }

    pub fn may_hold(&self, id: u128) -> bool {
        let bytes = bytemuck::cast_slice(&self.fingerprints);
        self.fingerprints.is_empty()
            || BinaryFuse16Ref::from_dma(&self.descriptor, bytes).contains(&(id as u64))
    }

    /// Whether every place that the descriptor can point to is there: a filter looks up three,
    /// in three segments on end, of which the first begins below `segment_count_length`.
    fn is_whole(&self) -> bool {
        let mut r = Reader(&self.descriptor);
        let (Ok(_seed), Ok(length), Ok(mask), Ok(count_length)) =
            (r.u64(), r.u32(), r.u32(), r.u32())
        else {
            return false;
        };
        let (length, count_length) = (length as usize, count_length as usize);
        length.is_power_of_two()
            && mask as usize == length - 1
            && count_length.is_multiple_of(length)
            && self.fingerprints.len() == count_length + 2 * length
    }

    pub fn write(&self, w: &mut Writer) {
        match self.fingerprints.is_empty() {
            true => w.bytes(&[]),
            false => w.bytes(&self.descriptor),
        }
        w.u32(self.fingerprints.len() as u32);
        for fingerprint in &self.fingerprints {
            w.0.extend_from_slice(&fingerprint.to_le_bytes());
        }
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let descriptor = r.bytes()?;
        let count = r.u32()? as usize;
        let descriptor = match count {
            0 => [0; BinaryFuse16::DESCRIPTOR_LEN],
            _ => descriptor.try_into().map_err(|_| DecodeError::Value)?,
        };
        let raw = r.take(count * 2)?.chunks_exact(2);
        let fingerprints = raw.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let filter = Self {
            descriptor,
            fingerprints,
        };
        if count > 0 && !filter.is_whole() {
            return Err(DecodeError::Value);
        }
        Ok(filter)
    }
}
