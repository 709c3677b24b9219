//! The places that a daemon uses: the sockets' folders and groups, the file of the webhook.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::Group;

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::{Config, Ingest, Place};
use crate::files::dangling_link;
use crate::net::LONGEST_PATH;
use crate::notify;

/// The file of the webhook's URL. The daemon runs without, so nothing of it is wrong.
pub(super) fn webhook(file: &Path) -> Finding {
    if let Err(error) = notify::read_url(file) {
        return Advice(format!("nobody is told: {error}"));
    }
    let file_named = file.display();
    match fs::metadata(file) {
        Ok(about) if about.permissions().mode() & 0o004 != 0 => Advice(format!(
            "{file_named} can be read by every local user, and whoever knows the URL can post \
             there: chmod 0640 {file_named}"
        )),
        _ => Fine(format!(
            "the webhook in {file_named} is told of trouble; `pinrelay notify --test` tries it"
        )),
    }
}

/// The group of the sockets that events come through.
pub(super) fn group(ingest: &Ingest) -> Vec<Finding> {
    let name = &ingest.group;
    if name.is_empty() {
        return vec![Fine(
            "the ingest socket keeps the group of the daemon".into(),
        )];
    }
    let group = match Group::from_name(name) {
        Ok(Some(group)) => group.gid.as_raw(),
        Ok(None) => {
            return vec![Advice(format!(
                "there is no group {name}: the ingest socket will keep the daemon's own; make the \
                 group (`groupadd --system {name}`) or set [ingest] group"
            ))];
        }
        Err(e) => return vec![Advice(format!("the group {name} cannot be looked up: {e}"))],
    };
    let http = ingest.http_socket.iter().map(|socket| ("HTTP", socket));
    let sockets = std::iter::once(("ingest", &ingest.socket)).chain(http);
    let others = sockets.filter(|(_, socket)| {
        let has = fs::metadata(socket).ok().map(|about| about.gid());
        has.is_some_and(|gid| gid != group)
    });
    let found: Vec<_> = others
        .map(|(word, socket)| {
            Advice(format!(
                "the {word} socket {0} does not belong to the group {name}, as [ingest] group has \
                 it: it was made before, or by a socket unit with another SocketGroup=; once the \
                 producers are in {name}: `sudo -u pinrelay chgrp {name} {0}`",
                socket.display()
            ))
        })
        .collect();
    match found.is_empty() {
        true => vec![Fine(format!("group {name} of the ingest socket"))],
        false => found,
    }
}

/// The group of the admin socket, if it is to have one.
pub(super) fn admin_group(config: &Config) -> Option<Finding> {
    let name = &config.admin.group;
    Some(match Group::from_name(name) {
        _ if name.is_empty() => return None,
        _ if *name == config.ingest.group => Advice(format!(
            "the group {name} is that of [ingest] and of [admin]: whoever may send events may read \
             dead letters and delete them, too; give [admin] a group of its own"
        )),
        Ok(Some(_)) => Fine(format!(
            "the admin socket is for the group {name} as well, of which the daemon's user has to \
             be a member (SupplementaryGroups={name})"
        )),
        Ok(None) => Advice(format!(
            "there is no group {name}: only the daemon's user and root will be able to use the \
             admin socket; make the group, or change [admin] group"
        )),
        Err(e) => Advice(format!("the group {name} cannot be looked up: {e}")),
    })
}

/// The nearest folder above a path that is there.
pub(super) fn nearest(path: &Path) -> Option<&Path> {
    let above = path.ancestors().skip(1);
    let named = above.map(|p| {
        if p.as_os_str().is_empty() {
            Path::new(".")
        } else {
            p
        }
    });
    named.into_iter().find(|p| p.exists())
}

/// What would keep a socket from being bound where the config has it; of those that stand in one
/// folder, what is wrong with it once.
pub(super) fn sockets(config: &Config) -> Vec<Finding> {
    let ingest = &config.ingest;
    let asked_for = config.http_socket_from != Place::Nowhere;
    let http = ingest.http_socket.iter();
    let sockets = [
        ("ingest.socket", &ingest.socket),
        ("admin.socket", &config.admin.socket),
    ];
    let sockets = (sockets.into_iter()).chain(http.map(|path| ("ingest.http_socket", path)));
    let mut folders = BTreeSet::new();
    let mut found = Vec::new();
    for (key, path) in sockets {
        // A daemon does without an HTTP socket that nobody asked for.
        let is_needed = key != "ingest.http_socket" || asked_for;
        let new = path
            .parent()
            .filter(|folder| folders.insert(folder.to_owned()));
        found.extend(new.and_then(|folder| socket_folder(key, folder)));
        found.extend(socket_file(key, path).map(|told| match is_needed {
            true => Wrong(told),
            false => Advice(format!(
                "{told}; without it HTTP is not served on a Unix socket"
            )),
        }));
    }
    found
}

/// What stands in a socket's place, or that none can.
fn socket_file(key: &str, path: &Path) -> Option<String> {
    let shown = path.display();
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return Some(format!(
            "{key} {shown} has {length} bytes, and the path of a socket at most {LONGEST_PATH}: set \
             {key} to a shorter one"
        ));
    }
    let about = fs::symlink_metadata(path).ok()?;
    (!about.file_type().is_socket()).then(|| {
        format!("{key} {shown}: a file that is no socket stands there: remove it, or set {key}")
    })
}

/// Under systemd the folder of the sockets comes with the service; without, it has to be there.
fn socket_folder(key: &str, folder: &Path) -> Option<Finding> {
    // The folder of a bare file name is the current one.
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return None;
    }
    let shown = folder.display();
    if let Some(link) = dangling_link(folder) {
        return Some(Wrong(format!(
            "the folder {shown} of {key}: {link}: make it, or set {key} elsewhere"
        )));
    }
    Some(match folder.exists() {
        true => Wrong(format!(
            "{shown} is not a folder: set {key} to a path in one"
        )),
        false => Advice(format!(
            "{shown} is not there for a socket: systemd makes it for the service \
             (RuntimeDirectory); without systemd, make it"
        )),
    })
}
