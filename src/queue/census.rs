//! The ledger: where every accepted event is.

use super::entry::DeadReason;
use crate::clock::Millis;

/// Counts of events. The identity
/// `accepted = queued + sending + delivered + dead + purged + set_aside`
/// holds at every instant and across every crash; [`Census::imbalance`] is its error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Events accepted, ever.
    pub accepted: u64,
    /// On disk, waiting to be sent.
    pub queued: u64,
    /// In a request whose mark is laid and whose answer is awaited.
    pub sending: u64,
    /// Answered `processed`.
    pub delivered: u64,
    /// Dead letters now, by [`DeadReason::index`].
    pub dead: [u64; DeadReason::ALL.len()],
    /// Dead letters that retention or the operator deleted.
    pub purged: u64,
    /// Events lost to damage, their number known.
    pub set_aside: u64,

    /// Answers `duplicate`.
    pub duplicate: u64,
    /// Answers `ignored`.
    pub ignored: u64,
    /// Answers `rejected`.
    pub rejected: u64,
    /// Dead letters that went back to the queue.
    pub retried: u64,
    /// Of queued and sending: those that Pinterest may have seen already.
    pub in_doubt: u64,
    /// Times an event in doubt was sent again.
    pub resent: u64,
    /// Of these, later than the 48 hours for which Pinterest remembers an event_id.
    pub resent_late: u64,
    /// When the oldest event not yet settled was accepted.
    pub oldest_accepted_at: Option<Millis>,
}

impl Census {
    /// All dead letters.
    pub fn dead_total(&self) -> u64 {
        self.dead.iter().sum()
    }

    /// What was accepted less what is accounted for. Anything but 0 is a bug or damage.
    pub fn imbalance(&self) -> i64 {
        let accounted = self.queued
            + self.sending
            + self.delivered
            + self.dead_total()
            + self.purged
            + self.set_aside;
        self.accepted as i64 - accounted as i64
    }
}
