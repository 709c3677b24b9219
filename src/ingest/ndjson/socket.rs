//! The socket's clients: accepted one by one, as many as there may be, and let go at a stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::super::intake::Intake;
use super::super::stop::{Stop, Stopped, stop};
use super::connection;
use crate::observe::Peer;

/// The running ingest side.
pub struct Handle {
    stop: Stop,
    acceptor: JoinHandle<JoinSet<()>>,
}

/// When no file descriptor is left: how long to wait before the next try, unless a connection
/// ends before. What frees one may be outside this process, so there is no event to wait for.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// After so long without such an error the next one is logged again.
const SPELL: Duration = Duration::from_secs(60);

/// Serves the clients of `listener`, `most` at once. Must be called within a runtime.
pub fn spawn(listener: UnixListener, intake: Arc<Intake>, most: usize) -> Handle {
    let (stop, stopped) = stop();
    let acceptor = tokio::spawn(accept(listener, intake, most.max(1), stopped));
    Handle { stop, acceptor }
}

async fn accept(
    listener: UnixListener,
    intake: Arc<Intake>,
    most: usize,
    mut stopped: Stopped,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    // When the system last refused a descriptor, and whether the limit of connections was logged.
    let mut refused: Option<Instant> = None;
    let mut logged = false;
    loop {
        // Logged again only after a quarter has left, not at each that comes and goes.
        logged &= connections.len() > most - most.div_ceil(4);
        if connections.len() >= most && !logged {
            logged = true;
            tracing::warn!(
                "the ingest socket serves {most} clients, which is its most; new ones wait until \
                 one leaves: see who keeps connections open, or raise LimitNOFILE if it is below \
                 the default"
            );
        }
        tokio::select! {
            () = stopped.wait() => return connections,
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
                    connections.spawn(connection::serve(
                        stream,
                        peer,
                        intake.clone(),
                        stopped.clone(),
                    ));
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
                        () = stopped.wait() => return connections,
                        Some(_) = connections.join_next() => {}
                    }
                }
            },
        }
    }
}

impl Handle {
    /// Takes no new connection, reads no further, and writes all answers that are due. Clients
    /// that do not read theirs within `patience` are cut off: their events are stored.
    pub async fn stop(self, patience: Duration) {
        self.stop.now();
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
