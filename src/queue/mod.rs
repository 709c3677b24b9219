//! The durable queue: its contract, and the engines behind it.
//!
//! The contract speaks of durable receipts and batches, never of files: nothing outside this
//! folder names an engine, or knows how one stores.
//!
//! * [`open`] is where a queue comes from, whichever engine its [`Options`] ask for.
//! * [`Queue::enqueue`] resolves to receipts only after the block is on disk and synced.
//! * One at a time delivers: whoever holds the [`Turn`] that [`Queue::turn`] gives.
//! * [`Turn::claim`] hands out events first in, first out; a claim ends by [`Turn::settle`].
//! * [`Turn::mark`] is durable before a request leaves, so that after a crash it is known by
//!   name which events Pinterest may have seen.
//! * Dead letters are read in pages ([`Queue::dead_page`]) beside the rest of the work, and go
//!   back ([`Queue::revive`], [`Queue::import`]) or away ([`Queue::purge`]) by name.

mod block;
mod census;
mod disk;
mod engines;
mod entry;
mod error;
mod find;
mod handle;
mod id_hash;
mod letter;
mod lock;
mod loss;
mod memory;
mod numbers;
mod open;
mod pause;
mod pending;
mod ranges;
mod record;
mod sled;
mod turn;
mod verdict;
mod window;

pub use block::{Block, BlockBuilder};
pub use census::Census;
pub use disk::{Closed, Disk};
pub use entry::{DeadReason, Entry, EntryId, Mark, Origin, Outcome, Receipt, Settlement};
pub use error::{OpenError, QueueError};
pub use find::{Found, Sent, Waiting, WaitingPage};
pub use handle::Queue;
pub use id_hash::IdHasher;
pub use letter::{Import, Imported, Keep, Letter, LetterKey, Page};
pub use loss::{Loss, LossKind};
pub use memory::MemoryEngine;
pub use numbers::{LetterNumber, Seq};
pub use open::{Folder, Opened, Options, Storage, adopt, open, repair, verify};
pub use pause::PauseRecord;
pub use pending::Pending;
#[doc(hidden)]
pub use sled::properties;
pub use turn::Turn;
pub use verdict::{Checked, Finding, Verdict};
pub use window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS};

#[cfg(test)]
mod bench_tests;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod lives_tests;
#[cfg(test)]
mod turn_tests;
