//! What the threads say to each other.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::clock::Millis;
use crate::queue::block::Block;
use crate::queue::contract::{
    EntryId, Forgotten, Import, Imported, LetterKey, LetterNumber, Loss, Mark, QueueError, Receipt,
    Sent, Seq, Settlement, Verdict,
};
use crate::queue::ranges::{Cursor, RangeSet};
use crate::queue::sled::account::{Ledger, Period, Sealed, Stretch};
use crate::queue::sled::disk::{Store, StoreError};
use crate::queue::sled::ids::{Harmed, SeenFile, Whereabouts};
use crate::queue::sled::numbers::{Generation, PeriodNumber};

/// Work for the committer.
pub enum CommitterOp {
    Enqueue(Arrival),
    Mark(Mark, oneshot::Sender<Vec<EntryId>>),
    Doubt(Vec<EntryId>),
    Release(Vec<EntryId>),
    Settle(Vec<Settlement>, oneshot::Sender<()>),
    /// Claiming found events whose stored bytes cannot be used.
    SetAside {
        /// The store that they were read from, if it stands.
        generation: Option<Generation>,
        first: Seq,
        last: Seq,
    },
    /// The same of a dead letter that is queued again.
    SetLetterAside(LetterNumber),
    JobDone(Done),
    /// The committer has come round.
    Heartbeat(oneshot::Sender<()>),
    /// Check everything stored against the account of this moment.
    Verify(oneshot::Sender<Verdict>),
    /// What the operator asks about events, and does with dead letters.
    Operator(OperatorOp),
    /// Another turn to deliver begins: what the last one had in hand is claimed again.
    BeginTurn(oneshot::Sender<()>),
    Tick,
    Close(oneshot::Sender<()>),
}

/// A block, where its receipts go, and the room that it takes until it is committed.
pub struct Arrival {
    pub block: Block,
    pub reply: Receipts,
    pub room: OwnedSemaphorePermit,
}

/// Where receipts go.
pub type Receipts = oneshot::Sender<Result<Vec<Receipt>, QueueError>>;

/// What the operator asks of the committer.
pub enum OperatorOp {
    /// Which of these numbers are dead now.
    Dead(
        RangeInclusive<LetterNumber>,
        oneshot::Sender<Option<Stretch>>,
    ),
    /// From which number on they died since an event was delivered last.
    UndeliveredLetters(oneshot::Sender<Option<LetterNumber>>),
    /// Those are to stay dead.
    KeepDead(oneshot::Sender<()>),
    Retry(Vec<LetterKey>, oneshot::Sender<u64>),
    Purge(Vec<LetterKey>, oneshot::Sender<u64>),
    /// Give these up, letters that are dead, without a way back.
    ForgetDead(Vec<LetterKey>, oneshot::Sender<u64>),
    /// Give up what of these is not settled.
    Forget(Theirs, oneshot::Sender<Forgotten>),
    /// The dead letters that are queued again, by period.
    Deferred(oneshot::Sender<DeferredNumbers>),
    TakeBack(Vec<Import>, oneshot::Sender<Vec<Option<Imported>>>),
    /// What is known of a messageId.
    Look(u128, oneshot::Sender<IdRecord>),
    /// The operator knows of the losses.
    Acknowledge(oneshot::Sender<Vec<Loss>>),
    /// Whether each of these events is open.
    States(Vec<EntryId>, oneshot::Sender<Vec<OpenState>>),
}

/// Numbers of dead letters that are queued again.
pub type DeferredNumbers = Vec<(PeriodNumber, RangeSet<LetterNumber>)>;

/// What was found of a person.
#[derive(Debug, Default)]
pub struct Theirs {
    /// With the hashes of their messageIds. Some may be settled.
    pub events: Vec<(EntryId, u128)>,
    /// Where bytes of theirs are, settled or not.
    pub generations: BTreeSet<Generation>,
    /// Count only.
    pub is_dry_run: bool,
}

/// What the committer knows of an id.
#[derive(Default)]
pub struct IdRecord {
    /// The dead letter under it, by period and number.
    pub dead: Option<(PeriodNumber, LetterNumber)>,
    /// Number, if it was purged.
    pub purged: Option<LetterNumber>,
    pub known: Option<Whereabouts>,
    /// When a letter of it was delivered, if that is remembered.
    pub delivered_at: Option<Millis>,
    /// The dead letters that are queued again, by period.
    pub deferred: DeferredNumbers,
}

/// Whether an event waits for its settlement.
pub enum OpenState {
    Settled,
    /// It does; what it left with, if it left.
    Open(Option<Sent>),
}

/// Asked of the housekeeper.
pub enum Job {
    /// Make the store of this generation.
    Prepare(Generation),
    /// Close a full generation: its ids into `seen/`, the store reopened once so that its
    /// snapshot stands (with one, damage to the log is found out instead of truncated).
    Seal {
        generation: Generation,
        store: Arc<Store>,
        first_seq: Seq,
        last_seq: Seq,
        newest: Millis,
        ids: Vec<u128>,
    },
    /// Delete a generation that is settled and sealed; one in which something could not be used
    /// goes to `quarantine/`.
    Delete {
        generation: Generation,
        is_held: bool,
    },
    /// Write a full generation anew, without the bytes of what is settled.
    EraseEvents {
        generation: Generation,
        settled: Box<Cursor>,
    },
    /// Write a past period anew, without the bytes of the letters that are gone.
    EraseLetters {
        period: PeriodNumber,
        numbers: Period,
        gone: Box<RangeSet<LetterNumber>>,
    },
    /// One file for these.
    Merge(Vec<Arc<SeenFile>>),
    /// Delete a file of ids past the window.
    Forget(Arc<SeenFile>),
    /// Make `high` durable, and the anchor behind it.
    SyncHigh,
    /// Check the stores against the account of a moment ago, and what was found in `meta`.
    Verify(Box<Ledger>, Option<StoreError>, oneshot::Sender<Verdict>),
    Stop,
}

/// What came of it.
pub enum Done {
    Prepared(Arc<Store>),
    Sealed {
        generation: Generation,
        sealed: Sealed,
        file: Arc<SeenFile>,
    },
    Deleted(Generation),
    /// Bytes of what is gone were taken out of a store, or that could not be done yet.
    ErasedEvents {
        generation: Generation,
        is_done: bool,
    },
    /// The same of dead letters.
    ErasedLetters {
        period: PeriodNumber,
        is_done: bool,
    },
    /// The names of the files that it was made of.
    Merged(Option<Arc<SeenFile>>, Vec<String>),
    Forgotten(String),
    /// A file of remembered ids is damaged.
    Harmed(Harmed),
}
