//! `high`: what the stores must hold, kept outside of them.
//!
//! A store that opens below these numbers was damaged or silently truncated. Two slots are
//! written in turn, so that a torn write leaves the other. It is written after each commit and
//! before the receipts, and synced only when a generation rolls and at a clean stop: a kill
//! loses nothing of it, and after a power cut it is at worst behind, never ahead.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::queue::record::codec::{self, DecodeError, Reader, Writer};
use crate::queue::sled::disk::{At, StoreError, is_there, sync_dir};
use crate::queue::sled::record::State;

const SLOT: u64 = 512;
pub const KEY: &[u8] = b"high";

/// The numbers kept.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct High {
    /// The counters as of the last commitment.
    pub state: State,
    /// The process stopped in order and closed its stores.
    pub clean: bool,
}

/// The open file.
pub struct HighFile {
    file: File,
    path: PathBuf,
    written: u64,
}

/// What the file said at open.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file: a new queue.
    Nothing,
    /// Both slots are unreadable.
    Damaged,
    /// The newest readable slot.
    High(High),
}

impl HighFile {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let existed = is_there(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at(path)?;
        let (newest, found) = read(&file, path)?;
        if !existed {
            file.sync_all().at(path)?;
            if let Some(parent) = path.parent() {
                sync_dir(parent)?;
            }
        }
        let written = newest.unwrap_or(0);
        Ok((
            Self {
                file,
                path: path.into(),
                written,
            },
            found,
        ))
    }

    /// Reads the file without taking it up.
    pub fn look(path: &Path) -> Result<Found, StoreError> {
        match File::open(path) {
            Ok(file) => Ok(read(&file, path)?.1),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error).at(path),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the numbers, unsynced.
    pub fn write(&mut self, high: &High) -> Result<(), StoreError> {
        self.written += 1;
        self.file
            .write_all_at(&record(self.written, high), self.written % 2 * SLOT)
            .at(&self.path)
    }

    /// Makes the numbers durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().at(&self.path)
    }
}

/// version, written, state, clean, checksum.
const RECORD: usize = 1 + 8 + State::LEN + 1 + 8;

/// The number of the newest readable slot, and what the file says.
fn read(file: &File, path: &Path) -> Result<(Option<u64>, Found), StoreError> {
    let mut newest: Option<(u64, High)> = None;
    for slot in 0..2 {
        match read_slot(file, slot).at(path)? {
            Ok(found) if newest.is_none_or(|(no, _)| found.0 > no) => newest = Some(found),
            Err(DecodeError::Newer(version)) => {
                return Err(StoreError::Newer {
                    path: path.into(),
                    version,
                });
            }
            _ => {}
        }
    }
    Ok(match newest {
        Some((no, high)) => (Some(no), Found::High(high)),
        // One that a crash left between making it and writing it says nothing yet.
        None if file.metadata().at(path)?.len() > 0 => (None, Found::Damaged),
        None => (None, Found::Nothing),
    })
}

fn read_slot(file: &File, slot: u64) -> io::Result<Result<(u64, High), DecodeError>> {
    let mut bytes = [0; RECORD];
    match file.read_exact_at(&mut bytes, slot * SLOT) {
        Ok(()) => Ok(read_record(&bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(DecodeError::Short)),
        Err(e) => Err(e),
    }
}

/// The `written`-th record as it stands in its slot.
pub fn record(written: u64, high: &High) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(written);
    high.state.write(&mut w);
    w.u8(u8::from(high.clean));
    codec::append_checksum(KEY, w.0)
}

/// The inverse of [`record`].
pub fn read_record(bytes: &[u8]) -> Result<(u64, High), DecodeError> {
    let mut r = Reader::versioned(codec::verify_checksum(KEY, bytes)?)?;
    let written = r.u64()?;
    let high = High {
        state: State::read(&mut r)?,
        clean: r.u8()? != 0,
    };
    Ok((written, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::numbers::Seq;

    fn at(last_seq: Seq) -> High {
        High {
            state: State {
                last_seq,
                ..State::default()
            },
            clean: false,
        }
    }

    #[test]
    fn the_newest_slot_counts_and_a_torn_one_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high");
        let (mut file, found) = HighFile::open(&path).unwrap();
        assert_eq!(found, Found::Nothing);
        for last_seq in 1..=7 {
            file.write(&at(Seq(last_seq))).unwrap();
        }
        let reopened = || HighFile::open(&path).unwrap().1;
        assert_eq!(reopened(), Found::High(at(Seq(7))));
        // The seventh write went to slot 1; tear it.
        let raw = OpenOptions::new().write(true).open(&path).unwrap();
        raw.write_all_at(&[0xff; 4], SLOT + 20).unwrap();
        assert_eq!(reopened(), Found::High(at(Seq(6))));
        raw.write_all_at(&[0xff; 4], 20).unwrap();
        assert_eq!(reopened(), Found::Damaged);
    }
}
