//! Who may connect to a socket that refuses whoever runs the command.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Group, Uid, User, eaccess, getegid, geteuid, getgroups};

/// What refuses: the first folder on the way that may not be passed, or the socket itself.
pub(super) fn next_step_of_denied(socket: &Path) -> String {
    let closed = folders(socket).into_iter().find(|folder| {
        let passes = eaccess(folder.as_path(), AccessFlags::X_OK);
        passes == Err(nix::errno::Errno::EACCES)
    });
    let (refuses, what, needed) = match &closed {
        Some(folder) => (
            folder.as_path(),
            format!("the folder {}", folder.display()),
            0o010,
        ),
        None => (socket, "the socket".to_owned(), 0o020),
    };
    // A folder that may not be passed can be looked at through the one above it.
    let Ok(about) = fs::metadata(refuses) else {
        return format!("{what} lets nobody in who can be named; use sudo");
    };
    // Nobody is to join root's group for this.
    let is_open = about.mode() & needed == needed && about.gid() != 0;
    let group = Group::from_gid(about.gid().into()).ok().flatten();
    match (is_open, group) {
        (true, Some(group)) => format!(
            "{what} lets in the group {} alone: {}",
            group.name,
            how_to_join(&group)
        ),
        (true, None) => format!(
            "{what} lets in the group {} alone, which has no name on this machine: use sudo, or \
             set `group` in the daemon's config",
            about.gid()
        ),
        (false, _) => format!(
            "{what} lets in its owner {} alone: use sudo, or set `group` in the \
             daemon's config",
            user_name(Uid::from_raw(about.uid()))
        ),
    }
}

/// The folders on the way to it, from the top.
fn folders(socket: &Path) -> Vec<PathBuf> {
    let above = socket.ancestors().skip(1);
    let mut folders: Vec<_> = above
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect();
    folders.reverse();
    folders
}

/// Groups are given at a login, so whoever has joined since is refused all the same.
fn how_to_join(group: &Group) -> String {
    let user = user_name(geteuid());
    if group.mem.contains(&user) && !is_in(group.gid) {
        return format!(
            "{user} has joined it since this login: log in anew, or use `newgrp {}`",
            group.name
        );
    }
    format!(
        "`sudo usermod -aG {} {user}`, then log in anew; or use sudo",
        group.name
    )
}

fn is_in(group: Gid) -> bool {
    getegid() == group || getgroups().is_ok_and(|groups| groups.contains(&group))
}

fn user_name(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("of uid {uid}"), |user| user.name)
}
