//! What the system and the daemon say to each other: signals, readiness, the log, the end.

mod fold;
mod limits;
mod log;
pub mod notify;
mod signals;

pub use limits::{no_core, open_files};
pub use log::{Format, LogError, init as init_log};
pub use signals::{Signal, signals};
