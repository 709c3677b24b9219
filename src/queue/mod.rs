//! The durable queue: its contract, and the engines behind it.
//!
//! The contract speaks of durable receipts and batches, never of files: nothing outside this
//! folder names an engine, or knows how one stores.
//!
//! * [`open`](open()) is where a queue comes from, whichever engine its [`Options`] ask for.
//! * [`Queue::enqueue`] resolves to receipts only after the block is on disk and synced; in a
//!   database, committed there as far as its `durability` asks.
//! * One at a time delivers: whoever holds the [`Turn`] that [`Queue::turn`] gives.
//! * [`Turn::claim`] hands out events first in, first out; a claim ends by [`Turn::settle`].
//! * [`Turn::mark`] is durable before a request leaves, so that after a crash it is known by
//!   name which events the destination may have seen.
//! * Dead letters are read in pages ([`Queue::dead_page`]) beside the rest of the work. They go
//!   back ([`Queue::retry`], [`Queue::import`]) or away ([`Queue::purge`]) by name.
//! * [`Queue::oldest`] tells which events wait; [`Queue::drop_queued`] gives one of them up.
//! * [`Queue::forget`] gives up whatever is of one person, queued or dead; what is in somebody's
//!   hands then is told them when they [mark](Turn::mark) it.
//!
//! Behind the contract stand three engines, which the same tests hold to the same answers:
//!
//! * `memory`, the reference: what each call means, in the fewest lines.
//! * `sled`, durable in a folder of one machine; the default.
//! * `postgres`, durable in a schema of a PostgreSQL database, with its standbys.
//!
//! # The life of an event
//!
//! States are adjectives, moves are verbs. Every accepted event is in exactly one of the six
//! states in boxes, so that their counts add up to `accepted` ([`Census`]).
//!
//! ```text
//!                             release, doubt
//!                          ┌──────────────────┐
//!                          ▼                  │
//!              accept  ┌────────┐  mark  ┌─────────┐  settle  ┌───────────┐
//!    client ─────────▶ │ queued │ ─────▶ │ sending │ ───────▶ │ delivered │
//!                      └────────┘        └─────────┘          └───────────┘
//!          retry, replace,  ▲ │ settle        │ settle
//!                   import  │ ▼               │
//!                         ┌──────┐            │
//!                         │ dead │ ◀──────────┘
//!                         └──────┘
//!                             │ purge
//!                             ▼
//!              import    ┌────────┐        ┌───────────┐
//!   queued ◀──────────── │ purged │        │ set aside │ ◀──── queued, sending or dead,
//!                        └────────┘        └───────────┘       and its bytes are damaged
//! ```
//!
//! Not drawn: what is settled as deferred is queued again at once; a claim changes no state;
//! an event in doubt counts as queued, also while it is sent again; and what is forgotten or dropped
//! is purged, also where it was queued, or sending and then not delivered.
//!
//! # The words
//!
//! The code, the command line, logs, metrics and docs use these. Where a public name is older
//! than its word, ARCHITECTURE.md has a table of both.
//!
//! | word | meaning | where |
//! |---|---|---|
//! | accepted | committed, so that a receipt may say so; for good | `handle`, `entry` ([`Receipt`]) |
//! | queued | waits to be sent, in the line or as a retried dead letter | `census` |
//! | claimed | in delivery's hands, which owe a settlement; still queued | `turn`, `entry` ([`Entry`]) |
//! | marked | named by a durable mark: the event may leave now | `turn`, `entry` ([`Mark`]) |
//! | sending | marked, and the answer is awaited | `census` |
//! | released | the destination took none of the request: the mark goes | `turn` |
//! | in doubt | the outcome of a request is unknown: sent again under the same name | `turn`, `find` ([`Sent`]) |
//! | settled | its claim has ended, whichever way; its number in the line is done with | `entry` ([`Settlement`], [`Outcome`]) |
//! | delivered | the destination said that it processed the event | `entry` ([`Outcome`]) |
//! | dead, dead letter | not sent any more; kept with bytes, reason and message | `entry` ([`DeadReason`]), `letter` |
//! | deferred | failed alone without a verdict: leaves the line, queued under a letter's number | `entry` ([`Outcome`]) |
//! | retried | a dead letter that is queued again, by the operator or replaced by other bytes | `handle` |
//! | imported | given back by the operator with its age: replaces a dead or purged letter, or is new | `letter` ([`Import`]) |
//! | purged | given up, by the operator or by retention: a dead letter, or what is forgotten or dropped | `handle` |
//! | dropped | one event that waits, given up by the operator under its messageId | `find` ([`Dropped`]) |
//! | forgotten | of a person who is to be erased: given up wherever it is, for good | `forget` |
//! | set aside | lost to damage: counted, told, and never counted as delivered | `census`, `loss` |
//! | line | the events in the order of their acceptance, by sequence number | `entry` ([`Origin`]) |
//! | low-water mark | the first sequence number that is not settled | `ranges` |
//! | turn | the right to deliver, which one holder has at a time and may lose | `turn` |
//! | receipt | what one event is answered after the commitment, and only then | `entry` ([`Receipt`]) |
//! | window | how far claims run ahead of the low-water mark; also, how long ids are remembered | `window`, `open` |
//! | account, ledger | where every accepted event is: stored, and its copy in memory | `sled/account/`, `postgres/account` |
//! | census | the ledger's counts, for those who watch | `census` |
//! | generation | a store of consecutive events, deleted as a whole when all are settled | `sled/line/`, `postgres/upkeep` |
//! | period | a store of dead letters, likewise | `sled/dead/` |
//! | writer, group | one life of one daemon; what one of its transactions accepts | `postgres/writer` |
//! | lease | the turn as a row, which ends unless it is renewed | `postgres/journal` |
//! | wave, journal | what one transaction of a turn changes; all of them | `postgres/wave` |
//! | loss | what damage cost, shown until the operator acknowledges it | `loss` |
//! | quarantine | the folder, or the table, of damaged pieces, as they were | `sled/disk/quarantine`, `postgres/deliverer` |

mod block;
mod census;
mod contract;
mod disk;
mod engines;
mod entry;
mod error;
mod find;
mod forget;
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
#[cfg(feature = "postgres")]
mod postgres;
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
pub use find::{Dropped, Found, Sent, Unsettled, Waiting, WaitingPage};
pub use forget::{Forgotten, Whose};
pub use handle::Queue;
pub use id_hash::IdHasher;
pub use letter::{Import, Imported, Letter, LetterFilter, LetterKey, Page};
pub use loss::{Loss, LossKind};
pub use memory::MemoryEngine;
pub use numbers::{LetterNumber, Seq};
pub use open::{Folder, Opened, Options, Storage, adopt, open, repair, verify};
pub use pause::PauseRecord;
pub use pending::{Pending, Reply};
#[cfg(feature = "postgres")]
pub use postgres::{Durability, Postgres, Probed, probe};
#[doc(hidden)]
pub use sled::properties;
pub use turn::Turn;
pub use verdict::{Account, Checked, Finding, Verdict};
pub use window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS};

#[cfg(test)]
mod bench_tests;
#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod lives_tests;
#[cfg(all(test, feature = "postgres"))]
mod postgres_bench_tests;
#[cfg(all(test, feature = "postgres"))]
mod postgres_tests;
#[cfg(test)]
mod turn_tests;
