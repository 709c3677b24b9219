//! The durable engine: batches on sled, one folder, one process.
//!
//! # Constraints, and who keeps them
//!
//! 1. *Commitment*: an event is acknowledged after `Store::commit` of its group returned, at one
//!    line of `threads/committer/accept.rs`. `disk/sync.rs` makes that a real fdatasync.
//! 2. *One writer*: the committer thread alone changes generations, `meta` and the dead letters.
//!    It never runs on an async worker.
//! 3. *Latch*: after a storage error nothing is acknowledged any more, no store is dropped (a
//!    drop can hang), and the owner is told once, to end the process (`runtime/shared.rs`).
//! 4. *Never reused*: the next sequence number is above everything that any file remembers.
//! 5. *Small values*: at most 6 KB a value and 400 operations a batch; a store per 200,000 events,
//!    deleted as a folder, for nothing else gives disk back.
//! 6. *Memory*: what is queued stays on disk; held are the ids of unsealed generations, the
//!    filters of sealed ones, the claimed events and at most 4 MiB of the newest chunks.
//!
//! # The floors, top down
//!
//! Each imports only from those below it; a test holds the files to that (the rows stand in
//! ARCHITECTURE.md).
//!
//! | floor | what it is for |
//! |---|---|
//! | `repair` | `verify --repair`: a start, and what only reading finds taken out |
//! | `turn` | the right to deliver |
//! | `forget` | finding all that is of one person, and having it given up |
//! | `oldest` | the events that wait, oldest first |
//! | `engine` | what the queue asks of this engine, call by call |
//! | `start` | what recovery hands over becomes a running engine: the threads begin here |
//! | `threads/` | the committer (the one writer) and the housekeeper (the slow part) |
//! | `verify/` | the promise checked against what is stored, on a clone or while running |
//! | `read/` | reading beside the committer: claims, look-ups, pages |
//! | `recovery/` | making good what the last stop left; starts no thread |
//! | `runtime/` | what the threads share and say to each other, and the order of the locks |
//! | `line/`, `dead/`, `ids/` | the three things that are kept: events, dead letters, ids |
//! | `account/` | where every accepted event is: ledger, marks, `meta`, `high`, `format` |
//! | `record/` | this engine's own encodings; those of any engine are `queue/record/` |
//! | `disk/` | sled, fdatasync, folders, failed reads, `quarantine/` |
//!
//! # On disk
//!
//! `disk/layout.rs` has every path, `account/rows.rs` every row of the account. Read those two
//! first, then `threads/committer/`, then `recovery/`.

mod account;
mod dead;
mod disk;
mod engine;
mod forget;
mod ids;
mod line;
mod numbers;
mod oldest;
mod options;
#[doc(hidden)]
pub mod properties;
mod read;
mod record;
mod recovery;
mod repair;
mod runtime;
mod start;
#[cfg(test)]
mod tests;
mod threads;
mod turn;
mod verify;

pub use disk::if_out_of_inodes;
pub use engine::SledEngine;
pub use options::Options;
pub use repair::repair;
pub use turn::SledTurn;
pub use verify::verify;
