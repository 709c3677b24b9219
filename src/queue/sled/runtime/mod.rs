//! What the threads share and say to each other.

pub mod disk_watch;
pub mod ops;
pub mod places;
pub mod shared;
pub mod stores;
pub mod turns;
