//! Binding a Unix socket: never over a living daemon's, always over what a dead one left.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User, chown, geteuid};

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
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.into()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(BindError::InUse(path.into())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(at)?;
            }
            Err(error) => return Err(at(error)),
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
        let nowhere = dir.path().join("none/ingest.sock");
        assert!(matches!(
            bind(&nowhere, 0o660, ""),
            Err(BindError::Io { .. })
        ));
    }
}
