//! A stand-in for Pinterest's Conversions API: strict about the published request schema, with
//! a switch for every fault, and an account of what it took. `demo`, the tests and the benches
//! run against it.
//!
//! * `schema` says what is wrong with a request or an event; it is pure.
//! * `switches` are the faults, from the command line or the control API.
//! * `account` remembers what was taken, also over a restart with a journal.
//! * `state` turns one request into one `answer` (`lists` writes the bodies); `server` carries both
//!   over HTTP; `sockets` breaks connections where HTTP itself cannot.
//!
//! The control API: `GET`/`PUT`/`PATCH /_control/mode`, `GET`/`DELETE /_control/account`,
//! `GET /_control/events` and `GET /_control/requests` (NDJSON), `GET /_control/fields`.

mod account;
mod answer;
mod lists;
mod schema;
mod server;
mod sockets;
mod state;
mod switches;
#[cfg(test)]
mod tests;

pub use account::{RequestLog, Seen, Totals};
pub use schema::{MAX_EVENTS, STANDARD_NAMES};
pub use server::{Mock, Options, serve};
pub use switches::{CustomKeys, Fault, Names, RefuseAs, Switches};
