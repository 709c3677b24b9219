//! Files of remembered ids: every id is found, no other is, and damage is refused.

use std::sync::Arc;

use super::file::{BLOCK, SeenFile};
use super::merge::merge;
use crate::queue::contract::Seq;
use crate::queue::sled::disk::{StoreError, seen_file};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::record::Coverage;

fn id(n: u64) -> u128 {
    // Spread like a hash.
    u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn coverage(generation: u64) -> Coverage {
    Coverage {
        generations: (Generation(generation), Generation(generation)),
        last_seq: Seq(9),
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
    let names = (1..=6).map(|g| dir.path().join(seen_file((Generation(g), Generation(g)))));
    let files: Vec<_> = names
        .map(|p| Arc::new(SeenFile::open(&p).unwrap()))
        .collect();
    let merged = merge(dir.path(), &files).unwrap().unwrap();
    assert_eq!(merged.coverage.generations, (Generation(1), Generation(6)));
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
