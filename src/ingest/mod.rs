//! Ingest: NDJSON over a Unix stream socket.
//!
//! One JSON object per line in; one JSON line out per line in, in order, after commitment.
//! A connection has a reader, which checks lines and packs them into blocks, and a writer,
//! which waits for the receipts and answers. Between them stands a bounded channel: a client
//! that never reads its answers stops its own reader and nobody else's.

mod answer;
mod connection;
mod lines;
mod listener;
#[doc(hidden)]
pub mod properties;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use listener::{BindError, bind};

use crate::clock::Clock;
use crate::queue::Queue;

/// Settings of the ingest side.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longer lines (their line end not counted) are rejected.
    pub max_event_bytes: usize,
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
}

/// When no file descriptor is left: how long to wait before the next try. What frees one may
/// be outside this process, so there is no event to wait for.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Starts taking events from `listener`. Must be called within a runtime.
pub fn spawn(listener: UnixListener, queue: Queue, clock: Clock, options: Options) -> Handle {
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        queue,
        clock,
        options,
        stop: stopped,
    });
    let acceptor = tokio::spawn(accept(listener, shared));
    Handle { stop, acceptor }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut stop = shared.stop.clone();
    let mut exhausted = false;
    loop {
        tokio::select! {
            // A sender that is gone means the same as one that says so.
            () = stopped(&mut stop) => return connections,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    exhausted = false;
                    if let Ok(peer) = stream.peer_cred() {
                        tracing::debug!(uid = peer.uid(), pid = ?peer.pid(), "client connected");
                    }
                    connections.spawn(connection::serve(stream, shared.clone()));
                }
                Err(error) => {
                    if !exhausted {
                        tracing::warn!(
                            "the ingest socket takes no new client for now: {error}; raise \
                             LimitNOFILE, or see who keeps connections open"
                        );
                        exhausted = true;
                    }
                    tokio::time::sleep(EXHAUSTED).await;
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
            tracing::warn!("some clients do not read their answers: closed on them");
        }
    }
}
