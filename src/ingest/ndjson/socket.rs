//! The socket's clients: accepted one by one, as many as there may be, and let go at a stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, JoinSet};

use super::super::intake::Intake;
use super::super::stop::{Stop, Stopped, stop};
use super::connection;
use crate::net::{self, Acceptor, Crowd};
use crate::observe::Peer;

/// The running ingest side.
pub struct Handle {
    stop: Stop,
    acceptor: JoinHandle<JoinSet<()>>,
    more: UnboundedSender<UnixListener>,
}

/// Serves the clients of `listeners`, as many as the crowd takes. Must be called within a runtime.
pub fn spawn(listeners: Vec<UnixListener>, intake: Arc<Intake>, crowd: Crowd) -> Handle {
    let (stop, stopped) = stop();
    let (acceptor, more) = net::acceptor(listeners, crowd);
    let acceptor = tokio::spawn(accept(acceptor, intake, stopped));
    Handle {
        stop,
        acceptor,
        more,
    }
}

async fn accept(
    mut acceptor: Acceptor<UnixListener>,
    intake: Arc<Intake>,
    mut stopped: Stopped,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped.wait() => return connections,
            Some(_) = connections.join_next() => {}
            (stream, place) = acceptor.next() => {
                let peer = stream.peer_cred().ok().map(|peer| Peer {
                    uid: Some(peer.uid()),
                    pid: peer.pid(),
                    ..Peer::default()
                });
                if let Some(Peer { uid: Some(uid), pid, .. }) = &peer {
                    tracing::debug!(uid, pid = ?pid, "client connected");
                }
                connections.spawn(connection::serve(
                    stream,
                    peer,
                    Arc::new(place),
                    intake.clone(),
                    stopped.clone(),
                ));
            }
        }
    }
}

impl Handle {
    /// Takes clients from this listener as well, from here on.
    pub fn listen(&self, listener: UnixListener) {
        // An acceptor that has ended takes no client.
        let _ = self.more.send(listener);
    }

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
