//! messageIds: which are known, why, and for how long.
//!
//! `dedup` answers for events of the line: from memory while their generation is not sealed, from
//! the files of `seen/` after that. `delivered` answers for letters that were delivered, `purged`
//! for letters that an import may bring back. `scrub` reads the files through after a start.

pub mod dedup;
pub mod delivered;
pub mod purged;
pub mod scrub;
pub mod seen;

pub use dedup::{Dedup, Horizon, Whereabouts};
pub use delivered::DeliveredLetters;
pub use purged::Purged;
pub use scrub::{Harmed, Scrub};
pub use seen::file::SeenFile;
pub use seen::merge::mergeable;
pub use seen::{file, merge};
