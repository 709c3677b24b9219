//! What the system and the daemon say to each other: signals, readiness, the log, the end.

mod log;
pub mod notify;
mod signals;

pub use log::{Format, LogError, init as init_log};
pub use signals::{Signal, signals};
