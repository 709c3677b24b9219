//! What `status` says. `snapshot` is one look at the daemon, `show` the same for people, `next` what
//! to do about it, `human` writes numbers and times.

pub mod human;
mod next;
mod show;
mod snapshot;

pub use next::{Severity, Trouble};
pub use show::lost;
pub use snapshot::{
    Destination, Gate, Ledger, NoteCount, NotesCounted, PerSecond, Report, RuleCount, SinceStart,
    Took,
};
