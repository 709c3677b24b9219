//! What the system and the daemon say to each other: signals, readiness, the log, a file that
//! changes, the end.

mod fold;
mod limits;
mod log;
mod memory;
pub mod notify;
mod signals;
mod watch;

pub use limits::{keep_memory_private, open_files};
pub use log::{LogError, LogFormat, init as init_log};
pub use memory::give_back;
pub use signals::{Signal, signals};
pub use watch::FileWatch;
