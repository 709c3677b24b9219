//! A chunk as its row has it.

use tokio_postgres::Row;

use super::wave::Place;
use crate::queue::contract::{Entry, EntryId, Seq};
use crate::queue::record::chunk::Chunk;
use crate::queue::record::codec::{DecodeError, verify_checksum};

/// The columns that [`Stored::of`] reads.
pub const COLUMNS: &str = "writer, grp, part, first, count, bytes";

/// See the file's page.
pub struct Stored {
    pub writer: u32,
    pub place: Place,
    pub generation: i32,
    pub first: Seq,
    pub count: u64,
    pub bytes: Vec<u8>,
}

impl Stored {
    pub fn of(row: &Row, generation: i32) -> Self {
        Self {
            writer: row.get::<_, i32>(0) as u32,
            place: Place {
                group: row.get::<_, i64>(1) as u64,
                part: row.get::<_, i32>(2) as u32,
            },
            generation,
            first: Seq(row.get::<_, Option<i64>>(3).unwrap_or_default() as u64),
            count: row.get::<_, i32>(4) as u64,
            bytes: row.get::<_, Option<&[u8]>>(5).unwrap_or_default().to_vec(),
        }
    }

    pub fn chunk(&self) -> Result<Chunk, DecodeError> {
        let payload = verify_checksum(&self.first.0.to_be_bytes(), &self.bytes)?;
        let chunk = Chunk::decode(self.first, payload)?;
        match chunk.ids.len() as u64 == self.count {
            true => Ok(chunk),
            false => Err(DecodeError::Value),
        }
    }
}

/// The events of a chunk. Each has the number of its place among all that were packed, so that those
/// that were duplicates leave gaps.
pub fn events(chunk: &Chunk) -> Result<Vec<Entry>, DecodeError> {
    let entries = chunk.entries()?.into_iter().zip(&chunk.queued);
    Ok(entries
        .map(|(entry, at)| Entry {
            id: EntryId::line(chunk.first_seq + u64::from(*at)),
            ..entry
        })
        .collect())
}
