//! Connections that can be broken from within a handler: HTTP has no word for a reset, a close
//! without an answer, or an answer that comes byte by byte.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

/// What happens to whatever is written on a connection next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Written,
    Reset,
    Closed,
    Trickled(Duration),
}

/// A handler's grip on its connection.
#[derive(Clone, Default)]
pub(super) struct Grip(Arc<Mutex<Fate>>);

impl Grip {
    pub fn set(&self, fate: Fate) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fate;
    }

    fn get(&self) -> Fate {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, Sockets>> for Grip {
    fn connect_info(stream: IncomingStream<'_, Sockets>) -> Self {
        stream.io().grip.clone()
    }
}

pub(super) struct Sockets(pub TcpListener);

impl Listener for Sockets {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        // Without it small answers would wait for the client's delayed acknowledgement; a
        // socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            stream,
            grip: Grip::default(),
            pause: None,
        };
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    grip: Grip,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// An error where the connection is to break; otherwise how many bytes may go.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.grip.get() {
            Fate::Written => Poll::Ready(Ok(usize::MAX)),
            Fate::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Fate::Reset => {
                // Dropping the socket now sends a reset.
                self.stream.set_zero_linger()?;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Fate::Trickled(every) => {
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                Poll::Ready(Ok(1))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(self.poll_allowance(cx))?.min(buf.len());
        Pin::new(&mut self.stream).poll_write(cx, &buf[..n])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
