//! The two threads: the committer, which alone writes, and the housekeeper, which opens, seals,
//! merges and deletes stores so that the committer never waits for that. `erase` is its work on
//! stores that stay.

pub mod committer;
pub mod erase;
pub mod housekeeper;
