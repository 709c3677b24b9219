//! What the threads share and say to each other.
//!
//! `shared` holds it, with the latch and the order of the locks; `ops` are the messages; `turns`
//! gives out the right to deliver; `stores` lends stores to readers; `places` and `disk_watch`
//! watch the folder and the disk.

pub mod disk_watch;
pub mod ops;
pub mod places;
pub mod shared;
pub mod stores;
pub mod turns;

pub use ops::{
    Arrival, CommitterOp, DeferredNumbers, Done, IdRecord, Job, OpenState, OperatorOp, Theirs,
};
pub use places::Places;
pub use shared::{PanicIsFailure, Pressure, ROOM_BYTES, Shared};
pub use stores::{period_store, with_generation};
pub use turns::{Right, Turns};
