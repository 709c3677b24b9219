//! What the process did to its queue folder and on its sockets, call by call.

use std::path::PathBuf;

/// What a call did. Paths are relative to the queue's folder.
#[derive(Clone, Debug)]
pub enum Act {
    /// Opened with O_CREAT: made, if it was not there.
    Create {
        path: PathBuf,
    },
    Truncate {
        path: PathBuf,
        len: u64,
    },
    Write {
        path: PathBuf,
        at: u64,
        data: Vec<u8>,
    },
    /// Bytes copied by the kernel; the model has them.
    Copy {
        from: PathBuf,
        from_at: u64,
        to: PathBuf,
        to_at: u64,
        len: u64,
    },
    Mkdir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// Two folders changed places.
    Exchange {
        one: PathBuf,
        other: PathBuf,
    },
    /// A file or an empty folder.
    Remove {
        path: PathBuf,
    },
    /// fsync or fdatasync of a file or a folder.
    Sync {
        path: PathBuf,
    },
    /// Bytes that left through a socket.
    Sent {
        socket: String,
        data: Vec<u8>,
    },
    /// Bytes that came through a socket.
    Got {
        socket: String,
        data: Vec<u8>,
    },
    /// The process is gone.
    End,
}

/// A call with the moments, counted in lines over all lives, at which it was seen to begin and
/// to have ended.
#[derive(Clone, Debug)]
pub struct Step {
    pub begin: usize,
    pub end: usize,
    pub act: Act,
}
