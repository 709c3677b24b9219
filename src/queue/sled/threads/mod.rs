//! The two threads: the committer, which alone writes, and the housekeeper, which does what must
//! not hold it up.

pub mod committer;
pub mod housekeeper;
