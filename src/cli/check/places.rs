//! The places that a daemon uses: the queue's folder, the sockets' folders and groups, the file
//! of the webhook.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{AccessFlags, Group, access};

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::{Config, Ingest};
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

/// The queue's folder: there and ours, or possible to make.
pub(super) fn folder(path: &Path) -> Finding {
    let show = path.display();
    let next = "give it to the daemon's user, or set [queue] path";
    match fs::metadata(path) {
        Ok(about) if !about.is_dir() => Wrong(format!(
            "the queue {show} is not a folder: set [queue] path to one"
        )),
        Ok(_) => match access(
            path,
            AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
        ) {
            Ok(()) => Fine(format!("queue in {show}")),
            Err(e) => Wrong(format!(
                "the queue folder {show} cannot be used: {e}; {next}"
            )),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => match nearest(path) {
            Some(parent) if !parent.is_dir() => Wrong(format!(
                "the queue {show} cannot be made, for {} is not a folder: set [queue] path",
                parent.display()
            )),
            Some(parent) => match access(parent, AccessFlags::W_OK | AccessFlags::X_OK) {
                Ok(()) => Fine(format!("queue in {show}, which will be made")),
                Err(e) => Wrong(format!(
                    "the queue folder {show} cannot be made in {}: {e}; {next}",
                    parent.display()
                )),
            },
            None => Wrong(format!("the queue folder {show} cannot be made: {next}")),
        },
        Err(e) => Wrong(format!(
            "the queue folder {show} cannot be reached: {e}; {next}"
        )),
    }
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

/// Under systemd the folder of the sockets comes with the service; without, it has to be there.
pub(super) fn socket_folder(folder: &Path) -> Option<Finding> {
    // The folder of a bare file name is the current one.
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return None;
    }
    Some(Advice(format!(
        "{} is not there for a socket: systemd makes it for the service (RuntimeDirectory); \
         without systemd, make it",
        folder.display()
    )))
}
