//! `seen/`: the messageIds of sealed generations, one sorted, immutable file for one or several
//! of them, with a filter that stays in memory.
//!
//! Why plain files and not a store: they are written once, in order, and read one block at a
//! time; 16 bytes an id and about 2.3 for the filter, and deleting one gives its disk back.
//!
//! Layout: header (one block) · blocks of [`PER_BLOCK`] ids, ascending, each with its checksum ·
//! the index: the upper half of each block's first id, a filter (descriptor and fingerprints) per
//! [`SHARD_BLOCKS`] blocks, and a checksum over all of it. A file is written as `.tmp`, synced, and renamed into place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter as _, FilterRef as _};

use super::codec::{self, Bad, Reader, Writer};
use super::store::{At, StoreError, patiently, sync_dir};
use crate::queue::entry::Millis;

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

/// An open file of remembered ids.
pub(super) struct SeenFile {
    file: File,
    path: PathBuf,
    pub(super) coverage: Coverage,
    /// The upper half of each block's first id.
    fences: Vec<u64>,
    /// One for each [`SHARD_BLOCKS`] blocks.
    filters: Vec<IdFilter>,
}

/// Says "no" for nearly every id that is not in its blocks.
pub(super) struct IdFilter {
    descriptor: Vec<u8>,
    /// Empty: it always says "maybe".
    fingerprints: Vec<u16>,
}

impl IdFilter {
    fn new(keys: &[u64]) -> Self {
        // Building may fail for a handful of ids; then every look-up reads its block.
        let Ok(filter) = BinaryFuse16::try_from(keys) else {
            return Self {
                descriptor: Vec::new(),
                fingerprints: Vec::new(),
            };
        };
        let mut descriptor = vec![0; BinaryFuse16::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut descriptor);
        Self {
            descriptor,
            fingerprints: filter.fingerprints.into_vec(),
        }
    }

    pub(super) fn may_hold(&self, id: u128) -> bool {
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

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.descriptor);
        w.u32(self.fingerprints.len() as u32);
        for fingerprint in &self.fingerprints {
            w.0.extend_from_slice(&fingerprint.to_le_bytes());
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Bad> {
        let descriptor = r.bytes()?.to_vec();
        let count = r.u32()? as usize;
        if count > 0 && descriptor.len() != BinaryFuse16::DESCRIPTOR_LEN {
            return Err(Bad::Value);
        }
        let raw = r.take(count * 2)?.chunks_exact(2);
        let fingerprints = raw.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let filter = Self {
            descriptor,
            fingerprints,
        };
        if count > 0 && !filter.is_whole() {
            return Err(Bad::Value);
        }
        Ok(filter)
    }
}

/// The name of the file that covers these generations.
pub(super) fn file_name(generations: (u64, u64)) -> String {
    format!("{:010}-{:010}.ids", generations.0, generations.1)
}

impl SeenFile {
    /// Writes a new file into `dir` from ids in any order, durably, and opens it.
    pub(super) fn write(
        dir: &Path,
        coverage: Coverage,
        mut ids: Vec<u128>,
    ) -> Result<Self, StoreError> {
        ids.sort_unstable();
        Self::write_sorted(dir, coverage, ids.into_iter().map(Ok))
    }

    /// Writes a new file from ascending ids, which may repeat; holds one shard at a time.
    fn write_sorted(
        dir: &Path,
        coverage: Coverage,
        ids: impl Iterator<Item = Result<u128, StoreError>>,
    ) -> Result<Self, StoreError> {
        let path = dir.join(file_name(coverage.generations));
        let tmp = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = patiently(|| options.open(&tmp)).at(&tmp)?;
        let mut body = Body {
            out: BufWriter::with_capacity(1 << 18, &file),
            tmp: &tmp,
            block: Vec::with_capacity(PER_BLOCK),
            fences: Vec::new(),
            keys: Vec::new(),
            filters: Writer::default(),
        };
        // The header knows the count last; its place is kept.
        body.put(&[0; BLOCK])?;
        let mut count = 0;
        let mut before = None;
        for id in ids {
            let id = id?;
            if before.replace(id) != Some(id) {
                count += 1;
                body.push(id)?;
            }
        }
        body.finish()?;
        let header = header(&Coverage { count, ..coverage });
        file.write_all_at(&header, 0).at(&tmp)?;
        file.sync_all().at(&tmp)?;
        std::fs::rename(&tmp, &path).at(&path)?;
        sync_dir(dir)?;
        Self::open(&path)
    }

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
            fences,
            filters,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `id` is among them: the filter first, then one read.
    pub(super) fn contains(&self, id: u128) -> Result<bool, StoreError> {
        let upper = (id >> 64) as u64;
        // Blocks whose first id has the same upper half may begin with it; go back one as well.
        let end = self.fences.partition_point(|fence| *fence <= upper);
        let start = self.fences[..end]
            .partition_point(|fence| *fence < upper)
            .saturating_sub(1);
        for block in start..end {
            if self.filters[block / SHARD_BLOCKS].may_hold(id)
                && self.block(block)?.binary_search(&id).is_ok()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All ids, ascending, read block by block.
    pub(super) fn ids(&self) -> impl Iterator<Item = Result<u128, StoreError>> + '_ {
        (0..self.fences.len()).flat_map(|at| match self.block(at) {
            Ok(ids) => ids.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
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

/// A file while it is written.
struct Body<'a> {
    out: BufWriter<&'a File>,
    tmp: &'a Path,
    block: Vec<u128>,
    fences: Vec<u64>,
    /// Filter keys of the shard that is being filled.
    keys: Vec<u64>,
    filters: Writer,
}

impl Body<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.out.write_all(bytes).at(self.tmp)
    }

    fn push(&mut self, id: u128) -> Result<(), StoreError> {
        self.block.push(id);
        self.keys.push(id as u64);
        if self.block.len() == PER_BLOCK {
            self.end_block()
        } else {
            Ok(())
        }
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.block.first() else {
            return Ok(());
        };
        let at = self.fences.len() as u64;
        self.fences.push((first >> 64) as u64);
        let mut w = Writer(Vec::with_capacity(BLOCK));
        self.block.drain(..).for_each(|id| w.u128(id));
        w.0.resize(BLOCK - 8, 0);
        self.put(&codec::seal(&at.to_le_bytes(), w.0))?;
        if self.fences.len().is_multiple_of(SHARD_BLOCKS) {
            self.end_shard();
        }
        Ok(())
    }

    fn end_shard(&mut self) {
        if !self.keys.is_empty() {
            IdFilter::new(&self.keys).write(&mut self.filters);
            self.keys.clear();
        }
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.end_block()?;
        self.end_shard();
        let mut index = Writer::default();
        self.fences.iter().for_each(|fence| index.u64(*fence));
        index.0.append(&mut self.filters.0);
        self.put(&codec::seal(b"index", index.0))?;
        self.out.flush().at(self.tmp)
    }
}

/// Files are merged until one holds about this many ids.
const MERGE_IDS: u64 = 1_500_000;
/// So many small neighbours are worth a merge.
const MERGE_FILES: usize = 8;

/// The oldest run of neighbouring files, in order, that is worth merging.
pub(super) fn mergeable(files: &[Arc<SeenFile>]) -> Option<Range<usize>> {
    let mut start = 0;
    while start < files.len() {
        let mut ids = 0;
        let small = |file: &&Arc<SeenFile>| {
            ids += file.coverage.count;
            ids <= MERGE_IDS + MERGE_IDS / 4
        };
        let run = files[start..].iter().take_while(small).count();
        let merged = files[start..start + run]
            .iter()
            .map(|f| f.coverage.count)
            .sum::<u64>();
        if run >= MERGE_FILES || (run >= 2 && merged >= MERGE_IDS) {
            return Some(start..start + run);
        }
        start += run.max(1);
    }
    None
}

/// One file for several adjacent ones, read in step. The old files still stand; the caller
/// deletes them.
pub(super) fn merge(dir: &Path, files: &[Arc<SeenFile>]) -> Result<Option<SeenFile>, StoreError> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else {
        return Ok(None);
    };
    let coverage = Coverage {
        generations: (first.coverage.generations.0, last.coverage.generations.1),
        last_seq: files.iter().map(|f| f.coverage.last_seq).max().unwrap_or(0),
        newest: files.iter().map(|f| f.coverage.newest).max().unwrap_or(0),
        count: 0,
    };
    let mut sources: Vec<_> = files.iter().map(|file| file.ids()).collect();
    let mut heads = BinaryHeap::new();
    let mut failed = None;
    for (at, source) in sources.iter_mut().enumerate() {
        heads.extend(source.next().transpose()?.map(|id| Reverse((id, at))));
    }
    let merged = std::iter::from_fn(|| {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let Reverse((id, at)) = heads.pop()?;
        match sources[at].next() {
            Some(Ok(next)) => heads.push(Reverse((next, at))),
            Some(Err(error)) => failed = Some(error),
            None => {}
        }
        Some(Ok(id))
    });
    SeenFile::write_sorted(dir, coverage, merged).map(Some)
}

pub(super) fn header(coverage: &Coverage) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(MAGIC);
    w.u64(coverage.generations.0);
    w.u64(coverage.generations.1);
    w.u64(coverage.last_seq);
    w.i64(coverage.newest);
    w.u64(coverage.count);
    w.0.resize(BLOCK - 8, 0);
    codec::seal(b"header", w.0)
}

pub(super) fn read_header(bytes: &[u8]) -> Result<Coverage, Bad> {
    let mut r = Reader::versioned(codec::open(b"header", bytes)?)?;
    if r.u64()? != MAGIC {
        return Err(Bad::Value);
    }
    let generations = (r.u64()?, r.u64()?);
    Ok(Coverage {
        generations,
        last_seq: r.u64()?,
        newest: r.i64()?,
        count: r.u64()?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> u128 {
        // Spread like a hash.
        u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    fn coverage(generation: u64) -> Coverage {
        Coverage {
            generations: (generation, generation),
            last_seq: 9,
            newest: 5,
            count: 0,
        }
    }

    #[test]
    fn every_id_is_found_and_no_other_also_after_a_merge() {
        let dir = tempfile::tempdir().unwrap();
        for (generation, n) in [(1, 1), (2, 2), (3, 254), (4, 255), (5, 256), (6, 70_000)] {
            let ids: Vec<u128> = (0..n).map(|i| id(generation * 1_000_000 + i)).collect();
            let file = SeenFile::write(dir.path(), coverage(generation), ids.clone()).unwrap();
            assert_eq!(file.coverage.count, n);
            assert!(ids.iter().all(|id| file.contains(*id).unwrap()));
            let strangers = (1..5000).map(|i| id(generation * 1_000_000 + n + i));
            assert_eq!(
                strangers.filter(|id| file.contains(*id).unwrap()).count(),
                0
            );
        }
        let names = (1..=6).map(|g| dir.path().join(file_name((g, g))));
        let files: Vec<_> = names
            .map(|p| Arc::new(SeenFile::open(&p).unwrap()))
            .collect();
        let merged = merge(dir.path(), &files).unwrap().unwrap();
        assert_eq!(merged.coverage.generations, (1, 6));
        for file in &files {
            assert!(file.ids().all(|id| merged.contains(id.unwrap()).unwrap()));
        }
    }

    #[test]
    fn ids_that_share_their_upper_half_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<u128> = (0..3000).map(|low| (7u128 << 64) | low).collect();
        let file = SeenFile::write(dir.path(), coverage(1), ids.clone()).unwrap();
        assert!(ids.iter().all(|id| file.contains(*id).unwrap()));
        assert!(!file.contains((7u128 << 64) | 3001).unwrap());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = SeenFile::write(dir.path(), coverage(1), (0..1000).map(id).collect()).unwrap();
        let path = file.path().to_owned();
        let good = std::fs::read(&path).unwrap();
        for at in [9, good.len() - 3] {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            assert!(
                matches!(SeenFile::open(&path), Err(StoreError::Damaged { .. })),
                "byte {at}"
            );
        }
        let mut bytes = good;
        bytes[BLOCK + 100] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let file = SeenFile::open(&path).unwrap();
        assert!(
            file.ids().any(|id| id.is_err()),
            "a damaged block is found when it is read"
        );
    }
}
