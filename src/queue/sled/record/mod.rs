//! The encodings of this engine alone: the counters, the lists of purged letters, and what the
//! account remembers of a file of ids. Nothing here does I/O.

pub mod id_file;
pub mod purged_list;
pub mod state;

pub use id_file::{Coverage, IdFile};
pub use purged_list::{List, Named};
pub use state::State;
