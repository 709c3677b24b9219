//! The encodings of this engine alone: the counters, the lists of purged letters, and what the
//! account remembers of a file of ids. Nothing here does I/O.

pub mod id_file;
pub mod purged_list;
pub mod state;
