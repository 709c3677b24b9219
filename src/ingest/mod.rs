//! Ingest: events come in, each is stored, ignored or rejected, and no answer says more than the
//! queue has promised.
//!
//! `intake` is the way in for every protocol: it checks an event, packs it into a block, hands
//! blocks to the queue and holds the receipts that are due; `flood` and `witness` are its own. A
//! protocol takes bytes off the wire and renders what `intake` says, in a folder of its own:
//! `ndjson`, one JSON object per line over a Unix stream socket. Connections are limited in number
//! and each in memory, and a share of the descriptors is never theirs.

mod flood;
mod intake;
mod ndjson;
mod options;
#[doc(hidden)]
pub mod properties;
mod stop;
mod witness;

use std::sync::Arc;

use tokio::net::UnixListener;

pub use ndjson::Handle;
pub use options::Options;

use crate::clock::Clock;
use crate::observe::Observer;
use crate::queue::Queue;
use intake::Intake;

/// Starts taking events from `listeners`. Must be called within a runtime.
pub fn spawn(
    listeners: Vec<UnixListener>,
    queue: Queue,
    clock: Clock,
    options: Options,
    observer: Observer,
) -> Handle {
    let intake = Intake::new(queue, clock, options.max_event_bytes, observer);
    ndjson::spawn(listeners, Arc::new(intake), options.max_connections)
}
