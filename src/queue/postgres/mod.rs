//! The durable engine on PostgreSQL: one schema, one account, for several daemons from the start.
//!
//! # The design
//!
//! A *writer* is one life of one daemon. It accepts in *groups*: one transaction each, one at a time,
//! which inserts ids, chunks and the writer's running totals, and updates nothing. A group's row is
//! unique by writer and number, also where the group has no event.
//!
//! The *line of commitment* is in `session.rs`: COMMIT returned, no notice came, and the settings that
//! were asked behind it in the same pipeline are as they must be. Receipts leave behind it, and only
//! there. Whatever else comes of a COMMIT is *unknown*. Then the connection is hung up, and on the next
//! one the row of the same writer and group is inserted: that waits for whoever still may write it, and
//! its conflict says that it was committed. A group of one's own, acknowledged as above, vouches for it.
//!
//! *Ids* are remembered in tables of which the last takes what is new. Sealed ones never change and
//! have a filter each, so that few look-ups reach them. Whoever writes shares a lock and reads the
//! version of the list of tables behind it; whoever changes the list has the lock alone.
//!
//! The *turn* is a lease: a row with a random token, which ends by the database's clock. Each write of
//! a turn holds that row in its transaction. What it writes is a *journal*, one row a *wave*: marks,
//! settlements, totals. The account of the turns is in memory; a successor reads it from the journal.
//! Waves of unknown outcome are resolved like groups.
//!
//! Chunks and journal lie in *generations*, tables that are dropped whole once all in them is settled.
//! A new one begins with a checkpoint, which is all that the journal before it amounts to.
//!
//! A database that does not know what it acknowledged was put back: nothing is accepted until it is
//! adopted, and then whoever writes begins a new life.
//!
//! # Constraints, and who keeps them
//!
//! 1. *Nothing is acknowledged but behind [`session::Session::commit`].*
//! 2. *What is unknown is resolved before the next group or wave* (`writer.rs`, `deliverer.rs`).
//! 3. *Nothing is cancelled on the server*, and no statement has a time limit: a connection is hung up
//!    (`link.rs`).
//! 4. *Ids are inserted in ascending order*, letters locked by number, so that writers do not wait for
//!    each other in a circle (`ids.rs`, `letters.rs`).
//! 5. *No id slips in on both sides of a seal*: the list is read behind the lock, in a statement of its
//!    own (`session.rs`, `upkeep.rs`).
//! 6. *Whoever has lost the turn writes nothing* (`journal.rs`, `deliverer.rs`).
//! 7. *No text shows the URL, a user or a password* (`place.rs`, `refusal.rs`, `trouble.rs`).
//!
//! # The files, top down
//!
//! Each imports only from those below it; the rows stand in ARCHITECTURE.md.
//!
//! | file | what it is for |
//! |---|---|
//! | `turn`, `engine` | what the queue asks of this engine, call by call; the tasks begin here |
//! | `run` | the deliverer's round: what is asked of it, and what is due |
//! | `verify`, `adopt`, `probe` | for `verify`, `adopt` and `check` |
//! | `upkeep` | what is due by itself: sealing, dropping, expiring, counting |
//! | `claims` | what is handed out, chunk by chunk |
//! | `reads` | what operators ask |
//! | `deliverer` | the waves that are written under the lease; `turn_ops`: what is asked of it |
//! | `writer` | groups |
//! | `counts` | what writers have counted |
//! | `shared` | what the tasks share; away, back, went back |
//! | `delivery` | what a turn does to the account: pure |
//! | `hands`, `account` | what is in hand; what is settled and what may have been sent |
//! | `journal` | the lease, and what the waves amount to |
//! | `letters`, `ids`, `group` | dead letters; remembered ids; what becomes of a group's events |
//! | `replies`, `tail` | who waits for receipts; the chunks that were committed last |
//! | `schema`, `catalog` | tables, and whose they are; the list of them |
//! | `session`, `link`, `roots`, `refusal` | a connection in use; how it is made; TLS; why it is not |
//! | `options`, `place` | what the engine is opened with; the URL |
//! | `stored`, `wave`, `totals`, `numbers`, `trouble` | rows, encodings, errors |
//!
//! # In the database
//!
//! `schema/0001.sql` has the tables that stay, `schema.rs` those that come and go. Read these two
//! first, then `session.rs`, `writer.rs`, `deliverer.rs`.

mod account;
mod adopt;
mod catalog;
mod claims;
mod counts;
mod deliverer;
mod delivery;
mod engine;
mod group;
mod hands;
mod ids;
mod journal;
mod letters;
mod link;
mod numbers;
mod options;
mod place;
mod probe;
mod reads;
mod refusal;
mod replies;
mod roots;
mod run;
mod schema;
mod session;
mod shared;
mod stored;
mod tail;
mod totals;
mod trouble;
mod turn;
mod turn_ops;
mod upkeep;
mod verify;
mod wave;
mod writer;

#[cfg(test)]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the daemon, which use the rest"
)]
#[path = "../../../tests/postgres/server/mod.rs"]
pub mod server;

pub use engine::PostgresEngine;
pub use options::{Durability, Options, Postgres};
pub use probe::{Probed, probe};
pub use turn::PostgresTurn;
pub use verify::verify;
