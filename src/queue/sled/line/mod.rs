//! The line of events: the generation that is written to, the generations that are read from, the
//! newest chunks in memory, and the place of the claims in it.

pub mod chunks;
pub mod claims;
pub mod deferred;
pub mod generations;
pub mod head;
pub mod tail;
