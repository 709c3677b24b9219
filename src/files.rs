//! Reading files that somebody else names: the config, the token's, the webhook's, the machine's
//! id.
//!
//! Invariant: it waits for nobody and ends. Only a plain file is opened, without blocking: a FIFO
//! would hold whoever opens it until somebody writes into it, a device may never end. Nothing is
//! larger than its limit.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions, metadata, read_link, symlink_metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What OpenSSL and everything after it calls the file of certificate authorities.
const ROOTS_FILE: &str = "SSL_CERT_FILE";

/// The bytes of a plain file, at most `limit` of them, and what the system says of the file that
/// they are from.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no plain file,
/// [`io::ErrorKind::FileTooLarge`] beyond the limit.
pub fn read(path: &Path, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    // Opening alone does something to some devices.
    is_plain(&looked_at(path)?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    // Another may stand there by now.
    let about = file.metadata()?;
    is_plain(&about)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let what = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok((bytes, about))
}

/// The same as text.
///
/// # Errors
/// Those of [`read`]; [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?.0)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Whether a path leads to a plain file, for those who have it read by a library that would open
/// anything.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no plain file.
pub fn check_plain(path: &Path) -> io::Result<()> {
    is_plain(&looked_at(path)?)
}

/// That the file of certificate authorities that the environment names, if any, holds up nobody:
/// whoever reads it opens what stands there, and a FIFO would hold a start for ever.
///
/// # Errors
/// Says what stands there.
pub fn check_roots() -> Result<(), String> {
    let Some(named) = std::env::var_os(ROOTS_FILE) else {
        return Ok(());
    };
    match check_plain(Path::new(&named)) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(format!("{ROOTS_FILE} names {}: {error}", named.display()))
        }
        // One that is not there adds nothing, and there may be a folder of them.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What to do about a file that cannot be read, for the end of a message.
pub fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "put it there, or name another",
        io::ErrorKind::PermissionDenied => "give the daemon's user access to it",
        _ => "see to it, or name another",
    }
}

/// A symbolic link that leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DanglingLink {
    /// The link.
    pub link: PathBuf,
    /// What it names.
    pub target: PathBuf,
}

impl fmt::Display for DanglingLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, target) = (self.link.display(), self.target.display());
        write!(
            f,
            "{link} is a symbolic link to {target}, which is not there"
        )
    }
}

/// The first link on the way to a path, or in its place, that leads to nothing: the system says the
/// same of it as of a name that is missing, and yet nothing can be made there.
pub fn dangling_link(path: &Path) -> Option<DanglingLink> {
    let dangles = |at: &&Path| {
        let missing = metadata(at).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        missing && symlink_metadata(at).is_ok_and(|about| about.is_symlink())
    };
    // Below one that dangles nothing is found: the outermost is the last.
    let link = path.ancestors().filter(dangles).last()?;
    Some(DanglingLink {
        link: link.to_path_buf(),
        target: read_link(link).ok()?,
    })
}

fn looked_at(path: &Path) -> io::Result<Metadata> {
    metadata(path).map_err(|error| match dangling_link(path) {
        Some(link) => io::Error::new(error.kind(), link.to_string()),
        None => error,
    })
}

fn is_plain(about: &Metadata) -> io::Result<()> {
    let kind = about.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let what = format!("it is {what} and no plain file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_within_its_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap().0, b"12345");
        let kind = |read: io::Result<String>| read.unwrap_err().kind();
        assert_eq!(kind(read_text(&path, 4)), io::ErrorKind::FileTooLarge);
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for odd in [&fifo, folder.path(), Path::new("/dev/null")] {
            assert_eq!(kind(read_text(odd, 5)), io::ErrorKind::InvalidInput);
            let refused = check_plain(odd).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        let gone = folder.path().join("gone");
        let (link, way) = (
            folder.path().join("dangling"),
            folder.path().join("dangling/file"),
        );
        std::os::unix::fs::symlink(&gone, &link).unwrap();
        for path in [&link, &way] {
            let error = read(path, 5).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            let dangling = DanglingLink {
                link: link.clone(),
                target: gone.clone(),
            };
            assert_eq!(error.to_string(), dangling.to_string());
        }
        assert_eq!(dangling_link(&gone), None);
        assert_eq!(dangling_link(&path), None);
        // A link to a plain file is one, as secrets are mounted.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_text(&link, 5).unwrap(), "12345");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(kind(read_text(&path, 5)), io::ErrorKind::InvalidData);
    }
}
