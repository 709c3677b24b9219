//! What `status` says. `snapshot` is one look at the daemon, `show` the same for people, `human`
//! writes numbers and times.

pub mod human;
mod show;
mod snapshot;

pub use show::lost;
pub use snapshot::{Gate, Ledger, PerSecond, Report, SinceStart, Took};
