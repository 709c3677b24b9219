//! Commands that open the queue's folder themselves while no daemon does.
//!
//! Invariant: root works there as the folder's owner, for good, and follows no link on the way
//! that another could have made. A file left by root would keep the daemon from starting, and
//! whoever owns a folder decides what root would find behind its names.

use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};

use super::exit::{Exit, Failure, OrExit};
use crate::config::{Config, Engine};
use crate::files::dangling_link;
use crate::lifecycle::{self, LogFormat};

/// As many symlinks as the system follows.
const LINKS: u32 = 40;

/// Takes on the owner of `folder`, if this process is root's and the folder is another's; of the
/// nearest folder above, where it is yet to be made. What is made from then on is its owner's
/// alone. Gives whose it is, if that is another.
///
/// # Errors
/// With exit 74: a link on the way that root does not follow, root's own folder in another's, or
/// what the system refuses.
pub(super) fn become_owner_of(folder: &Path) -> Result<Option<String>, Failure> {
    umask(Mode::from_bits_truncate(0o077));
    if !geteuid().is_root() {
        return Ok(None);
    }
    if let Some(link) = dangling_link(folder) {
        let error = anyhow!(
            "queue folder {}: {link}: make that folder, or set queue.path",
            folder.display()
        );
        return Err(Failure {
            exit: Exit::Io,
            error,
        });
    }
    let found = owner(folder).or_exit(Exit::Io)?;
    if found.uid() == 0 {
        return Ok(None);
    }
    take_on(&found)
        .with_context(|| format!("taking on the owner of {}", folder.display()))
        .or_exit(Exit::Io)
        .map(Some)
}

/// The folder of the queue, the operator's before the config's; `None`: it is in a database, where
/// nobody owns a file.
///
/// # Errors
/// With exit 64: a folder is named, and the queue is in a database.
pub(super) fn folder(config: &Config, named: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    match (config.queue.engine, named) {
        (Engine::Sled, named) => Ok(Some(named.unwrap_or_else(|| config.queue_folder()))),
        (Engine::Postgres, None) => Ok(None),
        (Engine::Postgres, Some(_)) => Err(Failure {
            exit: Exit::Usage,
            error: anyhow!(
                "--queue names a folder, and this config has the queue in a database ([queue] \
                 engine = \"postgres\"): leave it out, or name with --config the config of a queue in \
                 a folder"
            ),
        }),
    }
}

/// What opening a queue has to say goes to stderr: stdout is the command's own.
pub(super) fn log_to_stderr() {
    // Fails only where a logger stands already.
    let _ = lifecycle::init_log("warn", LogFormat::Human);
}

/// User, groups and all, as the service manager would; the name.
fn take_on(about: &Metadata) -> nix::Result<String> {
    let uid = Uid::from_raw(about.uid());
    let user = User::from_uid(uid)?;
    let named = user.and_then(|user| Some((CString::new(user.name.clone()).ok()?, user)));
    let name = match named {
        Some((name, user)) => {
            initgroups(&name, user.gid)?;
            setgid(user.gid)?;
            user.name
        }
        None => {
            let gid = Gid::from_raw(about.gid());
            setgroups(&[gid])?;
            setgid(gid)?;
            format!("user {uid}")
        }
    };
    setuid(uid)?;
    Ok(name)
}

/// Who owns what stands at `path`, or the nearest folder above it.
fn owner(path: &Path) -> anyhow::Result<Metadata> {
    let absolute = std::path::absolute(path)?;
    let mut at = PathBuf::from("/");
    let mut about = fs::symlink_metadata(&at)?;
    // The first folder on the way in which another than root can put what it likes.
    let mut exposed = (!is_roots_alone(&about)).then(|| at.clone());
    let (mut left, mut links) = (names(&absolute), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            about = fs::symlink_metadata(&at)?;
            continue;
        }
        let next = at.join(&name);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            // Whoever opens it says what is wrong, or makes it.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                break;
            }
            Err(e) => return Err(anyhow!(e).context(next.display().to_string())),
        };
        if found.is_symlink() {
            links += 1;
            let safe = exposed.is_none() && found.uid() == 0 && !left.is_empty();
            if !safe || links > LINKS {
                return Err(not_followed(path, &next));
            }
            let mut target = fs::read_link(&next)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            target.extend(&left);
            left = names(&target);
            continue;
        }
        at = next;
        about = found;
        if exposed.is_none() && !is_roots_alone(&about) {
            exposed = Some(at.clone());
        }
    }
    match exposed {
        Some(folder) if about.uid() == 0 && folder != at => Err(anyhow!(
            "queue folder {}: it belongs to root and lies in {}, where another user decides what \
             stands beside it; give it to that user (`chown -R --no-dereference`)",
            path.display(),
            folder.display()
        )),
        _ => Ok(about),
    }
}

/// The names of a path that are looked up.
fn names(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// Whether nobody but root can put something in a folder in place of what root has there. In one
/// with the sticky bit everybody keeps to what is their own.
fn is_roots_alone(about: &Metadata) -> bool {
    let open = about.mode() & 0o002 != 0 || (about.mode() & 0o020 != 0 && about.gid() != 0);
    about.uid() == 0 && (!open || about.mode() & 0o1000 != 0)
}

fn not_followed(path: &Path, link: &Path) -> anyhow::Error {
    let leads = match fs::read_link(link) {
        Ok(target) => format!(" to {}", target.display()),
        Err(_) => String::new(),
    };
    anyhow!(
        "queue folder {}: {} is a link{leads}, which root does not follow; run this as the \
         daemon's user (`sudo -u pinrelay …`), or set [queue] path to where the folder is",
        path.display(),
        link.display()
    )
}
