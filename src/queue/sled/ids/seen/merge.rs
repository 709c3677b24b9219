//! Merging: many small files of neighbouring generations become one, or a look-up of an id would
//! ask more filters with every generation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::sled::disk::StoreError;
use crate::queue::sled::ids::seen::file::SeenFile;
use crate::queue::sled::record::Coverage;

/// Files are merged until one holds about this many ids, then those until they hold the next.
/// Building the index of the last takes about 30 MB.
const MERGE_IDS: [u64; 2] = [1_500_000, 6_000_000];
/// Large ones only while they are no further apart than this: a file is forgotten as a whole.
const APART: Millis = 86_400_000;
/// So many small neighbours are worth a merge.
const MERGE_FILES: usize = 8;

/// The oldest run of neighbouring files, in order, that is worth merging.
pub fn mergeable(files: &[Arc<SeenFile>]) -> Option<Range<usize>> {
    let sizes: Vec<_> = files
        .iter()
        .map(|file| (file.coverage.count, file.coverage.newest))
        .collect();
    let small = |run: usize, ids: u64| run >= MERGE_FILES || ids >= MERGE_IDS[0];
    let large = |_, ids: u64| ids >= MERGE_IDS[1];
    run_of(&sizes, MERGE_IDS[0], Millis::MAX, small)
        .or_else(|| run_of(&sizes, MERGE_IDS[1], APART, large))
}

/// The first run of at least two files, by their ids and the time of the newest, that `is_worth`
/// it: none is more than half of what they are to become, and all together little more than
/// that.
fn run_of(
    files: &[(u64, Millis)],
    target: u64,
    apart: Millis,
    is_worth: impl Fn(usize, u64) -> bool,
) -> Option<Range<usize>> {
    let mut start = 0;
    while let Some((_, first)) = files.get(start) {
        let (mut run, mut ids) = (0, 0);
        for (count, newest) in &files[start..] {
            let fits = *count <= target / 2
                && ids + count <= target + target / 4
                && newest.saturating_sub(*first) <= apart;
            if !fits {
                break;
            }
            (run, ids) = (run + 1, ids + count);
        }
        if run >= 2 && is_worth(run, ids) {
            return Some(start..start + run);
        }
        start += run.max(1);
    }
    None
}

/// One file for several adjacent ones, read in step. The old files still stand; the caller
/// deletes them.
pub fn merge(dir: &Path, files: &[Arc<SeenFile>]) -> Result<Option<SeenFile>, StoreError> {
    let (Some(first), Some(last)) = (files.first(), files.last()) else {
        return Ok(None);
    };
    let coverage = Coverage {
        generations: (first.coverage.generations.0, last.coverage.generations.1),
        last_seq: files
            .iter()
            .map(|f| f.coverage.last_seq)
            .max()
            .unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Millis = 86_400_000;

    /// Whether large files of these ids and ages in days are merged, and which.
    fn large(files: &[(u64, Millis)]) -> Option<Range<usize>> {
        let files: Vec<_> = files.iter().map(|(ids, day)| (*ids, day * DAY)).collect();
        run_of(&files, MERGE_IDS[1], APART, |_, ids| ids >= MERGE_IDS[1])
    }

    #[test]
    fn large_files_are_merged_once_and_within_a_day() {
        let quarter = MERGE_IDS[1] / 4;
        assert_eq!(large(&[(quarter, 0); 3]), None);
        assert_eq!(large(&[(quarter, 0); 4]), Some(0..4));
        assert_eq!(
            large(&[(MERGE_IDS[1], 0), (quarter, 0)]),
            None,
            "large enough"
        );
        let behind = [
            (MERGE_IDS[1], 0),
            (quarter, 1),
            (quarter, 1),
            (quarter, 1),
            (quarter, 2),
        ];
        assert_eq!(large(&behind), Some(1..5));
        let apart = [(quarter, 0), (quarter, 0), (quarter, 0), (quarter, 2)];
        assert_eq!(large(&apart), None, "the old would be kept with the new");
    }
}
