//! messageIds: which are known, why, and how long.

pub mod dedup;
pub mod delivered;
pub mod purged;
pub mod scrub;
pub mod seen;
