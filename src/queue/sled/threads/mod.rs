//! The two threads: the committer, which alone writes, and the housekeeper, which opens, seals,
//! merges and deletes stores so that the committer never waits for that.

pub mod committer;
pub mod housekeeper;
