//! The state record: every counter of the ledger, in one value of fixed size.
//!
//! `meta` holds it beside what it counts, and `high` holds a copy outside of any store: what is
//! lost in `meta` is known from there.

use crate::clock::Millis;
use crate::queue::contract::{LetterNumber, Seq};
use crate::queue::record::{
    chunk::AcceptTotals,
    codec::{DecodeError, Reader, Writer},
};

/// The counters. All but `wall` and `sum` only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The low-water mark: every sequence number below is settled.
    pub low: Seq,
    pub last_seq: Seq,
    pub totals: AcceptTotals,
    pub delivered: u64,
    pub purged: u64,
    pub set_aside: u64,
    pub retried: u64,
    pub resent: u64,
    /// Of `resent`: later than the destination remembers an event_id.
    pub resent_late: u64,
    /// The next number among the dead letters.
    pub dead_next: LetterNumber,
    /// How often `meta` was written.
    pub settle_no: u64,
    /// The wall clock at the last write for which it was believed.
    pub wall: Millis,
    /// Events of the line below it that are not settled are in doubt, marked or not: the queue
    /// was restored from a copy, or its marks were lost.
    pub doubt_lines: Seq,
    /// The same of dead letters that are queued again.
    pub doubt_letters: LetterNumber,
    /// When that was found.
    pub doubt_since: Millis,
    /// Sum of the checksums of everything else in `meta`: a row that is missing shows.
    pub sum: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            low: Seq(1),
            last_seq: Seq(0),
            totals: AcceptTotals::default(),
            delivered: 0,
            purged: 0,
            set_aside: 0,
            retried: 0,
            resent: 0,
            resent_late: 0,
            dead_next: LetterNumber(1),
            settle_no: 0,
            wall: 0,
            doubt_lines: Seq(0),
            doubt_letters: LetterNumber(0),
            doubt_since: 0,
            sum: 0,
        }
    }
}

impl State {
    /// Bytes of [`State::write`].
    pub const LEN: usize = 8 * 20;

    pub fn write(&self, w: &mut Writer) {
        w.number(self.low);
        w.number(self.last_seq);
        self.totals.write(w);
        for v in [
            self.delivered,
            self.purged,
            self.set_aside,
            self.retried,
            self.resent,
            self.resent_late,
            self.dead_next.0,
            self.settle_no,
        ] {
            w.u64(v);
        }
        w.i64(self.wall);
        w.number(self.doubt_lines);
        w.number(self.doubt_letters);
        w.i64(self.doubt_since);
        w.u64(self.sum);
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let state = Self {
            low: r.number()?,
            last_seq: r.number()?,
            totals: AcceptTotals::read(r)?,
            delivered: r.u64()?,
            purged: r.u64()?,
            set_aside: r.u64()?,
            retried: r.u64()?,
            resent: r.u64()?,
            resent_late: r.u64()?,
            dead_next: r.number()?,
            settle_no: r.u64()?,
            wall: r.i64()?,
            doubt_lines: r.number()?,
            doubt_letters: r.number()?,
            doubt_since: r.i64()?,
            sum: r.u64()?,
        };
        if state.low.0 == 0 || state.dead_next.0 == 0 {
            return Err(DecodeError::Value);
        }
        Ok(state)
    }

    /// What is known from two copies of which either may be behind.
    pub fn newest(&self, other: &Self) -> Self {
        let (newer, older) = match self.settle_no >= other.settle_no {
            true => (self, other),
            false => (other, self),
        };
        Self {
            low: newer.low.max(older.low),
            last_seq: newer.last_seq.max(older.last_seq),
            totals: newer.totals.max(&older.totals),
            ..*newer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_whole_and_no_prefix_does() {
        let state = State {
            low: Seq(7),
            delivered: 6,
            sum: u64::MAX,
            ..State::default()
        };
        let mut w = Writer::default();
        state.write(&mut w);
        assert_eq!(w.0.len(), State::LEN);
        assert_eq!(State::read(&mut Reader(&w.0)), Ok(state));
        for len in 0..w.0.len() {
            assert!(State::read(&mut Reader(&w.0[..len])).is_err());
        }
    }
}
