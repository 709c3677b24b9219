//! The anchor: what the folder must at least be, kept beside it.
//!
//! A folder that is emptied, or put back from yesterday's copy, looks whole by itself. So a file
//! next to it, `<folder>.anchor`, holds the queue's identity and its counters as they last were.
//! Invariant: it names nothing that is not durable in the folder, so a folder behind it was put
//! back or harmed and never just cut short by a crash. It is written at each start and stop, when
//! a generation rolls, every few seconds while something changes, and before an end by failure.
//!
//! It is a witness and no part of the promise: where the parent folder cannot be written, that is
//! said once, and the queue does without.

use std::fs::{self};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::queue::contract::OpenError;
use crate::queue::lock::lock;
use crate::queue::record::codec::{self, DecodeError, Reader, Writer};
use crate::queue::sled::account::identity::{self, Identity};
use crate::queue::sled::disk::{At, StoreError, replace, retry_without_fds};
use crate::queue::sled::record::State;

const KEY: &[u8] = b"anchor";

/// What was last known of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub identity: Identity,
    pub state: State,
    /// Events that waited or were under way.
    pub open: u64,
    /// Dead letters.
    pub dead: u64,
    /// The folder was a file system of its own.
    pub is_mount: bool,
}

/// What stands beside a folder.
#[derive(Debug)]
pub enum Beside {
    /// Nothing: a new queue, or one of an older release, or one that was moved here.
    Nothing,
    /// A file that cannot be used.
    Damaged(PathBuf),
    Anchor(Box<Anchor>),
}

impl Beside {
    pub fn anchor(&self) -> Option<&Anchor> {
        match self {
            Self::Anchor(anchor) => Some(anchor),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }

    /// Refuses a folder that was a file system of its own and is none now.
    pub fn refuse_unmounted(&self, root: &Path) -> Result<(), OpenError> {
        let Some(anchor) = self.anchor().filter(|anchor| anchor.is_mount) else {
            return Ok(());
        };
        if is_mount(root)?.unwrap_or(false) {
            return Ok(());
        }
        Err(OpenError::Damaged(format!(
            "queue folder {}: it was a file system of its own, with {} undelivered events and {} \
             dead letters, and is not mounted now: mount it; if it is gone for good, `pinrelay \
             adopt`",
            root.display(),
            anchor.open,
            anchor.dead
        )))
    }
}

/// The path of a folder's anchor; none for the root of a file system.
pub fn path_of(root: &Path) -> Option<PathBuf> {
    let mut name = root.file_name()?.to_owned();
    name.push(".anchor");
    Some(root.with_file_name(name))
}

/// Whether a folder is a file system of its own; none where there is no folder.
pub fn is_mount(root: &Path) -> Result<Option<bool>, StoreError> {
    let device = |path: &Path| match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.dev())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at(path),
    };
    let parent = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => device(parent)?,
        _ => device(Path::new("."))?,
    };
    Ok(device(root)?.map(|own| Some(own) != parent))
}

/// Reads what stands beside a folder.
pub fn read(root: &Path) -> Result<Beside, StoreError> {
    let Some(path) = path_of(root) else {
        return Ok(Beside::Nothing);
    };
    let bytes = match retry_without_fds(|| fs::read(&path)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Beside::Nothing),
        // Somebody else's, or no file: it is a witness, and does not keep the queue from opening.
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::PermissionDenied | ErrorKind::IsADirectory
            ) =>
        {
            return Ok(Beside::Damaged(path));
        }
        read => read.at(&path)?,
    };
    match decode(&path, &bytes) {
        Ok(anchor) => Ok(Beside::Anchor(Box::new(anchor))),
        Err(DecodeError::Newer(version)) => Err(StoreError::Newer { path, version }),
        Err(_) => Ok(Beside::Damaged(path)),
    }
}

/// Writes the anchor in place of the one that is there, durably.
pub fn write(root: &Path, anchor: &Anchor) -> Result<(), StoreError> {
    // One at a time: they share the file that is not yet in place.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = lock(&WRITING);
    let Some(path) = path_of(root) else {
        return Ok(());
    };
    let tmp = path.with_extension("anchor.tmp");
    replace(&path, &tmp, &encode(anchor))
}

fn encode(anchor: &Anchor) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.bytes(anchor.identity.text().as_bytes());
    anchor.state.write(&mut w);
    w.u64(anchor.open);
    w.u64(anchor.dead);
    w.u8(u8::from(anchor.is_mount));
    codec::append_checksum(KEY, w.0)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Anchor, DecodeError> {
    let mut r = Reader::versioned(codec::verify_checksum(KEY, bytes)?)?;
    let text = String::from_utf8_lossy(r.bytes()?).into_owned();
    Ok(Anchor {
        identity: identity::parse(path, &text).map_err(|_| DecodeError::Value)?,
        state: State::read(&mut r)?,
        open: r.u64()?,
        dead: r.u64()?,
        is_mount: r.u8()? != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::numbers::Seq;

    #[test]
    fn it_comes_back_as_it_was_and_a_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("queue");
        assert!(matches!(read(&root).unwrap(), Beside::Nothing));
        let anchor = Anchor {
            identity: identity::load_or_create(dir.path(), Some("here")).unwrap(),
            state: State {
                last_seq: Seq(9),
                ..State::default()
            },
            open: 4,
            dead: 5,
            is_mount: false,
        };
        write(&root, &anchor).unwrap();
        assert_eq!(read(&root).unwrap().anchor(), Some(&anchor));
        let path = path_of(&root).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            assert!(
                read(&root).map_or(true, |found| found.anchor().is_none()),
                "{at}"
            );
            bytes[at] ^= 4;
        }
    }
}
