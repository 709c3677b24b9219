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
/// Only files of one day, counted from the epoch: a file is forgotten as a whole, by its newest
/// id. Files that are merged time and again would never be old if a merge could reach from one day
/// into the next.
const DAY: Millis = 86_400_000;
/// So many small neighbours are worth a merge.
const MERGE_FILES: usize = 8;

/// The oldest run of neighbouring files, in order, that is worth merging.
pub fn mergeable(files: &[Arc<SeenFile>]) -> Option<Range<usize>> {
    let sizes: Vec<_> = files
        .iter()
        .map(|file| (file.coverage.count, file.coverage.newest))
        .collect();
    worth_merging(&sizes)
}

/// Of files by their ids and the time of the newest.
fn worth_merging(files: &[(u64, Millis)]) -> Option<Range<usize>> {
    let today = files.last().map(|(_, newest)| newest.div_euclid(DAY));
    // To a day that is over nothing more is added: what there is becomes one.
    let small = |run: &[(u64, Millis)], ids: u64| {
        let day = run.first().map(|(_, newest)| newest.div_euclid(DAY));
        run.len() >= MERGE_FILES || ids >= MERGE_IDS[0] || day != today
    };
    let large = |_: &[(u64, Millis)], ids: u64| ids >= MERGE_IDS[1];
    run_of(files, MERGE_IDS[0], small).or_else(|| run_of(files, MERGE_IDS[1], large))
}

/// The first run of at least two files of one day, by their ids and the time of the newest, that
/// `is_worth` it: none is more than half of what they are to become, and all together little more
/// than that.
fn run_of(
    files: &[(u64, Millis)],
    target: u64,
    is_worth: impl Fn(&[(u64, Millis)], u64) -> bool,
) -> Option<Range<usize>> {
    let mut start = 0;
    while let Some((_, first)) = files.get(start) {
        let (mut run, mut ids) = (0, 0);
        for (count, newest) in &files[start..] {
            let fits = *count <= target / 2
                && ids + count <= target + target / 4
                && newest.div_euclid(DAY) == first.div_euclid(DAY);
            if !fits {
                break;
            }
            (run, ids) = (run + 1, ids + count);
        }
        if run >= 2 && is_worth(&files[start..start + run], ids) {
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

    /// Which files of these ids and days are merged.
    fn merged(files: &[(u64, Millis)]) -> Option<Range<usize>> {
        let files: Vec<_> = files.iter().map(|(ids, day)| (*ids, day * DAY)).collect();
        worth_merging(&files)
    }

    #[test]
    fn large_files_are_merged_once_and_within_a_day() {
        let quarter = MERGE_IDS[1] / 4;
        assert_eq!(merged(&[(quarter, 0); 3]), None);
        assert_eq!(merged(&[(quarter, 0); 4]), Some(0..4));
        assert_eq!(
            merged(&[(MERGE_IDS[1], 0), (quarter, 0)]),
            None,
            "large enough"
        );
        let behind = [
            (MERGE_IDS[1], 0),
            (quarter, 1),
            (quarter, 1),
            (quarter, 1),
            (quarter, 1),
        ];
        assert_eq!(merged(&behind), Some(1..5));
        let apart = [(quarter, 0), (quarter, 0), (quarter, 0), (quarter, 1)];
        assert_eq!(merged(&apart), None, "the old would be kept with the new");
    }

    #[test]
    fn small_files_are_merged_within_their_day_and_never_beyond_it() {
        assert_eq!(merged(&[(9, 0); MERGE_FILES - 1]), None);
        assert_eq!(merged(&[(9, 0); MERGE_FILES]), Some(0..MERGE_FILES));
        let days: Vec<_> = (0..40).map(|day| (9, day)).collect();
        assert_eq!(merged(&days), None, "one a day");
        assert_eq!(
            merged(&[(9, 0), (9, 0), (9, 1)]),
            Some(0..2),
            "a day that is over"
        );
    }
}
