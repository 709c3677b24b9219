//! Accepts the clients of one service, from one listener or several, within a bound.
//!
//! A service keeps its clients when a listener comes to it: one whose file was removed is bound
//! anew while the daemon runs.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::crowd::{Crowd, Place, Who};

/// When no descriptor is left: how long to wait before the next try, unless a connection
/// ends before. What frees one may be outside this process, so there is no event to wait for.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Between two looks at who may go, while nobody may.
const LOOK: Duration = Duration::from_secs(1);
/// After so long without such trouble the next one is logged again.
const SPELL: Duration = Duration::from_secs(60);

/// What clients come through.
pub trait Listener: Send + 'static {
    /// A client's connection.
    type Stream: Send;

    /// The next client.
    ///
    /// # Errors
    /// The system's.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Who)>>;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Who)>> {
        let accepted = self.poll_accept(cx);
        accepted.map_ok(|(stream, _)| {
            let who = match stream.peer_cred() {
                Ok(peer) => Who::User(peer.uid()),
                Err(_) => Who::Unknown,
            };
            (stream, who)
        })
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Who)>> {
        let accepted = self.poll_accept(cx);
        accepted.map_ok(|(stream, from): (_, SocketAddr)| (stream, Who::Address(from.ip())))
    }
}

/// The way in.
pub struct Acceptor<L: Listener> {
    listeners: Vec<L>,
    /// Where to begin to look, so that one busy listener starves no other.
    turn: usize,
    more: UnboundedReceiver<L>,
    crowd: Crowd,
    /// Has come, and there is no place for it yet.
    waiting: Option<(L::Stream, Who)>,
    /// When the system last refused a descriptor.
    refused: Option<Instant>,
    /// That it is full was logged.
    told_full: bool,
}

/// An acceptor, and where further listeners for it go. Those of one crowd share its bound.
pub fn acceptor<L: Listener>(listeners: Vec<L>, crowd: Crowd) -> (Acceptor<L>, UnboundedSender<L>) {
    let (send, more) = unbounded_channel();
    let acceptor = Acceptor {
        listeners,
        turn: 0,
        more,
        crowd,
        waiting: None,
        refused: None,
        told_full: false,
    };
    (acceptor, send)
}

enum Step<L: Listener> {
    Accepted(io::Result<(L::Stream, Who)>),
    Listener(L),
}

impl<L: Listener> Acceptor<L> {
    /// The next client that there is room for. Cancel-safe.
    pub async fn next(&mut self) -> (L::Stream, Place) {
        loop {
            // Logged again only after a quarter has left, not at each that comes and goes.
            let most = self.crowd.limits().connections.max(1);
            self.told_full &= self.crowd.len() > most - most.div_ceil(4);
            if let Some((stream, who)) = self.waiting.take() {
                if let Some(place) = self.crowd.enter(who) {
                    return (stream, place);
                }
                self.waiting = Some((stream, who));
                self.full(most, who);
                tokio::select! {
                    () = self.crowd.one_leaves() => {}
                    () = sleep(LOOK) => {}
                }
                continue;
            }
            let step = std::future::poll_fn(|cx| self.poll_step(cx)).await;
            match step {
                Step::Listener(listener) => self.listeners.push(listener),
                Step::Accepted(Ok(client)) => self.waiting = Some(client),
                Step::Accepted(Err(error)) => self.refused(&error).await,
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step<L>> {
        if let Poll::Ready(Some(listener)) = self.more.poll_recv(cx) {
            return Poll::Ready(Step::Listener(listener));
        }
        let count = self.listeners.len();
        for _ in 0..count {
            self.turn = (self.turn + 1) % count;
            if let Poll::Ready(accepted) = self.listeners[self.turn].poll_accept(cx) {
                return Poll::Ready(Step::Accepted(accepted));
            }
        }
        Poll::Pending
    }

    /// Makes room, and says once that there is none.
    fn full(&mut self, most: usize, newcomer: Who) {
        let evicted = self.crowd.make_room(Some(newcomer));
        if self.told_full {
            return;
        }
        self.told_full = true;
        let name = self.crowd.limits().name;
        match evicted {
            Some(gone) => tracing::warn!(
                "{name} serves {most} clients, which is its most; for each that comes an idle one \
                 is closed, of whoever holds most: {} of {}: see who keeps connections open, or \
                 raise LimitNOFILE if it is below the default",
                gone.held,
                said(gone.who)
            ),
            None => tracing::warn!(
                "{name} serves {most} clients, which is its most; new ones wait until one leaves: \
                 see who keeps connections open, or raise LimitNOFILE if it is below the default"
            ),
        }
    }

    async fn refused(&mut self, error: &io::Error) {
        let is_news = self.refused.is_none_or(|last| last.elapsed() > SPELL);
        self.refused = Some(Instant::now());
        if is_news {
            tracing::warn!(
                "{} takes no new client for now: {error}; raise LimitNOFILE, or see who keeps \
                 connections open",
                self.crowd.limits().name
            );
        }
        let short = [Errno::EMFILE, Errno::ENFILE].map(|errno| Some(errno as i32));
        if short.contains(&error.raw_os_error()) {
            self.crowd.make_room(None);
        }
        tokio::select! {
            () = self.crowd.one_leaves() => {}
            () = sleep(EXHAUSTED) => {}
        }
    }
}

fn said(who: Who) -> String {
    match who {
        Who::User(uid) => format!("the user {uid}"),
        Who::Address(address) => address.to_string(),
        Who::Unknown => "somebody unknown".to_owned(),
    }
}
