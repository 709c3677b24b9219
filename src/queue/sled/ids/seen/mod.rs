//! `seen/`: the messageIds of sealed generations, one sorted, immutable file for one or several
//! of them, with a filter that stays in memory.
//!
//! Why plain files and not a store: they are written once, in order, and read one block at a
//! time; 16 bytes an id and about 2.3 for the filter, and deleting one gives its disk back.

pub mod file;
pub mod merge;
#[cfg(test)]
mod tests;
pub mod write;
