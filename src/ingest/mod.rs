//! Ingest: events come in, each is stored, ignored or rejected, and no answer says more than the
//! queue has promised.
//!
//! `intake` is the way in for every protocol: it checks an event, packs it into a block, hands
//! blocks to the queue, those of few events through `gather`, and holds the receipts that are due;
//! `flood` and `witness` are its own. A
//! protocol takes bytes off the wire and renders what `intake` says, in a folder of its own:
//! `ndjson`, one JSON object per line over a Unix stream socket, and `http`. Connections are limited in number
//! and each in memory, and a share of the descriptors is never theirs.

mod answer;
mod flood;
mod gather;
mod http;
mod intake;
mod ndjson;
mod options;
#[doc(hidden)]
pub mod properties;
mod stop;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

pub use http::{HttpLimits, HttpOptions, Ready, SharedHttpLimits, TlsError, TlsFiles, WriteKeys};
pub use options::Options;

use crate::clock::Clock;
use crate::net::{Crowd, Limits};
use crate::observe::Observer;
use crate::policy::SharedPolicy;
use crate::queue::Queue;
use intake::Intake;

/// Where events come in.
#[derive(Default)]
pub struct Listeners {
    /// NDJSON.
    pub ndjson: Vec<UnixListener>,
    /// HTTP.
    pub http: Vec<UnixListener>,
    /// HTTP over TCP, with TLS if the options have a certificate.
    pub http_tcp: Vec<TcpListener>,
}

/// Starts taking events from `listeners`, by one intake. Must be called within a runtime.
///
/// # Errors
/// Why the certificate of the HTTP port cannot be used.
pub fn spawn(
    listeners: Listeners,
    queue: Queue,
    clock: Clock,
    options: Options,
    http: HttpOptions,
    observer: Observer,
    policy: SharedPolicy,
) -> Result<Handle, String> {
    let most = options.max_event_bytes;
    let intake = Arc::new(Intake::new(queue, clock, most, observer, policy));
    let crowd = Crowd::new(Limits {
        name: "ingest",
        connections: options.max_connections.max(1),
        life: None,
        // What waits for the queue waits as long as that takes.
        busy_may_go: None,
    });
    let http = http::spawn(
        listeners.http,
        listeners.http_tcp,
        intake.clone(),
        http,
        crowd.clone(),
    )?;
    let ndjson = ndjson::spawn(listeners.ndjson, intake, crowd);
    Ok(Handle { ndjson, http })
}

/// The running ingest side.
pub struct Handle {
    ndjson: ndjson::Handle,
    http: http::Handle,
}

impl Handle {
    /// Takes clients of NDJSON from this listener as well, from here on.
    pub fn listen(&self, listener: UnixListener) {
        self.ndjson.listen(listener);
    }

    /// Likewise clients of HTTP.
    pub fn listen_http(&self, listener: UnixListener) {
        self.http.listen(listener);
    }

    /// Takes no new connection, reads no further, and writes all answers that are due. Clients
    /// that do not read theirs within `patience` are cut off: their events are stored.
    pub async fn stop(self, patience: Duration) {
        tokio::join!(self.ndjson.stop(patience), self.http.stop(patience));
    }
}
