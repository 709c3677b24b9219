//! Writing a file of remembered ids: in one pass over ascending ids, one shard in memory, and put
//! in place by its name only when all of it is durable.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::queue::record::{
    codec::{self, Checksum, Writer},
    id_filter::IdFilter,
};
use crate::queue::sled::disk::{At, StoreError, put_in_place, retry_without_fds, seen_file};
use crate::queue::sled::ids::seen::file::{BLOCK, PER_BLOCK, SHARD_BLOCKS, SeenFile, header, sum};
use crate::queue::sled::record::Coverage;

impl SeenFile {
    /// Writes a new file into `dir` from ids in any order, durably.
    pub fn write(dir: &Path, coverage: Coverage, mut ids: Vec<u128>) -> Result<Self, StoreError> {
        ids.sort_unstable();
        Self::write_sorted(dir, coverage, ids.into_iter().map(Ok))
    }

    /// Writes a new file from ascending ids, which may repeat; holds one shard at a time.
    pub fn write_sorted(
        dir: &Path,
        coverage: Coverage,
        ids: impl Iterator<Item = Result<u128, StoreError>>,
    ) -> Result<Self, StoreError> {
        let path = dir.join(seen_file(coverage.generations));
        let tmp = path.with_extension("tmp");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let file = retry_without_fds(|| options.open(&tmp)).at(&tmp)?;
        let mut body = Body {
            out: BufWriter::with_capacity(1 << 18, &file),
            tmp: &tmp,
            block: Vec::with_capacity(PER_BLOCK),
            fences: Vec::new(),
            keys: Vec::new(),
            filters: Vec::new(),
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
        let (fences, filters, index) = body.finish()?;
        let coverage = Coverage { count, ..coverage };
        let header = header(&coverage);
        file.write_all_at(&header, 0).at(&tmp)?;
        put_in_place(&file, &tmp, &path)?;
        let len = file.metadata().at(&path)?.len();
        Ok(Self {
            file,
            path,
            coverage,
            len,
            sum: sum(&header, index),
            fences,
            filters,
        })
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
    filters: Vec<IdFilter>,
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
        self.put(&codec::append_checksum(&at.to_le_bytes(), w.0))?;
        if self.fences.len().is_multiple_of(SHARD_BLOCKS) {
            self.end_shard();
        }
        Ok(())
    }

    fn end_shard(&mut self) {
        if !self.keys.is_empty() {
            self.filters.push(IdFilter::new(&self.keys));
            self.keys.clear();
        }
    }

    /// Writes the index, which stays in memory, and gives its checksum. It is large: no second copy
    /// of it is made.
    fn finish(mut self) -> Result<(Vec<u64>, Vec<IdFilter>, u64), StoreError> {
        self.end_block()?;
        self.end_shard();
        let mut sum = Checksum::begun(b"index");
        let mut put = |piece: &Writer| {
            sum.add(&piece.0);
            self.out.write_all(&piece.0).at(self.tmp)
        };
        let mut piece = Writer::default();
        self.fences.iter().for_each(|fence| piece.u64(*fence));
        put(&piece)?;
        for filter in &self.filters {
            piece.0.clear();
            filter.write(&mut piece);
            put(&piece)?;
        }
        let sum = sum.done();
        self.put(&sum.to_le_bytes())?;
        self.out.flush().at(self.tmp)?;
        Ok((self.fences, self.filters, sum))
    }
}
