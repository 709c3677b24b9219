//! Binding a Unix socket: never over a living daemon's, always over what a dead one left; and knowing
//! one's own file again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::{Group, User, chown, geteuid};

use crate::files::{DanglingLink, dangling_link};

/// Bytes of a socket's path, without the zero behind it.
pub const LONGEST_PATH: usize = 107;

/// Why a socket could not be bound; each names the path and the next step.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A process answers on it (exit code 69).
    #[error(
        "socket {0}: another process is listening on it; stop that one, or give this instance \
         a socket of its own"
    )]
    InUse(PathBuf),
    /// Something else stands there (exit code 78).
    #[error("socket {0}: a file that is no socket stands there; remove it or choose another path")]
    NotASocket(PathBuf),
    /// No socket has so long a path (exit code 78).
    #[error(
        "socket {}: its path has {} bytes, and that of a socket at most {LONGEST_PATH}: choose a \
         shorter one", .0.display(), .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// Its folder is not there, though its name is (exit code 78).
    #[error("socket {path}: {link}: make it, or choose another path")]
    Dangling {
        /// The socket's path.
        path: PathBuf,
        /// What leads nowhere.
        link: DanglingLink,
    },
    /// The system refused (exit code 74).
    #[error("socket {path}: {source}; see that its folder exists and is writable for this user")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The file of a socket, which is known again for as long as this value lives.
///
/// Invariant: it is held open, so that no other file can get its number meanwhile.
pub struct SocketFile {
    path: PathBuf,
    file: File,
}

impl SocketFile {
    /// The socket that stands at `path` now.
    ///
    /// # Errors
    /// The system's.
    pub fn at(path: &Path) -> io::Result<Self> {
        // Neither followed nor opened for anything but its number.
        let flags = nix::libc::O_PATH | nix::libc::O_NOFOLLOW;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still stands there.
    pub fn is_there(&self) -> bool {
        let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => same(there, ours),
            _ => false,
        }
    }

    /// Removes it, unless another one stands there by now: a successor's.
    pub fn remove(&self) {
        if self.is_there() {
            // A socket file left behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds a listener at `path` with permissions `mode`, and gives the file to `group` if it is
/// named and exists. A socket file that nobody listens on is replaced.
///
/// # Errors
/// [`BindError`].
pub fn bind(path: &Path, mode: u32, group: &str) -> Result<UnixListener, BindError> {
    let at = |source| BindError::Io {
        path: path.into(),
        source,
    };
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(BindError::TooLong(path.into()));
    }
    if let Some(link) = path.parent().and_then(dangling_link) {
        let path = path.into();
        return Err(BindError::Dangling { path, link });
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.into()));
        }
        Ok(_) => match connect_now(path) {
            // Full of clients that wait, and so somebody's.
            Ok(_) | Err(Errno::EAGAIN) => return Err(BindError::InUse(path.into())),
            Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(at)?,
            Err(errno) => return Err(at(errno.into())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(error)),
    }
    let listener = UnixListener::bind(path).map_err(at)?;
    if let Err(why) = give_to(path, group) {
        tracing::warn!(
            "socket {}: {why}; until then it keeps the group of this process, and only its \
             members can connect",
            path.display()
        );
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at)?;
    listener.set_nonblocking(true).map_err(at)?;
    Ok(listener)
}

/// Whether somebody listens there.
pub fn is_listened_on(path: &Path) -> bool {
    // Full of clients that wait, it is somebody's as well.
    matches!(connect_now(path), Ok(_) | Err(Errno::EAGAIN))
}

/// Connects without waiting: whoever listens there may hang. What is sent over it does not wait
/// either.
///
/// # Errors
/// `EAGAIN` where the backlog is full of clients that wait, and the system's others.
pub fn connect_now(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Gives a file to a group, if one is named; why not, and what to do.
fn give_to(path: &Path, group: &str) -> Result<(), String> {
    if group.is_empty() {
        return Ok(());
    }
    let gid = match Group::from_name(group) {
        Ok(Some(found)) => found.gid,
        Ok(None) => {
            return Err(format!(
                "there is no group {group}: make it (`groupadd --system {group}`), or name another"
            ));
        }
        Err(errno) => return Err(format!("the group {group} cannot be looked up ({errno})")),
    };
    chown(path, None, Some(gid)).map_err(|errno| {
        let user = User::from_uid(geteuid()).ok().flatten();
        let user = user.map_or_else(|| "USER".into(), |user| user.name);
        format!(
            "it cannot be given to the group {group} ({errno}): this user has to be a member, \
             `usermod -a -G {group} {user}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successors_socket_is_not_taken_for_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ingest.sock");
        let first = bind(&path, 0o600, "").unwrap();
        let ours = SocketFile::at(&path).unwrap();
        assert!(ours.is_there());
        drop(first);
        let _second = bind(&path, 0o600, "").unwrap();
        assert!(!ours.is_there());
        ours.remove();
        assert!(path.exists(), "it is the successor's");
        SocketFile::at(&path).unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_living_socket_is_respected_a_dead_one_replaced_a_file_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ingest.sock");
        let living = bind(&path, 0o660, "no-such-group").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(bind(&path, 0o660, ""), Err(BindError::InUse(_))));
        drop(living);
        bind(&path, 0o600, "").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            bind(&path, 0o660, ""),
            Err(BindError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = dir.path().join("s".repeat(LONGEST_PATH));
        assert!(matches!(bind(&long, 0o660, ""), Err(BindError::TooLong(_))));
        std::os::unix::fs::symlink("gone", dir.path().join("link")).unwrap();
        let dangling = bind(&dir.path().join("link/ingest.sock"), 0o660, "");
        assert!(matches!(dangling, Err(BindError::Dangling { .. })));
        let nowhere = dir.path().join("none/ingest.sock");
        assert!(matches!(
            bind(&nowhere, 0o660, ""),
            Err(BindError::Io { .. })
        ));
    }
}
