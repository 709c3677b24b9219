//! Refused batches, split in halves until the bad events stand alone.

use std::collections::VecDeque;

use super::batch::Batch;

/// So many requests refused in a row, with no event processed between, look like a config
/// that is refused rather than like bad events.
const SUSPICIOUS: u32 = 3;

/// What is to be isolated, depth first: the halves of one batch go before the next batch, so
/// that a fault of all events shows after about two requests per lone event, however many
/// batches were refused.
#[derive(Default)]
pub(super) struct Isolation {
    pieces: VecDeque<Batch>,
    running: usize,
    in_a_row: u32,
}

impl Isolation {
    /// Puts the halves of a piece before everything else.
    pub fn halves(&mut self, first: Batch, second: Batch) {
        self.pieces.push_front(second);
        self.pieces.push_front(first);
    }

    /// Puts a piece back that met another trouble than a refusal.
    pub fn again(&mut self, piece: Batch) {
        self.pieces.push_front(piece);
    }

    /// Puts a refused batch, whole, behind everything else: it is split when it comes up.
    pub fn push(&mut self, batch: Batch) {
        self.pieces.push_back(batch);
    }

    /// A request was refused as a whole.
    pub fn refused(&mut self) {
        self.in_a_row += 1;
    }

    /// An event was processed.
    pub fn processed(&mut self) {
        self.in_a_row = 0;
    }

    /// Whether what was not refused yet has to wait, so that the number of requests stays
    /// bounded if it turns out that everything is refused.
    pub fn holds_others(&self) -> bool {
        self.in_a_row >= SUSPICIOUS && (self.running > 0 || !self.pieces.is_empty())
    }

    /// The next piece: one at a time under suspicion, otherwise up to `slots`.
    pub fn next(&mut self, slots: usize) -> Option<Batch> {
        let slots = if self.in_a_row >= SUSPICIOUS {
            1
        } else {
            slots.max(1)
        };
        if self.running < slots {
            self.pieces.pop_front()
        } else {
            None
        }
    }

    /// A piece leaves.
    pub fn started(&mut self) {
        self.running += 1;
    }

    /// A piece is back, whatever the answer.
    pub fn finished(&mut self) {
        self.running -= 1;
    }

    /// Everything: what is refused for other reasons than its own is not to be split.
    pub fn take(&mut self) -> VecDeque<Batch> {
        self.in_a_row = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Lets each waiting piece pass through `f`, which may take it out or put another in its
    /// place.
    pub fn sift(&mut self, f: impl FnMut(Batch) -> Option<Batch>) {
        let pieces = std::mem::take(&mut self.pieces);
        self.pieces = pieces.into_iter().filter_map(f).collect();
    }

    /// What waits to be tried.
    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.pieces.iter()
    }

    pub fn events(&self) -> usize {
        self.pieces.iter().map(Batch::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn next(isolation: &mut Isolation) -> Option<u64> {
        let batch = isolation.next(8)?;
        isolation.started();
        Some(batch.id)
    }

    #[test]
    fn halves_go_before_other_batches() {
        let mut isolation = Isolation::default();
        isolation.push(fixture::batch(1, 4));
        isolation.push(fixture::batch(2, 4));
        isolation.halves(fixture::batch(3, 2), fixture::batch(4, 2));
        let order: Vec<u64> = std::iter::from_fn(|| next(&mut isolation)).collect();
        assert_eq!(order, [3, 4, 1, 2]);
    }

    #[test]
    fn under_suspicion_one_piece_at_a_time_and_nothing_else() {
        let mut isolation = Isolation::default();
        for id in 1..=4 {
            isolation.push(fixture::batch(id, 2));
        }
        assert!(!isolation.holds_others());
        for _ in 0..SUSPICIOUS {
            isolation.refused();
        }
        assert!(isolation.holds_others());
        assert_eq!(next(&mut isolation), Some(1));
        assert_eq!(next(&mut isolation), None);
        isolation.processed();
        assert!(!isolation.holds_others());
        assert_eq!(next(&mut isolation), Some(2));
    }
}
