//! How well what is delivered can be matched: which parts events have, by name and hour; and what a
//! close look at a few of them found.
//!
//! `tally` counts events of one name; `names` bounds how many names there are; `memory` keeps hours
//! and what lies within the last one, and gives windows of it; `looks` are the samples; `kept` is the
//! form in which the hours outlive a restart.

mod kept;
mod looks;
mod memory;
mod names;
mod tally;

pub use kept::Kept;
pub use looks::Looked;
pub use memory::{Quality, Span, Window};
pub use names::OTHER;
pub use tally::Tally;
