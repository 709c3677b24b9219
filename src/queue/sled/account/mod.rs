//! Where every accepted event is: the ledger and its rows in `meta`, the marks, the counters
//! outside of any store (`high`), whose queue it is (`format`), and what stands beside the folder.
//!
//! `ledger` is the account in memory, with `ledger_dead` for letters, `ledger_inventory` for files
//! and losses, and `marks`; `rows` is what each says in `meta`, the store. `high_water` is the file
//! `high`, `identity` is `format` and the lock, `anchor` the file beside the folder, `pause` the
//! operator's pause. `peek` reads a copy, `mending` is what recovery changes with.

pub mod anchor;
pub mod high_water;
pub mod identity;
pub mod ledger;
pub mod ledger_dead;
pub mod ledger_inventory;
pub mod marks;
pub mod mending;
pub mod meta;
pub mod pause;
pub mod peek;
pub mod rows;

pub use anchor::{Anchor, Beside};
pub use high_water::{Found, High, HighFile};
pub use identity::{Identity, Lock};
pub use ledger::Ledger;
pub use ledger_dead::{Death, Stretch};
pub use mending::Mending;
pub use meta::{Meta, is_new};
pub use rows::{Period, Row, Sealed};
