//! HTTP/1.1 over a Unix socket and, if it is asked for, TCP: the dialects of Chord, Jitsu and
//! Segment, whose clients need another host and nothing else, and lines as on the socket.
//!
//! `server` accepts the clients, `tls` has what the listener shows them, from `tls_files`; `routes` are the paths,
//! `request` one request from its body to its answer, `stream` the one that is answered as it
//! comes; `body` reads within limits, `scan` and `call` cut it into the lines of its events,
//! `keys` and `client` say whose they are, `refusal` what is told when nothing is taken, `options` is
//! what the config says.

mod body;
mod call;
mod client;
mod keys;
mod options;
mod refusal;
mod request;
mod routes;
mod scan;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tls_files;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, JoinSet};

use super::intake::Intake;
use super::stop::{Stop, stop};
use crate::net::{self, Crowd};
use request::Http;

pub(super) use call::{Beside, Call, Shape};
pub use keys::WriteKeys;
pub use options::{HttpLimits, HttpOptions, Ready, SharedHttpLimits};
pub use tls_files::{TlsError, TlsFiles};

/// The running HTTP side.
pub struct Handle {
    stop: Stop,
    acceptors: Vec<JoinHandle<JoinSet<()>>>,
    more: UnboundedSender<UnixListener>,
}

/// Serves the clients of these listeners, as many as the crowd takes. Must be called within a
/// runtime.
///
/// # Errors
/// Why the certificate or its key cannot be used.
pub(super) fn spawn(
    unix: Vec<UnixListener>,
    tcp: Vec<TcpListener>,
    intake: Arc<Intake>,
    options: HttpOptions,
    crowd: Crowd,
) -> Result<Handle, String> {
    let (stop, stopped) = stop();
    let http = Arc::new(Http {
        intake,
        keys: options.keys,
        limits: options.limits,
        room: body::room(),
        unknown_room: body::room(),
    });
    let router = routes::router(http, options.ready);
    let server = match options.tls.filter(|_| !tcp.is_empty()) {
        None => None,
        Some(files) => {
            let tls = tls::Tls::open(files).map_err(|error| error.to_string())?;
            tokio::spawn(server::keep_looking(tls.clone(), stopped.clone()));
            Some(tls.server().map_err(|error| error.to_string())?)
        }
    };
    let (acceptor, more) = net::acceptor(unix, crowd.clone());
    let mut acceptors = vec![tokio::spawn(server::accept(
        acceptor,
        router.clone(),
        None,
        stopped.clone(),
    ))];
    if !tcp.is_empty() {
        let (acceptor, _) = net::acceptor(tcp, crowd);
        let accept = server::accept(acceptor, router, server, stopped);
        acceptors.push(tokio::spawn(accept));
    }
    Ok(Handle {
        stop,
        acceptors,
        more,
    })
}

impl Handle {
    /// Takes clients from this listener as well, from here on.
    pub fn listen(&self, listener: UnixListener) {
        // An acceptor that has ended takes no client.
        let _ = self.more.send(listener);
    }

    /// Takes no new connection and no new request, and answers those that are under way. Clients
    /// that do not read theirs within `patience` are cut off: their events are stored.
    pub async fn stop(self, patience: Duration) {
        self.stop.now();
        let finish = async {
            for acceptor in self.acceptors {
                if let Ok(mut connections) = acceptor.await {
                    while connections.join_next().await.is_some() {}
                }
            }
        };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!(
                "some HTTP clients could not be answered in time (they do not read, or the queue is \
                 at its quota): closed on them"
            );
        }
    }
}
