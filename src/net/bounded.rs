//! A listener whose clients, all together, hold no more than it was given.
//!
//! Invariant: at most [`Limits::connections`] at once, each for at most [`Limits::life`]. Without
//! it, anybody who may connect could take the descriptors that the queue needs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// What the clients of one listener may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The listener, as the log calls it.
    pub name: &'static str,
    /// Connections at once; beyond them new ones wait in the backlog.
    pub connections: usize,
    /// How long one lives.
    pub life: Duration,
}

/// When no descriptor is left: how long to wait before the next try.
const EXHAUSTED: Duration = Duration::from_millis(500);

/// The listener.
pub struct Bounded {
    listener: TcpListener,
    limits: Limits,
    room: Arc<Semaphore>,
}

impl Bounded {
    /// Accepts from `listener`, within `limits`.
    pub fn new(listener: TcpListener, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            room: Arc::new(Semaphore::new(limits.connections)),
        }
    }
}

impl Listener for Bounded {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = self.room.clone().acquire_owned().await else {
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let brief = Brief {
                        stream,
                        over: Box::pin(sleep(self.limits.life)),
                        _place: place,
                    };
                    return (brief, from);
                }
                Err(error) => {
                    tracing::warn!("{} takes no client for now: {error}", self.limits.name);
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself.
pub struct Brief {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Brief {
    /// Ready, with an error, when its time is over.
    fn poll_over<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let over = self.over.as_mut().poll(cx);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Brief {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Asked first, for one that never stops asking has its end as well.
        match self.poll_over(cx) {
            Poll::Pending => Pin::new(&mut self.stream).poll_read(cx, buf),
            over => over,
        }
    }
}

impl AsyncWrite for Brief {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.poll_over(cx),
            ready => ready,
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMITS: Limits = Limits {
        name: "the port",
        connections: 16,
        life: Duration::from_secs(20),
    };

    #[tokio::test(start_paused = true)]
    async fn a_hoarder_holds_so_many_and_only_for_so_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut port = Bounded::new(listener, LIMITS);
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..=LIMITS.connections {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..LIMITS.connections {
            held.push(port.accept().await.0);
        }
        let full = tokio::time::timeout(Duration::from_secs(1), port.accept()).await;
        assert!(full.is_err(), "one too many");
        // It never says anything, and is let go.
        let mut silent = held.pop().unwrap();
        let ended = silent.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        drop(silent);
        let (mut next, _) = port.accept().await;
        clients[LIMITS.connections].write_all(b"GET").await.unwrap();
        let mut said = [0; 3];
        next.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"GET");
    }
}
