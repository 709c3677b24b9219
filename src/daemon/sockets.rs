//! The sockets: the one that systemd passes, or our own.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::unistd::{Group, chown};

use super::error::DaemonError;
use crate::config::Admin;
use crate::net;

/// The listener that systemd passes through `pinrelay.socket`, if it does.
pub(super) fn passed() -> Result<Option<UnixListener>, DaemonError> {
    let unusable = |e| DaemonError::Io(format!("the socket passed by systemd cannot be used: {e}"));
    let listener = listenfd::ListenFd::from_env()
        .take_unix_listener(0)
        .map_err(unusable)?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true).map_err(unusable)?;
    }
    Ok(listener)
}

/// The admin socket: of the daemon's user alone, and of `[admin] group` if that can be had.
///
/// Invariant: it is never open to another group: whoever may send events need not command.
pub(super) fn admin(admin: &Admin) -> Result<UnixListener, DaemonError> {
    let listener = net::bind(&admin.socket, 0o600, "")?;
    if admin.group.is_empty() {
        return Ok(listener);
    }
    if let Err(why) = open_to(admin) {
        tracing::warn!(
            "admin socket {}: it cannot be given to the group {} ({why}); only the daemon's user \
             and root can use it",
            admin.socket.display(),
            admin.group
        );
    }
    Ok(listener)
}

/// Where metrics are served.
///
/// # Errors
/// [`DaemonError::InUse`] if somebody listens there already.
pub(super) fn metrics(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|e| {
        let message =
            format!("metrics.listen: {address}: {e}; choose another port, or leave it empty");
        match e.kind() {
            std::io::ErrorKind::AddrInUse => DaemonError::InUse(message),
            _ => DaemonError::Io(message),
        }
    })
}

fn open_to(admin: &Admin) -> Result<(), String> {
    let group = match Group::from_name(&admin.group) {
        Ok(Some(group)) => group.gid,
        Ok(None) => return Err("there is no such group".into()),
        Err(errno) => return Err(errno.to_string()),
    };
    chown(&admin.socket, None, Some(group)).map_err(|errno| {
        format!("{errno}: the daemon's user has to be a member (SupplementaryGroups=)")
    })?;
    fs::set_permissions(&admin.socket, Permissions::from_mode(0o660)).map_err(|e| e.to_string())
}
