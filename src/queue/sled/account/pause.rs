//! The operator's pause: the file `pause` in the queue's folder, one line of JSON.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::queue::contract::PauseRecord;
use crate::queue::sled::disk::{PAUSE, StoreError, replace, sync_dir};

/// What the operator is told of a failure names the file.
type Told<T> = Result<T, String>;

/// The record; none if there is no pause.
pub fn load(root: &Path) -> Told<Option<PauseRecord>> {
    let file = root.join(PAUSE);
    read(&file).map_err(|why| format!("the file {} cannot be read: {why}", file.display()))
}

/// Keeps a record, or that there is none, durably.
pub fn keep(root: &Path, record: Option<&PauseRecord>) -> Told<()> {
    let file = root.join(PAUSE);
    match record {
        Some(record) => write(&file, record)
            .map_err(|error| format!("{} cannot be written: {error}", file.display())),
        None => remove(&file)
            .map_err(|error| format!("the file {} cannot be removed: {error}", file.display())),
    }
}

/// The file's record; `None` if there is no file.
fn read(file: &Path) -> Result<Option<PauseRecord>, String> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let record: PauseRecord = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if record.length.is_some() != record.until.is_some() {
        return Err("it says half of when the pause ends".into());
    }
    Ok(Some(record))
}

/// Invariant: after any crash the file is the old one or the new one, whole.
fn write(file: &Path, record: &PauseRecord) -> io::Result<()> {
    needs_descriptors(file)?;
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    replace(file, &file.with_extension("new"), &bytes).map_err(StoreError::into_source)
}

/// Elsewhere a missing descriptor is waited for; the operator is told of it at once.
fn needs_descriptors(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(file);
    drop((File::open(folder)?, File::open(folder)?));
    Ok(())
}

/// Durably.
fn remove(file: &Path) -> io::Result<()> {
    needs_descriptors(file)?;
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = file.parent().unwrap_or(file);
    sync_dir(folder).map_err(StoreError::into_source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> PauseRecord {
        PauseRecord {
            since: 1_790_000_000_000,
            until: Some(1_790_003_600_000),
            reason: Some("the shop \"moves\"\n".into()),
            length: Some(3_600_000),
        }
    }

    #[test]
    fn the_bytes_are_those_of_every_release() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(PAUSE);
        assert_eq!(read(&file), Ok(None));
        write(&file, &record()).unwrap();
        let bytes = fs::read_to_string(&file).unwrap();
        assert_eq!(
            bytes,
            "{\"since\":1790000000000,\"until\":1790003600000,\
             \"reason\":\"the shop \\\"moves\\\"\\n\",\"length\":3600000}\n"
        );
        assert_eq!(read(&file), Ok(Some(record())));
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert_eq!(read(&file), Ok(None));
    }

    #[test]
    fn what_says_half_or_nothing_is_an_error() {
        for bytes in [
            &b""[..],
            b"{",
            b"\xff",
            b"{\"since\":1,\"until\":2}",
            b"{\"since\":1,\"until\":null,\"reason\":null,\"length\":5}",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(PAUSE);
            fs::write(&file, bytes).unwrap();
            assert!(read(&file).is_err());
        }
    }

    #[test]
    fn a_folder_that_is_gone_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gone").join(PAUSE);
        assert!(write(&file, &record()).is_err());
        assert!(remove(&file).is_err());
    }
}
