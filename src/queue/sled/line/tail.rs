//! The newest committed chunks, in memory: what may be claimed, and how old the oldest is.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::Seq;
use crate::queue::record::chunk::Chunk;

/// Packed bytes of the newest chunks kept in memory, so that a delivery that keeps up never
/// reads back what was just written.
const TAIL_BYTES: usize = 4 << 20;

/// The newest committed chunks, without a gap up to the last commitment.
#[derive(Default)]
pub struct Tail {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Everything up to here has its receipt and may be claimed.
    committed: Seq,
    /// Last number and acceptance of chunks handed out and not yet settled whole.
    ages: VecDeque<(Seq, Millis)>,
}

impl Tail {
    pub fn new(committed: Seq) -> Self {
        Self {
            committed,
            ..Self::default()
        }
    }

    /// Makes a committed chunk claimable.
    pub fn publish(&mut self, chunk: Arc<Chunk>) {
        self.committed = chunk.last_seq();
        self.bytes += chunk.packed.len();
        self.chunks.push_back(chunk);
        while self.bytes > TAIL_BYTES && self.chunks.len() > 1 {
            if let Some(old) = self.chunks.pop_front() {
                self.bytes -= old.packed.len();
            }
        }
    }

    /// Nothing is handed out.
    pub fn rewind(&mut self) {
        self.ages.clear();
    }

    /// The chunk that holds this number, if it is in memory.
    pub fn find(&self, seq: Seq) -> Option<Arc<Chunk>> {
        let at = self.chunks.partition_point(|chunk| chunk.last_seq() < seq);
        self.chunks
            .get(at)
            .filter(|chunk| chunk.first_seq <= seq)
            .cloned()
    }

    /// Everything up to here may be claimed.
    pub fn committed(&self) -> Seq {
        self.committed
    }

    /// The events of a chunk were loaded, to be handed out.
    pub fn handed_out(&mut self, chunk: &Chunk) {
        self.ages.push_back((chunk.last_seq(), chunk.accepted_at));
    }

    /// When the oldest event of the line that is not settled was accepted; `low`: the first number
    /// that is not settled. Of what is queued from the dead letters this knows nothing.
    pub fn oldest(&mut self, low: Seq) -> Option<Millis> {
        while self.ages.front().is_some_and(|(last, _)| *last < low) {
            self.ages.pop_front();
        }
        let handed_out = self.ages.front().map(|(_, accepted_at)| *accepted_at);
        // What nobody has claimed yet: in memory, unless there is much of it and it was
        // there before the start.
        handed_out.or_else(|| Some(self.find(low)?.accepted_at))
    }
}
