//! Ingest: NDJSON over a Unix stream socket.
//!
//! One JSON object per line in; one JSON line out per line in, in order, after commitment.
//! A connection has a reader, which checks lines and packs them into blocks, and a writer,
//! which waits for the receipts and answers. Between them stands a bounded channel: a client
//! that never reads its answers stops its own reader and nobody else's. Connections are limited
//! in number and each in memory, and a share of the descriptors is never theirs.

mod answer;
mod connection;
mod flood;
mod lines;
#[doc(hidden)]
pub mod properties;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::observe::{Observer, Peer};
use crate::queue::Queue;

/// Settings of the ingest side.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longer lines (their line end not counted) are rejected.
    pub max_event_bytes: usize,
    /// Connections served at once, at least one. Beyond them new ones wait in the socket's
    /// backlog until one leaves.
    pub max_connections: usize,
}

/// The running ingest side.
pub struct Handle {
    stop: watch::Sender<bool>,
    acceptor: JoinHandle<JoinSet<()>>,
}

/// What every connection needs.
struct Shared {
    queue: Queue,
    clock: Clock,
    options: Options,
    stop: watch::Receiver<bool>,
    flood: flood::Flood,
    observer: Observer,
}

/// When no file descriptor is left: how long to wait before the next try, unless a connection
/// ends before. What frees one may be outside this process, so there is no event to wait for.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// After so long without such an error the next one is told again.
const SPELL: Duration = Duration::from_secs(60);

/// Starts taking events from `listener`. Must be called within a runtime.
pub fn spawn(
    listener: UnixListener,
    queue: Queue,
    clock: Clock,
    options: Options,
    observer: Observer,
) -> Handle {
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        queue,
        clock,
        options,
        stop: stopped,
        flood: flood::Flood::default(),
        observer,
    });
    let acceptor = tokio::spawn(accept(listener, shared));
    Handle { stop, acceptor }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) -> JoinSet<()> {
    let most = shared.options.max_connections.max(1);
    let mut connections = JoinSet::new();
    let mut stop = shared.stop.clone();
    // When the system last refused a descriptor, and whether the limit of connections was told.
    let mut refused: Option<Instant> = None;
    let mut told = false;
    loop {
        // Told again only after a quarter has left, not at each that comes and goes.
        told &= connections.len() > most - most.div_ceil(4);
        if connections.len() >= most && !told {
            told = true;
            tracing::warn!(
                "the ingest socket serves {most} clients, which is its most; new ones wait until \
                 one leaves: see who keeps connections open, or raise LimitNOFILE if it is below \
                 the default"
            );
        }
        tokio::select! {
            // A sender that is gone means the same as one that says so.
            () = stopped(&mut stop) => return connections,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < most => match accepted {
                Ok((stream, _)) => {
                    let peer = stream.peer_cred().ok().map(|peer| Peer {
                        uid: peer.uid(),
                        pid: peer.pid(),
                    });
                    if let Some(peer) = peer {
                        tracing::debug!(uid = peer.uid, pid = ?peer.pid, "client connected");
                    }
                    connections.spawn(connection::serve(stream, peer, shared.clone()));
                }
                Err(error) => {
                    if refused.is_none_or(|last| last.elapsed() > SPELL) {
                        tracing::warn!(
                            "the ingest socket takes no new client for now: {error}; raise \
                             LimitNOFILE, or see who keeps connections open"
                        );
                    }
                    refused = Some(Instant::now());
                    tokio::select! {
                        () = tokio::time::sleep(EXHAUSTED) => {}
                        () = stopped(&mut stop) => return connections,
                        Some(_) = connections.join_next() => {}
                    }
                }
            },
        }
    }
}

/// Resolves when the ingest side is told to stop; a handle that is gone says the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Handle {
    /// Takes no new connection, reads no further, and writes all answers that are due. Clients
    /// that do not read theirs within `patience` are cut off: their events are stored.
    pub async fn stop(self, patience: Duration) {
        // No receiver is left only when nothing is left to stop.
        let _ = self.stop.send(true);
        let Ok(mut connections) = self.acceptor.await else {
            return;
        };
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!(
                "some clients could not be answered in time (they do not read, or the queue is at \
                 its quota): closed on them"
            );
        }
    }
}
