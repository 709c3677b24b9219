//! What the system allows this process: open files, and what a crash may leave behind.

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

/// A core would hold the token and personal data: a crash leaves none.
pub fn no_core() {
    // Lowering a limit is always allowed; a system without this one writes no cores by it.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
