//! Merging: many small files of neighbouring generations become one, or a look-up of an id would
//! ask more filters with every generation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::super::error::StoreError;
use super::{Coverage, SeenFile};

/// Files are merged until one holds about this many ids.
const MERGE_IDS: u64 = 1_500_000;
/// So many small neighbours are worth a merge.
const MERGE_FILES: usize = 8;

/// The oldest run of neighbouring files, in order, that is worth merging.
pub(crate) fn mergeable(files: &[Arc<SeenFile>]) -> Option<Range<usize>> {
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
pub(crate) fn merge(dir: &Path, files: &[Arc<SeenFile>]) -> Result<Option<SeenFile>, StoreError> {
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
