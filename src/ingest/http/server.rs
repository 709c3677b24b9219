//! The HTTP listeners' clients: accepted one by one, as many as there may be, served request by
//! request, and let go at a stop.
//!
//! Invariant: at a stop each request that is under way is answered, and none that comes later.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::super::stop::Stopped;
use super::client::Client;
use super::tls::Tls;
use crate::net::{Acceptor, Listener, Place, Who};
use crate::observe::Peer;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may rest before a request, whose head has to come within it as well. It
/// goes earlier when its place is needed.
const REST: Duration = Duration::from_secs(75);
/// What a connection holds of what it has read and not used.
const READ_BYTES: usize = 256 << 10;
/// Between two looks at the certificate's files.
const LOOK: Duration = Duration::from_secs(5);

/// A connection's bytes, and whose they are.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn peer(&self, who: Who) -> Peer;
}

impl Stream for UnixStream {
    fn peer(&self, _: Who) -> Peer {
        let peer = self.peer_cred().ok();
        Peer {
            uid: peer.map(|peer| peer.uid()),
            pid: peer.and_then(|peer| peer.pid()),
            ..Peer::default()
        }
    }
}

impl Stream for TcpStream {
    fn peer(&self, who: Who) -> Peer {
        // Answers are small and waited for.
        let _ = self.set_nodelay(true);
        Peer {
            address: match who {
                Who::Address(address) => Some(address),
                Who::User(_) | Who::Unknown => None,
            },
            ..Peer::default()
        }
    }
}

/// Serves clients until the word to stop is given; those that are left then.
pub(super) async fn accept<L>(
    mut acceptor: Acceptor<L>,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    mut stopped: Stopped,
) -> JoinSet<()>
where
    L: Listener,
    L::Stream: Stream,
{
    let mut connections = JoinSet::new();
    let tls = tls.map(TlsAcceptor::from);
    loop {
        tokio::select! {
            () = stopped.wait() => return connections,
            Some(_) = connections.join_next() => {}
            (stream, place) = acceptor.next() => {
                let client = Client {
                    peer: stream.peer(place.who()),
                    place: Arc::new(place),
                    stopped: stopped.clone(),
                    is_tls: tls.is_some(),
                    debt: Arc::default(),
                };
                let (router, tls) = (router.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, client, router).await,
                        Some(tls) => {
                            let shaken = tokio::select! {
                                shaken = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => shaken,
                                () = client.place.must_leave() => return,
                            };
                            match shaken {
                                Ok(Ok(stream)) => serve(stream, client, router).await,
                                Ok(Err(error)) => tracing::debug!("no TLS with a client: {error}"),
                                Err(_) => tracing::debug!("no TLS with a client: it took too long"),
                            }
                        }
                    }
                });
            }
        }
    }
}

async fn serve<S>(stream: S, client: Client, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place: Arc<Place> = client.place.clone();
    let mut stopped = client.stopped.clone();
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        client.place.heard();
        let mut request = request.map(Body::new);
        if let Some(uri) = tidy(request.uri()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(client.clone());
        hyper::service::Service::call(&router, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REST)
        .max_buf_size(READ_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.must_leave() => return,
        () = stopped.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a client's HTTP connection broke: {error}");
    }
}

/// The address with one slash where several follow each other, and none at the end of its path: what
/// clients make of a host that was written with a slash. `None`: it is so already.
fn tidy(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let is_odd = path.contains("//") || (path.len() > 1 && path.ends_with('/'));
    if !is_odd {
        return None;
    }
    let steps = path.split('/').filter(|step| !step.is_empty());
    let mut tidied = String::new();
    steps.for_each(|step| tidied.extend(["/", step]));
    if tidied.is_empty() {
        tidied.push('/');
    }
    if let Some(query) = uri.query() {
        tidied.extend(["?", query]);
    }
    tidied.parse().ok()
}

/// Looks at the certificate's files as long as the listener serves.
pub(super) async fn keep_looking(tls: Arc<Tls>, mut stopped: Stopped) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stopped.wait() => return,
            _ = look.tick() => {
                let tls = tls.clone();
                // A file system may hang: then the certificate stays as it is.
                drop(tokio::task::spawn_blocking(move || tls.look()));
            }
        }
    }
}
