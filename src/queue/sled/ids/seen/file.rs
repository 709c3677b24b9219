//! An open file of remembered ids.
//!
//! Layout: header (one block) · blocks of [`PER_BLOCK`] ids, ascending, each with its checksum ·
//! the index: the upper half of each block's first id, a filter (descriptor and fingerprints) per
//! [`SHARD_BLOCKS`] blocks, and a checksum over all of it.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::queue::record::{
    codec::{self, DecodeError, Reader, Writer},
    id_filter::IdFilter,
};
use crate::queue::sled::disk::{At, StoreError, retry_without_fds, seen_file};
use crate::queue::sled::record::{Coverage, IdFile};

pub const BLOCK: usize = 4096;
pub const PER_BLOCK: usize = (BLOCK - 8) / 16;
/// Blocks behind one filter (about 65,000 ids): building one takes a few megabytes.
pub const SHARD_BLOCKS: usize = 256;
const MAGIC: u64 = 0x7072_7365_656e_0001;

/// An open file of remembered ids.
pub struct SeenFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub coverage: Coverage,
    /// Its length, and the checksum over header and index, which tells it from any other.
    pub(super) len: u64,
    pub(super) sum: u64,
    /// The upper half of each block's first id.
    pub(super) fences: Vec<u64>,
    /// One for each [`SHARD_BLOCKS`] blocks.
    pub(super) filters: Vec<IdFilter>,
}

impl SeenFile {
    /// Opens a file and loads its index.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = retry_without_fds(|| File::open(path)).at(path)?;
        let bad = |bad| StoreError::bad(path, "remembered ids", bad);
        let mut head = vec![0; BLOCK];
        match file.read_exact_at(&mut head, 0) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(bad(DecodeError::Short)),
            read => read.at(path)?,
        }
        let coverage = read_header(&head).map_err(bad)?;
        let len = file.metadata().at(path)?.len();
        let blocks = coverage.count.div_ceil(PER_BLOCK as u64);
        let from = (blocks.saturating_add(1)).saturating_mul(BLOCK as u64);
        let mut index = vec![
            0;
            len.checked_sub(from)
                .ok_or_else(|| bad(DecodeError::Short))? as usize
        ];
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in `seen/`.
    pub fn name(&self) -> String {
        seen_file(self.coverage.generations)
    }

    /// As the account remembers it.
    pub fn record(&self) -> IdFile {
        IdFile {
            len: self.len,
            sum: self.sum,
            coverage: self.coverage,
            is_leaving: false,
            is_harmed: false,
        }
    }

    /// Whether `id` is among them: the filter first, then one read.
    pub fn contains(&self, id: u128) -> Result<bool, StoreError> {
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
    pub fn ids(&self) -> impl Iterator<Item = Result<u128, StoreError>> + '_ {
        (0..self.fences.len()).flat_map(|at| match self.block(at) {
            Ok(ids) => ids.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }

    /// How many blocks of ids it has.
    pub fn blocks(&self) -> usize {
        self.fences.len()
    }

    /// Reads these blocks; how many ids stand in those that are damaged, and what is wrong.
    pub fn damage(&self, blocks: Range<usize>) -> Result<Option<(u64, StoreError)>, StoreError> {
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
        let payload = codec::verify_checksum(&(at as u64).to_le_bytes(), &bytes)
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
pub fn sum(header: &[u8], index: u64) -> u64 {
    codec::checksum(&index.to_le_bytes(), header)
}

pub fn header(coverage: &Coverage) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(MAGIC);
    coverage.write(&mut w);
    w.0.resize(BLOCK - 8, 0);
    codec::append_checksum(b"header", w.0)
}

pub fn read_header(bytes: &[u8]) -> Result<Coverage, DecodeError> {
    let mut r = Reader::versioned(codec::verify_checksum(b"header", bytes)?)?;
    if r.u64()? != MAGIC {
        return Err(DecodeError::Value);
    }
    Coverage::read(&mut r)
}

pub fn read_index(bytes: &[u8], blocks: usize) -> Result<(Vec<u64>, Vec<IdFilter>), DecodeError> {
    let mut r = Reader(codec::verify_checksum(b"index", bytes)?);
    let fences = (0..blocks).map(|_| r.u64()).collect::<Result<_, _>>()?;
    let shards = blocks.div_ceil(SHARD_BLOCKS);
    let filters = (0..shards)
        .map(|_| IdFilter::read(&mut r))
        .collect::<Result<_, _>>()?;
    Ok((fences, filters))
}
