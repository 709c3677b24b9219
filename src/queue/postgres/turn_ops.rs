//! What is asked of the deliverer.

use tokio::sync::oneshot;

use super::delivery::GiveUp;
use super::wave::Place;
use crate::queue::contract::{EntryId, Forgotten, LetterNumber, Mark, QueueError, Seq, Settlement};

pub type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// What is asked under a turn, or of whoever may write the journal.
pub enum TurnOp {
    /// The lease is wanted. Gives the turn's number in this process.
    Take(Reply<u64>),
    End(u64),
    /// Whether the turn still stands is to be looked at now.
    Look,
    Mark(u64, Mark, Reply<Vec<EntryId>>),
    Doubt(u64, Vec<EntryId>),
    Release(u64, Vec<EntryId>),
    Settle(u64, Vec<Settlement>, Reply<()>),
    SetAside {
        turn: u64,
        generation: i32,
        writer: u32,
        place: Place,
        first: Seq,
        count: u64,
        why: String,
    },
    SetLetterAside {
        turn: u64,
        number: LetterNumber,
    },
    Forget(Vec<GiveUp>, bool, Reply<Forgotten>),
    KeepDead(Reply<()>),
    /// What is due by the clock is done now.
    #[cfg(test)]
    Tick(oneshot::Sender<()>),
    /// What was sent before is done.
    #[cfg(test)]
    Behind(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}
