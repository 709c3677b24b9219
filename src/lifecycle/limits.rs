//! What the system allows this process: open files, and what a crash may leave behind.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; how many may be open from here on.
/// Nothing here uses `select`, which is what a low soft limit is for.
pub fn open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // Linux's own default.
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// What this process holds in memory, the token and personal data, stays there: a crash leaves no
/// core, and no other process of the same user may look into this one.
pub fn keep_memory_private() {
    // A system without it has other ways of its own to refuse.
    let _ = set_dumpable(false);
    // Lowering a limit is always allowed; a system without this one writes no cores by it.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
