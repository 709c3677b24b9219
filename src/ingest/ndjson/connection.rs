//! One client: a reader that checks and packs, a writer that answers.
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
use tokio::time::Instant;

use super::Shared;
use super::answer::Answers;
use super::flood::Tally;
use super::lines::{Lines, Next};
use super::witness::{Seen, Witness};
use crate::event::{self, Invalid};
use crate::observe::{Observer, Peer};
use crate::queue::{BlockBuilder, Pending, QueueError};

/// A block is handed over at this size: enough for good compression, small enough to keep
/// several on their way.
const BLOCK_BYTES: usize = 128 << 10;
const BLOCK_EVENTS: usize = 512;
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
    pending: Result<Pending, QueueError>,
    /// What is told of them.
    witness: Witness,
    /// Their share of [`DUE_BYTES`], given back when they are written.
    _share: OwnedSemaphorePermit,
}

pub(super) async fn serve(stream: UnixStream, peer: Option<Peer>, shared: Arc<Shared>) {
    let (read, write) = stream.into_split();
    let observer = shared.observer.clone();
    let (owe, owed) = mpsc::channel(BLOCKS_DUE);
    let reader = Reader {
        lines: Lines::new(shared.options.max_event_bytes),
        block: shared.new_block(),
        answers: Answers::default(),
        read_at: Instant::now(),
        seen: None,
        line: 0,
        tally: Tally::default(),
        owe,
        room: Arc::new(Semaphore::new(DUE_BYTES)),
        shared,
    };
    let (read_end, write_end) = tokio::join!(reader.run(read), answer(write, owed, peer, observer));
    if let Err(error) = read_end.and(write_end) {
        tracing::debug!("a client's connection broke: {error}");
    }
}

impl Shared {
    fn new_block(&self) -> BlockBuilder {
        BlockBuilder::new(self.queue.hasher(), self.clock.now())
    }
}

/// Writes the answers as their receipts come. Ends when the reader has ended and all are
/// written, or when the client is gone.
async fn answer(
    mut write: OwnedWriteHalf,
    mut owed: mpsc::Receiver<Owed>,
    peer: Option<Peer>,
    observer: Observer,
) -> io::Result<()> {
    while let Some(owed) = owed.recv().await {
        let receipts = match owed.pending {
            Ok(pending) => pending.receipts().await,
            Err(error) => Err(error),
        };
        owed.witness.tell(&observer, peer, &receipts);
        match owed.answers.write(receipts) {
            Some(text) => write.write_all(&text).await?,
            // Storage has failed: an unanswered line is sent again, a wrong answer never is.
            None => return Ok(()),
        }
    }
    write.shutdown().await
}

struct Reader {
    shared: Arc<Shared>,
    lines: Lines,
    block: BlockBuilder,
    answers: Answers,
    /// When the lines of the block were read.
    read_at: Instant,
    /// The lines of the block, if somebody listened when it was begun.
    seen: Option<Seen>,
    /// Lines so far, blank ones included.
    line: u64,
    /// Lines that brought nothing, and the others.
    tally: Tally,
    owe: mpsc::Sender<Owed>,
    /// What is left of [`DUE_BYTES`].
    room: Arc<Semaphore>,
}

/// Reads what has come. While nothing comes, an empty buffer holds no memory.
async fn fill(read: &mut OwnedReadHalf, buffer: &mut BytesMut) -> io::Result<usize> {
    if buffer.is_empty() {
        tokio::select! {
            biased;
            ready = read.readable() => ready?,
            () = std::future::ready(()) => *buffer = BytesMut::new(),
        }
    }
    read.readable().await?;
    buffer.reserve(READ_BYTES);
    read.read_buf(buffer).await
}

/// Resolves when the client has closed its end: nobody reads an answer any more. A client
/// that has only ended its lines is still there.
async fn gone(read: &OwnedReadHalf) {
    loop {
        match read.ready(Interest::READABLE | Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(STILL_THERE).await,
            _ => return,
        }
    }
}

impl Reader {
    async fn run(mut self, mut read: OwnedReadHalf) -> io::Result<()> {
        let mut stop = self.shared.stop.clone();
        let mut buffer = BytesMut::new();
        loop {
            let bytes = tokio::select! {
                biased;
                () = super::stopped(&mut stop) => return Ok(()),
                () = self.owe.closed() => return Ok(()),
                bytes = fill(&mut read, &mut buffer) => bytes?,
            };
            let last = bytes == 0;
            // The moment of acceptance of what was just read.
            drop(self.begin());
            loop {
                match self.lines.next(&mut buffer, last) {
                    Next::Line(line) => self.take(&line),
                    Next::TooLong => self.too_long(),
                    Next::Incomplete => break,
                }
                if self.block.bytes() >= BLOCK_BYTES
                    || self.block.len() >= BLOCK_EVENTS
                    || self.answers.len() >= BLOCK_ANSWERS
                    || self.answers.bytes() >= BLOCK_BYTES
                {
                    self.hand_over(&read).await?;
                    self.slow_down().await;
                }
            }
            self.hand_over(&read).await?;
            if last {
                return Ok(());
            }
            self.slow_down().await;
        }
    }

    /// Begins a block; the one before it.
    fn begin(&mut self) -> BlockBuilder {
        self.read_at = Instant::now();
        self.seen = Seen::if_heard(&self.shared.observer);
        std::mem::replace(&mut self.block, self.shared.new_block())
    }

    fn take(&mut self, line: &[u8]) {
        self.line += 1;
        if event::is_blank(line) {
            self.tally.wasted += 1;
            return;
        }
        let call = match event::check(line) {
            Ok(call) => call,
            Err(why) => return self.reject(line, &why),
        };
        self.tally.useful += 1;
        if let Some(reason) = call.kind.ignored() {
            self.block.count_ignored();
            self.answers.ignored(&call.message_id, reason);
            if let Some(seen) = &mut self.seen {
                seen.ignored(&call.message_id, line, reason);
            }
            return;
        }
        let accepted = self.block.accepted_at().div_euclid(1000);
        let event_time = call.event_time.unwrap_or(accepted);
        self.block.push(&call.message_id, event_time, line);
        self.answers.stored(&call.message_id);
        if let Some(seen) = &mut self.seen {
            seen.stored(&call.message_id, line);
        }
    }

    fn too_long(&mut self) {
        self.line += 1;
        let limit = self.shared.options.max_event_bytes;
        self.reject(b"", &Invalid::TooLong { limit });
    }

    fn reject(&mut self, line: &[u8], why: &Invalid) {
        self.tally.wasted += 1;
        self.block.count_rejected();
        self.answers.rejected(self.line, why);
        if let Some(seen) = &mut self.seen {
            seen.rejected(line, why.to_string());
        }
    }

    /// Waits if the lines of late brought nothing; see [`super::flood`].
    async fn slow_down(&mut self) {
        let after = self.shared.flood.after(&mut self.tally, Instant::now());
        if let Some(after) = after {
            let mut stop = self.shared.stop.clone();
            tokio::select! {
                () = tokio::time::sleep_until(after) => {}
                () = super::stopped(&mut stop) => {}
                () = self.owe.closed() => {}
            }
        }
    }

    /// Hands what was gathered to the queue, and the answers it owes to the writer. While the
    /// queue lets nothing in, a client that leaves is let go, for else its connection would
    /// stay as long as that takes; what it had sent was not acknowledged.
    async fn hand_over(&mut self, read: &OwnedReadHalf) -> io::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let (begun, seen) = (self.read_at, self.seen.take());
        let block = self.begin().finish();
        let witness = Witness {
            begun,
            at: block.accepted_at,
            ids: Witness::ids(&block.ids),
            seen,
        };
        let answers = std::mem::take(&mut self.answers);
        let bytes = answers.bytes().min(DUE_BYTES) as u32;
        // A writer that is gone gives back what it held. The semaphore is never closed.
        let share = (self.room.clone().acquire_many_owned(bytes).await)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        let pending = tokio::select! {
            biased;
            pending = self.shared.queue.enqueue(block) => pending,
            () = gone(read) => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        // A writer that is gone has lost its client; what was sent is stored all the same.
        let owed = Owed {
            answers,
            pending,
            witness,
            _share: share,
        };
        let _ = self.owe.send(owed).await;
        Ok(())
    }
}
