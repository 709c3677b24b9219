//! Connections of an HTTP service: as the server reads and writes them, they say when they were
//! heard, and end when their time is over or their place is needed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use super::acceptor::{Acceptor, Listener};
use super::crowd::{Limits, Place};

/// Serves the clients of an acceptor over HTTP.
pub struct Service<L: Listener> {
    acceptor: Acceptor<L>,
    limits: Limits,
}

impl<L: Listener> Service<L> {
    /// The clients that come through `acceptor`, which has these `limits`.
    pub fn new(acceptor: Acceptor<L>, limits: Limits) -> Self {
        Self { acceptor, limits }
    }
}

impl<L> axum::serve::Listener for Service<L>
where
    L: Listener,
    L::Stream: AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Io = Served<L::Stream>;
    type Addr = Arc<Place>;

    async fn accept(&mut self) -> (Self::Io, Arc<Place>) {
        let (stream, place) = self.acceptor.next().await;
        let place = Arc::new(place);
        let (life, leaving) = (self.limits.life, place.clone());
        let over = async move {
            match life {
                Some(life) => tokio::select! {
                    () = leaving.must_leave() => {}
                    () = sleep(life) => {}
                },
                None => leaving.must_leave().await,
            }
        };
        let served = Served {
            stream,
            over: Box::pin(over),
            is_over: false,
            place: place.clone(),
        };
        (served, place)
    }

    /// There is none that would say anything.
    fn local_addr(&self) -> io::Result<Arc<Place>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A connection that ends by itself.
pub struct Served<S> {
    stream: S,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
    place: Arc<Place>,
}

impl<S> Served<S> {
    /// What is served.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Ready, with an error, when it is over.
    fn poll_over<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        // Once it is over it stays so, however often it is asked.
        self.is_over = self.is_over || self.over.as_mut().poll(cx).is_ready();
        match self.is_over {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Served<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Asked first, for one that never stops asking has its end as well.
        if let Poll::Ready(over) = self.poll_over(cx) {
            return Poll::Ready(over);
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.place.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Served<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.poll_over(cx),
            ready => {
                self.place.heard();
                ready
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::acceptor::acceptor;
    use super::*;

    const LIMITS: Limits = Limits {
        name: "the port",
        connections: 16,
        life: Some(Duration::from_secs(20)),
        busy_may_go: Some(Duration::ZERO),
    };

    async fn port(limits: Limits) -> (Service<TcpListener>, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, _) = acceptor(vec![listener], crate::net::Crowd::new(limits));
        (Service::new(acceptor, limits), address)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hoarder_holds_so_many_and_a_newcomer_waits_for_none_of_them() {
        let (mut port, address) = port(LIMITS).await;
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..=LIMITS.connections {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..LIMITS.connections {
            held.push(port.accept().await.0);
        }
        clients[LIMITS.connections].write_all(b"GET").await.unwrap();
        // The first of them, which never said anything, is let go for the one that came last.
        let evicted = async {
            let ended = held[0].read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
            drop(held.remove(0));
        };
        let ((mut next, _), ()) = tokio::join!(port.accept(), evicted);
        let mut said = [0; 3];
        next.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"GET");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lives_only_for_so_long() {
        let (mut port, address) = port(LIMITS).await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut silent, _) = port.accept().await;
        let ended = silent.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }
}
