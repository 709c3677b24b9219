//! NDJSON over a Unix stream socket: one JSON object per line in; one JSON line out per line in,
//! in order, after commitment.
//!
//! `socket` accepts the clients, `lines` frames what one sends, `answer` renders what it is told.
//! A `connection` has a reader, which hands lines to the intake, and a writer, which waits for the
//! receipts and answers. Between them stands a bounded channel: a client that never reads its
//! answers stops its own reader and nobody else's.

mod connection;
pub(super) mod lines;
mod socket;

pub(super) use connection::{Input, Output, exchange};
pub use socket::Handle;
pub(super) use socket::spawn;
