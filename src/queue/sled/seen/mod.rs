//! `seen/`: the messageIds of sealed generations, one sorted, immutable file for one or several
//! of them, with a filter that stays in memory.
//!
//! Why plain files and not a store: they are written once, in order, and read one block at a
//! time; 16 bytes an id and about 2.3 for the filter, and deleting one gives its disk back.
//!
//! Layout: header (one block) · blocks of [`PER_BLOCK`] ids, ascending, each with its checksum ·
//! the index: the upper half of each block's first id, a filter (descriptor and fingerprints) per
//! [`SHARD_BLOCKS`] blocks, and a checksum over all of it. A file is written as `.tmp`, synced, and renamed into place.

mod filter;
mod merge;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::codec::{self, Bad, Reader, Writer};
use super::error::{At, StoreError};
use super::files::patiently;
use super::ledger::IdFile;
use crate::clock::Millis;
use filter::IdFilter;
pub(super) use merge::{merge, mergeable};

const BLOCK: usize = 4096;
const PER_BLOCK: usize = (BLOCK - 8) / 16;
/// Blocks behind one filter (about 65,000 ids): building one takes a few megabytes.
const SHARD_BLOCKS: usize = 256;
const MAGIC: u64 = 0x7072_7365_656e_0001;

/// What a file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    /// First and last generation whose ids are in it.
    pub(super) generations: (u64, u64),
    /// The last sequence number among them.
    pub(super) last_seq: u64,
    /// When the newest of them was accepted.
    pub(super) newest: Millis,
    /// How many ids.
    pub(super) count: u64,
}

impl Coverage {
    pub(super) fn write(&self, w: &mut Writer) {
        w.u64(self.generations.0);
        w.u64(self.generations.1);
        w.u64(self.last_seq);
        w.i64(self.newest);
        w.u64(self.count);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Bad> {
        Ok(Self {
            generations: (r.u64()?, r.u64()?),
            last_seq: r.u64()?,
            newest: r.i64()?,
            count: r.u64()?,
        })
    }

    /// Whether every generation of `other` is among these.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let ((first, last), (from, to)) = (self.generations, other.generations);
        first <= from && to <= last
    }
}

/// An open file of remembered ids.
pub(super) struct SeenFile {
    file: File,
    path: PathBuf,
    pub(super) coverage: Coverage,
    /// Its length, and the checksum over header and index, which tells it from any other.
    len: u64,
    sum: u64,
    /// The upper half of each block's first id.
    fences: Vec<u64>,
    /// One for each [`SHARD_BLOCKS`] blocks.
    filters: Vec<IdFilter>,
}

/// The name of the file that covers these generations.
pub(super) fn file_name(generations: (u64, u64)) -> String {
    format!("{:010}-{:010}.ids", generations.0, generations.1)
}

impl SeenFile {
    /// Opens a file and loads its index.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = patiently(|| File::open(path)).at(path)?;
        let bad = |bad| StoreError::bad(path, "remembered ids", bad);
        let mut head = vec![0; BLOCK];
        match file.read_exact_at(&mut head, 0) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(bad(Bad::Short)),
            read => read.at(path)?,
        }
        let coverage = read_header(&head).map_err(bad)?;
        let len = file.metadata().at(path)?.len();
        let blocks = coverage.count.div_ceil(PER_BLOCK as u64);
        let from = (blocks.saturating_add(1)).saturating_mul(BLOCK as u64);
        let mut index = vec![0; len.checked_sub(from).ok_or_else(|| bad(Bad::Short))? as usize];
        file.read_exact_at(&mut index, from).at(path)?;
        let (fences, filters) = read_index(&index, blocks as usize).map_err(bad)?;
        Ok(Self {
            file,
            path: path.into(),
            coverage,
            len,
            sum: sum(&head, codec::sum_of(&index)),
            fences,
            filters,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in `seen/`.
    pub(super) fn name(&self) -> String {
        file_name(self.coverage.generations)
    }

    /// As the account remembers it.
    pub(super) fn record(&self) -> IdFile {
        IdFile {
            len: self.len,
            sum: self.sum,
            coverage: self.coverage,
            is_leaving: false,
            is_harmed: false,
        }
    }

    /// Whether `id` is among them: the filter first, then one read.
    pub(super) fn contains(&self, id: u128) -> Result<bool, StoreError> {
        for block in self.blocks_of((id >> 64) as u64) {
            if self.filters[block / SHARD_BLOCKS].may_hold(id)
                && self.block(block)?.binary_search(&id).is_ok()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The blocks in which an id with this upper half may stand.
    fn blocks_of(&self, upper: u64) -> Range<usize> {
        let fences = &self.fences;
        // Ids are keyed hashes and lie evenly: its place is near its share of the range, where a
        // search by halves would miss the processor's cache at every step.
        let share = (u128::from(upper) * fences.len() as u128) >> 64;
        let mut end = share as usize;
        while fences.get(end).is_some_and(|fence| *fence <= upper) {
            end += 1;
        }
        while end > 0 && fences[end - 1] > upper {
            end -= 1;
        }
        // Blocks whose first id has the same upper half may begin with it; go back one as well.
        let mut start = end;
        while start > 0 && fences[start - 1] == upper {
            start -= 1;
        }
        start.saturating_sub(1)..end
    }

    /// All ids, ascending, read block by block.
    pub(super) fn ids(&self) -> impl Iterator<Item = Result<u128, StoreError>> + '_ {
        (0..self.fences.len()).flat_map(|at| match self.block(at) {
            Ok(ids) => ids.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }

    /// How many blocks of ids it has.
    pub(super) fn blocks(&self) -> usize {
        self.fences.len()
    }

    /// Reads these blocks; how many ids stand in those that are damaged, and what is wrong.
    pub(super) fn damage(
        &self,
        blocks: Range<usize>,
    ) -> Result<Option<(u64, StoreError)>, StoreError> {
        let mut found: Option<(u64, StoreError)> = None;
        for at in blocks {
            match self.block(at) {
                Ok(_) => {}
                Err(error @ StoreError::Damaged { .. }) => {
                    let ids = (self.coverage.count - (at * PER_BLOCK) as u64).min(PER_BLOCK as u64);
                    let before = found.map_or(0, |(ids, _)| ids);
                    found = Some((before + ids, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn block(&self, at: usize) -> Result<Vec<u128>, StoreError> {
        let mut bytes = vec![0; BLOCK];
        self.file
            .read_exact_at(&mut bytes, ((at + 1) * BLOCK) as u64)
            .at(&self.path)?;
        let payload = codec::open(&(at as u64).to_le_bytes(), &bytes)
            .map_err(|bad| StoreError::bad(&self.path, "a block", bad))?;
        let count = (self.coverage.count as usize - at * PER_BLOCK).min(PER_BLOCK);
        let mut r = Reader(payload);
        (0..count)
            .map(|_| r.u128())
            .collect::<Result<_, _>>()
            .map_err(|bad| StoreError::bad(&self.path, "a block", bad))
    }
}

/// Of a header's bytes and the checksum of an index.
fn sum(header: &[u8], index: u64) -> u64 {
    codec::checksum(&index.to_le_bytes(), header)
}

pub(super) fn header(coverage: &Coverage) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(MAGIC);
    coverage.write(&mut w);
    w.0.resize(BLOCK - 8, 0);
    codec::seal(b"header", w.0)
}

pub(super) fn read_header(bytes: &[u8]) -> Result<Coverage, Bad> {
    let mut r = Reader::versioned(codec::open(b"header", bytes)?)?;
    if r.u64()? != MAGIC {
        return Err(Bad::Value);
    }
    Coverage::read(&mut r)
}

pub(super) fn read_index(bytes: &[u8], blocks: usize) -> Result<(Vec<u64>, Vec<IdFilter>), Bad> {
    let mut r = Reader(codec::open(b"index", bytes)?);
    let fences = (0..blocks).map(|_| r.u64()).collect::<Result<_, _>>()?;
    let shards = blocks.div_ceil(SHARD_BLOCKS);
    let filters = (0..shards)
        .map(|_| IdFilter::read(&mut r))
        .collect::<Result<_, _>>()?;
    Ok((fences, filters))
}
