//! One client: a reader that checks and packs, a writer that answers.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::Shared;
use super::answer::Answers;
use super::lines::{Lines, Next};
use crate::event::{self, Invalid};
use crate::queue::{BlockBuilder, Pending, QueueError};

/// A block is handed over at this size: enough for good compression, small enough to keep
/// several on their way.
const BLOCK_BYTES: usize = 128 << 10;
const BLOCK_EVENTS: usize = 512;
/// Answers (events, ignored and rejected calls alike) that one hand-over may owe.
const BLOCK_ANSWERS: usize = 2 * BLOCK_EVENTS;
/// Read at once.
const READ_BYTES: usize = 128 << 10;
/// Blocks of one client whose answers are due; with them its memory is bounded.
const BLOCKS_DUE: usize = 32;

type Owed = (Answers, Result<Pending, QueueError>);

pub(super) async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let (read, write) = stream.into_split();
    let (owe, owed) = mpsc::channel(BLOCKS_DUE);
    let reader = Reader {
        lines: Lines::new(shared.options.max_event_bytes),
        block: shared.new_block(),
        answers: Answers::default(),
        line: 0,
        owe,
        shared,
    };
    let (read_end, write_end) = tokio::join!(reader.run(read), answer(write, owed));
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
async fn answer(mut write: OwnedWriteHalf, mut owed: mpsc::Receiver<Owed>) -> io::Result<()> {
    while let Some((answers, pending)) = owed.recv().await {
        let receipts = match pending {
            Ok(pending) => pending.receipts().await,
            Err(error) => Err(error),
        };
        match answers.write(receipts) {
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
    /// Lines so far, blank ones included.
    line: u64,
    owe: mpsc::Sender<Owed>,
}

impl Reader {
    async fn run(mut self, mut read: OwnedReadHalf) -> io::Result<()> {
        let mut stop = self.shared.stop.clone();
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = super::stopped(&mut stop) => return Ok(()),
                () = self.owe.closed() => return Ok(()),
                read = read.read_buf(&mut buffer) => read?,
            };
            let last = read == 0;
            // The moment of acceptance of what was just read.
            self.block = self.shared.new_block();
            loop {
                match self.lines.next(&mut buffer, last) {
                    Next::Line(line) => self.take(&line),
                    Next::TooLong => self.too_long(),
                    Next::Incomplete => break,
                }
                if self.block.bytes() >= BLOCK_BYTES
                    || self.block.len() >= BLOCK_EVENTS
                    || self.answers.len() >= BLOCK_ANSWERS
                {
                    self.hand_over().await;
                }
            }
            self.hand_over().await;
            if last {
                return Ok(());
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.line += 1;
        if event::is_blank(line) {
            return;
        }
        let call = match event::check(line) {
            Ok(call) => call,
            Err(why) => return self.reject(&why),
        };
        if let Some(reason) = call.kind.ignored() {
            self.block.count_ignored();
            self.answers.ignored(&call.message_id, reason);
            return;
        }
        let accepted = self.block.accepted_at().div_euclid(1000);
        let event_time = call.event_time.unwrap_or(accepted);
        self.block.push(&call.message_id, event_time, line);
        self.answers.stored(&call.message_id);
    }

    fn too_long(&mut self) {
        self.line += 1;
        let limit = self.shared.options.max_event_bytes;
        self.reject(&Invalid::TooLong { limit });
    }

    fn reject(&mut self, why: &Invalid) {
        self.block.count_rejected();
        self.answers.rejected(self.line, why);
    }

    /// Hands what was gathered to the queue, and the answers it owes to the writer.
    async fn hand_over(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let next = self.shared.new_block();
        let block = std::mem::replace(&mut self.block, next);
        let answers = std::mem::take(&mut self.answers);
        let pending = self.shared.queue.enqueue(block.finish()).await;
        // A writer that is gone has lost its client; what was sent is stored all the same.
        let _ = self.owe.send((answers, pending)).await;
    }
}
