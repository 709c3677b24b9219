//! messageIds: which are known, why, and how long.

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
