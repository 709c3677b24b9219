//! The line of events: the generation that is written to, the generations that are read from, the
//! newest chunks in memory, and the place of the claims in it.
//!
//! `head` is written to, `generations` are read from, `tail` is in memory, `chunks` reads what is
//! stored; `claims` is the place in the line, and `deferred` the letters that are claimed beside it.

pub mod chunks;
pub mod claims;
pub mod deferred;
pub mod generations;
pub mod head;
pub mod tail;

pub use chunks::{Met, find_chunk, read_chunk};
pub use claims::Claims;
pub use deferred::{Deferred, DeferredLetter};
pub use generations::{OpenGenerations, Opened, Readable};
pub use head::{Head, is_of_age};
pub use tail::Tail;
