//! One client: a reader that frames lines, a writer that answers, whatever carries them.
//!
//! Invariant: whatever a client does, its connection holds less than about 1 MiB: the bytes of
//! one read and of one unfinished line, one block, and at most [`DUE_BYTES`] of answers (or
//! those of one block, if they are more). An idle one holds nearly nothing. While somebody
//! listens to what passes, the lines that are kept for that share a bound of their own
//! ([`crate::observe::Passing::hold`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::super::answer::Answers;
use super::super::intake::{Admission, BLOCK_BYTES, BLOCK_EVENTS, Due, Intake, Session};
use super::super::stop::Stopped;

use super::lines::{Lines, Next};
use crate::event;
use crate::net::{Busy, Place};
use crate::observe::Peer;

/// Answers (events, ignored and rejected calls alike) that one hand-over may owe.
const BLOCK_ANSWERS: usize = 2 * BLOCK_EVENTS;
/// Read at once.
const READ_BYTES: usize = 128 << 10;
/// Blocks of one client whose answers are due, and the bytes of those answers: with them the
/// memory of a client that never reads is bounded.
const BLOCKS_DUE: usize = 32;
const DUE_BYTES: usize = 256 << 10;
/// How often a client whose lines have to wait is looked at: is it still there? The kernel
/// tells of a hang-up on the edge on which it tells that the socket can be written, which is
/// so all along, so there is no event of its own to wait for.
const STILL_THERE: Duration = Duration::from_secs(1);

/// Answers and the receipts they wait for.
struct Owed {
    answers: Answers,
    due: Due,
    /// The client waits for the queue.
    busy: Busy,
    /// Their share of [`DUE_BYTES`], given back when they are written.
    _share: OwnedSemaphorePermit,
}

/// Where lines come from.
pub trait Input: Send {
    /// Reads what has come, 0 bytes at the end. While nothing comes, an empty buffer holds no
    /// memory.
    fn fill(&mut self, buffer: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;

    /// Resolves when nobody reads an answer any more. A client that has only ended its lines is
    /// still there.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// Where answers go.
pub trait Output: Send {
    /// Waits until they are taken.
    fn put(&mut self, text: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;

    /// There are no more.
    fn close(self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Serves a client of the socket.
pub(super) async fn serve(
    stream: UnixStream,
    peer: Option<Peer>,
    place: Arc<Place>,
    intake: Arc<Intake>,
    stopped: Stopped,
) {
    let (read, write) = stream.into_split();
    exchange(read, write, peer, place, intake, stopped).await;
}

/// Takes lines until they end, and answers each.
pub async fn exchange(
    read: impl Input,
    write: impl Output,
    peer: Option<Peer>,
    place: Arc<Place>,
    intake: Arc<Intake>,
    stopped: Stopped,
) {
    let (owe, owed) = mpsc::channel(BLOCKS_DUE);
    let reader = Reader {
        lines: Lines::new(intake.max_event_bytes()),
        session: Session::new(intake.clone(), peer),
        intake,
        answers: Answers::default(),
        line: 0,
        owe,
        room: Arc::new(Semaphore::new(DUE_BYTES)),
        place: place.clone(),
        stopped,
    };
    let (read_end, write_end) = tokio::join!(reader.run(read), answer(write, owed, &place));
    if let Err(error) = read_end.and(write_end) {
        tracing::debug!("a client's connection broke: {error}");
    }
}

/// Writes the answers as their receipts come. Ends when the reader has ended and all are
/// written, or when the client is gone.
async fn answer(
    mut write: impl Output,
    mut owed: mpsc::Receiver<Owed>,
    place: &Place,
) -> io::Result<()> {
    while let Some(owed) = owed.recv().await {
        let receipts = owed.due.receipts().await;
        // What is left to do is the client's: one that does not read is as one that is idle.
        drop(owed.busy);
        match owed.answers.lines(receipts) {
            Some(text) => {
                tokio::select! {
                    written = write.put(text) => written?,
                    // It does not read; its events are stored.
                    () = leaves_slowly(place) => return Err(io::ErrorKind::TimedOut.into()),
                }
                place.heard();
            }
            // Storage has failed: an unanswered line is sent again, a wrong answer never is.
            None => return Ok(()),
        }
    }
    write.close().await
}

/// Resolves a moment after its place is needed: whoever reads has what is due by then.
async fn leaves_slowly(place: &Place) {
    place.must_leave().await;
    tokio::time::sleep(STILL_THERE).await;
}

struct Reader {
    intake: Arc<Intake>,
    session: Session,
    lines: Lines,
    /// Of the lines that the session has taken since its block was begun.
    answers: Answers,
    /// Lines so far, blank ones included.
    line: u64,
    owe: mpsc::Sender<Owed>,
    /// What is left of [`DUE_BYTES`].
    room: Arc<Semaphore>,
    place: Arc<Place>,
    stopped: Stopped,
}

impl Input for OwnedReadHalf {
    async fn fill(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.is_empty() {
            tokio::select! {
                biased;
                ready = self.readable() => ready?,
                () = std::future::ready(()) => *buffer = BytesMut::new(),
            }
        }
        self.readable().await?;
        buffer.reserve(READ_BYTES);
        self.read_buf(buffer).await
    }

    async fn gone(&mut self) {
        loop {
            match self.ready(Interest::READABLE | Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(STILL_THERE).await,
                _ => return,
            }
        }
    }
}

impl Output for OwnedWriteHalf {
    async fn put(&mut self, text: Vec<u8>) -> io::Result<()> {
        self.write_all(&text).await
    }

    async fn close(mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

impl Reader {
    async fn run(mut self, mut read: impl Input) -> io::Result<()> {
        let mut stopped = self.stopped.clone();
        let mut buffer = BytesMut::new();
        loop {
            let bytes = tokio::select! {
                biased;
                () = stopped.wait() => return Ok(()),
                () = self.owe.closed() => return Ok(()),
                // Its place is needed: what is due is answered, nothing more is read.
                () = self.place.must_leave() => return Ok(()),
                bytes = read.fill(&mut buffer) => bytes?,
            };
            self.place.heard();
            let last = bytes == 0;
            self.session.begin();
            loop {
                match self.lines.next(&mut buffer, last) {
                    Next::Line(line) => self.take(&line),
                    Next::TooLong => {
                        self.line += 1;
                        let taken = self.session.too_long();
                        self.answer(taken);
                    }
                    Next::Incomplete => break,
                }
                if self.session.is_full()
                    || self.answers.len() >= BLOCK_ANSWERS
                    || self.answers.bytes() >= BLOCK_BYTES
                {
                    self.hand_over(&mut read).await?;
                    self.slow_down().await;
                }
            }
            self.hand_over(&mut read).await?;
            if last {
                return Ok(());
            }
            self.slow_down().await;
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.line += 1;
        if event::is_blank(line) {
            return self.session.blank();
        }
        let taken = self.session.take(line);
        self.answer(taken);
    }

    fn answer(&mut self, taken: Admission<'_>) {
        match taken {
            Admission::Stored { message_id } => self.answers.stored(&message_id),
            Admission::Ignored {
                message_id,
                reason,
                rule,
            } => self.answers.ignored(&message_id, reason, rule.as_deref()),
            Admission::Rejected(why) => self.answers.rejected(self.line, &why),
        }
    }

    /// Waits if the lines of late brought nothing.
    async fn slow_down(&mut self) {
        if let Some(until) = self.session.held_until() {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.place.must_leave() => {}
                () = self.stopped.wait() => {}
                () = self.owe.closed() => {}
            }
        }
    }

    /// Hands what was gathered to the queue, and the answers it owes to the writer. While the
    /// queue lets nothing in, a client that leaves is let go, or its connection would
    /// stay as long as that takes; what it had sent was not acknowledged.
    async fn hand_over(&mut self, read: &mut impl Input) -> io::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let sealed = self.session.seal();
        let answers = std::mem::take(&mut self.answers);
        let bytes = answers.bytes().min(DUE_BYTES) as u32;
        // A writer that is gone gives back what it held. The semaphore is never closed.
        let share = tokio::select! {
            share = self.room.clone().acquire_many_owned(bytes) => share,
            // It does not read: what it sent here was not acknowledged.
            () = self.place.must_leave() => return Err(io::ErrorKind::TimedOut.into()),
        };
        let share = share.map_err(|_| io::ErrorKind::BrokenPipe)?;
        let busy = self.place.busy();
        let due = tokio::select! {
            biased;
            due = self.intake.hand_over(sealed) => due,
            () = read.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
            // While the queue lets nothing in, this would keep the place for hours.
            () = self.place.must_leave() => return Err(io::ErrorKind::TimedOut.into()),
        };
        // A writer that is gone has lost its client; what was sent is stored all the same.
        let owed = Owed {
            answers,
            due,
            busy,
            _share: share,
        };
        let _ = self.owe.send(owed).await;
        Ok(())
    }
}
