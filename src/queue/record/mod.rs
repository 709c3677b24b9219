//! What is stored, byte by byte, whichever durable engine stores it: chunks of events, marks,
//! records of dead letters, filters of ids, and the checksums over each.
//!
//! Nothing here does I/O. Each encoding carries a version, and what an older release wrote is
//! read as before.

pub mod chunk;
pub mod codec;
pub mod dead_record;
pub mod id_filter;
pub mod mark;
