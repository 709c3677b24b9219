//! What the system and the daemon say to each other: signals, readiness, the log, a file that
//! changes, the end.

mod fold;
mod journal;
mod limits;
mod log;
mod memory;
pub mod notify;
mod signals;
mod sink;
mod terminal;
mod watch;

pub use limits::{keep_memory_private, open_files};
pub use log::{
    LogError, LogFormat, check_filter as check_log_filter, dropped as log_dropped,
    flush as flush_log, init as init_log,
};
pub use memory::give_back;
pub use signals::{Ending, LastResort, Signal, Stops, on_ending, signals, signals_with};
pub use terminal::end_with_the_terminal;
pub use watch::FileWatch;
