//! Commands that open the queue's folder themselves while no daemon does.
//!
//! Root works there as the daemon's user: a file left by root would keep the daemon from
//! starting.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid};

use super::exit::{Exit, Failure, OrExit};
use crate::lifecycle::{self, LogFormat};

/// Takes on the owner of `folder`, if this process is root's and the folder is another's.
///
/// # Errors
/// With exit 74, if the system refuses.
pub(super) fn become_owner_of(folder: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(folder) else {
        // Whoever opens it says what is wrong.
        return Ok(());
    };
    if !geteuid().is_root() || found.uid() == 0 {
        return Ok(());
    }
    setegid(Gid::from_raw(found.gid()))
        .and_then(|()| seteuid(Uid::from_raw(found.uid())))
        .with_context(|| format!("taking on the owner of {}", folder.display()))
        .or_exit(Exit::Io)
}

/// What opening a queue has to say goes to stderr: stdout is the command's own.
pub(super) fn log_to_stderr() {
    // Fails only where a logger stands already.
    let _ = lifecycle::init_log("warn", LogFormat::Human);
}
