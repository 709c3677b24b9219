//! `high`: what the stores must hold, kept outside of them.
//!
//! A store that opens below these numbers was damaged or silently truncated. Two slots are
//! written in turn, so that a torn write leaves the other. It is written after each commit and
//! before the receipts, and synced only when a generation rolls and at a clean stop: a kill
//! loses nothing of it, and after a power cut it is at worst behind, never ahead.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chunk::AcceptTotals;
use super::codec::{self, Bad, Reader, Writer};
use super::store::{At, StoreError, sync_dir};

const SLOT: u64 = 512;
pub(super) const KEY: &[u8] = b"high";

/// The numbers kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct High {
    /// The last committed sequence number.
    pub(super) last_seq: u64,
    /// How often `meta` was written.
    pub(super) settle_no: u64,
    /// Totals of the accept side.
    pub(super) totals: AcceptTotals,
    /// The process stopped in order and closed its stores.
    pub(super) clean: bool,
}

/// The open file.
pub(super) struct HighFile {
    file: File,
    path: PathBuf,
    written: u64,
}

/// What the file said at open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file: a new queue.
    Nothing,
    /// Both slots are unreadable.
    Damaged,
    /// The newest readable slot.
    High(High),
}

impl HighFile {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let existed = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at(path)?;
        let mut newest: Option<(u64, High)> = None;
        for slot in 0..2 {
            match read_slot(&file, slot) {
                Ok(found) if newest.is_none_or(|(no, _)| found.0 > no) => newest = Some(found),
                Err(Bad::Newer(version)) => {
                    return Err(StoreError::Newer {
                        path: path.into(),
                        version,
                    });
                }
                _ => {}
            }
        }
        if !existed {
            file.sync_all().at(path)?;
            if let Some(parent) = path.parent() {
                sync_dir(parent)?;
            }
        }
        let found = match newest {
            Some((_, high)) => Found::High(high),
            None if existed => Found::Damaged,
            None => Found::Nothing,
        };
        let written = newest.map_or(0, |(no, _)| no);
        Ok((
            Self {
                file,
                path: path.into(),
                written,
            },
            found,
        ))
    }

    /// Writes the numbers, unsynced.
    pub(super) fn write(&mut self, high: &High) -> Result<(), StoreError> {
        self.written += 1;
        self.file
            .write_all_at(&record(self.written, high), self.written % 2 * SLOT)
            .at(&self.path)
    }

    /// Makes the numbers durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().at(&self.path)
    }
}

/// version, written, last_seq, settle_no, five totals, clean, checksum.
const RECORD: usize = 1 + 8 * 3 + 8 * 5 + 1 + 8;

fn read_slot(file: &File, slot: u64) -> Result<(u64, High), Bad> {
    let mut bytes = [0; RECORD];
    file.read_exact_at(&mut bytes, slot * SLOT)
        .map_err(|_| Bad::Short)?;
    read_record(&bytes)
}

/// The `written`-th record as it stands in its slot.
pub(super) fn record(written: u64, high: &High) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(written);
    w.u64(high.last_seq);
    w.u64(high.settle_no);
    high.totals.write(&mut w);
    w.u8(u8::from(high.clean));
    codec::seal(KEY, w.0)
}

/// The inverse of [`record`].
pub(super) fn read_record(bytes: &[u8]) -> Result<(u64, High), Bad> {
    let mut r = Reader::versioned(codec::open(KEY, bytes)?)?;
    let written = r.u64()?;
    let high = High {
        last_seq: r.u64()?,
        settle_no: r.u64()?,
        totals: AcceptTotals::read(&mut r)?,
        clean: r.u8()? != 0,
    };
    Ok((written, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_slot_counts_and_a_torn_one_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high");
        let (mut file, found) = HighFile::open(&path).unwrap();
        assert_eq!(found, Found::Nothing);
        for last_seq in 1..=7 {
            file.write(&High {
                last_seq,
                ..High::default()
            })
            .unwrap();
        }
        let reopened = || HighFile::open(&path).unwrap().1;
        assert_eq!(
            reopened(),
            Found::High(High {
                last_seq: 7,
                ..High::default()
            })
        );
        // The seventh write went to slot 1; tear it.
        let raw = OpenOptions::new().write(true).open(&path).unwrap();
        raw.write_all_at(&[0xff; 4], SLOT + 20).unwrap();
        assert_eq!(
            reopened(),
            Found::High(High {
                last_seq: 6,
                ..High::default()
            })
        );
        raw.write_all_at(&[0xff; 4], 20).unwrap();
        assert_eq!(reopened(), Found::Damaged);
    }
}
