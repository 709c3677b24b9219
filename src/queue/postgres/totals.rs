//! Running totals: each writer and each turn counts what it did itself, and what all of them counted
//! together is the ledger. So nothing that many write at once is ever updated.

use crate::queue::contract::{Census, DeadReason};
use crate::queue::record::codec::{DecodeError, Reader, Writer};

/// What one writer, one turn or all of them together have done. Some go down as well as up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub accepted: i64,
    pub duplicate: i64,
    pub ignored: i64,
    pub rejected: i64,
    pub retried: i64,
    /// Events that came into the line, and those of them that are settled.
    pub lined: i64,
    pub line_settled: i64,
    /// Letters that are queued.
    pub letters_queued: i64,
    pub delivered: i64,
    pub purged: i64,
    pub set_aside: i64,
    pub resent: i64,
    pub resent_late: i64,
    pub dead: [i64; DeadReason::ALL.len()],
}

impl Totals {
    fn fields(&mut self) -> impl Iterator<Item = &mut i64> {
        [
            &mut self.accepted,
            &mut self.duplicate,
            &mut self.ignored,
            &mut self.rejected,
            &mut self.retried,
            &mut self.lined,
            &mut self.line_settled,
            &mut self.letters_queued,
            &mut self.delivered,
            &mut self.purged,
            &mut self.set_aside,
            &mut self.resent,
            &mut self.resent_late,
        ]
        .into_iter()
        .chain(&mut self.dead)
    }

    /// Counts what another has counted.
    pub fn add(&mut self, mut other: Self) {
        for (ours, theirs) in self.fields().zip(other.fields()) {
            *ours += *theirs;
        }
    }

    /// One letter of this reason more, or one fewer.
    pub fn count_dead(&mut self, reason: DeadReason, by: i64) {
        self.dead[reason.index()] += by;
    }

    pub fn write(mut self, w: &mut Writer) {
        w.varint(self.fields().count() as u64);
        for field in self.fields() {
            w.varint(((*field << 1) ^ (*field >> 63)) as u64);
        }
    }

    /// What a newer release counts beside these is not known here, so it is refused.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut totals = Self::default();
        let count = r.varint()?;
        if count > totals.fields().count() as u64 {
            return Err(DecodeError::Value);
        }
        for field in totals.fields().take(count as usize) {
            let raw = r.varint()?;
            *field = (raw >> 1) as i64 ^ -((raw & 1) as i64);
        }
        Ok(totals)
    }

    pub fn encode(self) -> Vec<u8> {
        let mut w = Writer::versioned();
        self.write(&mut w);
        w.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::versioned(bytes)?)
    }

    /// The ledger of these, where `sending` and `in_doubt` are marked.
    pub fn census(&self, sending: u64, in_doubt: u64) -> Census {
        let open = self.lined - self.line_settled + self.letters_queued;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        Census {
            accepted: count(self.accepted),
            queued: count(open).saturating_sub(sending),
            sending,
            delivered: count(self.delivered),
            dead: self.dead.map(count),
            purged: count(self.purged),
            set_aside: count(self.set_aside),
            duplicate: count(self.duplicate),
            ignored: count(self.ignored),
            rejected: count(self.rejected),
            retried: count(self.retried),
            in_doubt,
            resent: count(self.resent),
            resent_late: count(self.resent_late),
            oldest_accepted_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_come_back_and_add_up() {
        let mut one = Totals {
            accepted: 5,
            lined: 5,
            letters_queued: -3,
            ..Totals::default()
        };
        one.count_dead(DeadReason::Late, -2);
        assert_eq!(Totals::decode(&one.encode()), Ok(one));
        let mut sum = one;
        sum.add(one);
        assert_eq!((sum.accepted, sum.letters_queued), (10, -6));
        assert_eq!(sum.dead[DeadReason::Late.index()], -4);
        for len in 0..one.encode().len() {
            assert!(Totals::decode(&one.encode()[..len]).is_err());
        }
    }
}
