//! Files that a command makes for its user alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a file that its owner alone can read. Whatever stands there is refused as
/// [`io::ErrorKind::AlreadyExists`]: somebody may have an older file open, and a link leads to
/// where somebody else wants it.
///
/// # Errors
/// The system's.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)
}
