//! What the loop, the tasks beside it and the handle say to each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::Batch;
use super::destination::{NoReply, Signals};
use super::gate::Ticket;
use super::held::{Held, TriedAtOnce};
use super::item::{Dead, Prepare, Prepared, StrippedKeys};
use super::judgement::Judgement;
use super::options::{Limits, Pause};
use super::status::{DrainReport, Status};
use crate::queue::{Entry, EntryId, QueueError, Settlement};

/// What the tasks beside the loop report.
pub(super) enum Msg {
    Claimed(Vec<Entry>),
    Prepared(Done),
    Finished(Box<Finished>),
    Unsent(Box<Unsent>),
    /// So many settlements are durable.
    Settled(usize),
    /// The queue has stopped.
    Stopped(QueueError),
    /// A bug.
    Broken(String),
}

/// What the loop has to carry out, in this order, before the next request leaves.
#[derive(Default)]
pub(super) struct Outbox {
    pub doubt: Vec<EntryId>,
    pub release: Vec<EntryId>,
    pub settle: Vec<Settlement>,
    pub prepare: Vec<Job>,
    /// Letters that died of these words come back, once all of the above is durable.
    pub recall: Vec<String>,
}

/// What the handle asks for.
pub(super) enum Command {
    Reload(Prepare, Limits),
    TokenChanged,
    Pause(Pause),
    PauseOver,
    Resume {
        isolate: bool,
    },
    /// What these wait for.
    Held(Vec<EntryId>, oneshot::Sender<Option<Vec<Held>>>),
    /// What backs off is to be tried now: this one's batch, or all.
    TryAtOnce(Option<EntryId>, oneshot::Sender<TriedAtOnce>),
    Status(oneshot::Sender<Status>),
    Drain(Instant, oneshot::Sender<DrainReport>),
    Abandon,
}

/// A request that is over.
pub(super) struct Finished {
    pub batch: Batch,
    pub ticket: Ticket,
    /// From its leaving to its end.
    pub took: Duration,
    pub answer: Answer,
}

/// A request that did not leave, since some of its events were forgotten before.
pub(super) struct Unsent {
    pub batch: Batch,
    pub ticket: Ticket,
    /// Which; the others are marked.
    pub forgotten: Vec<EntryId>,
}

/// The status, what the headers say, and what the answer means.
pub(super) type Answer = Result<(u16, Signals, Judgement), NoReply>;

/// Events to prepare together.
pub(super) struct Job<E = Entry> {
    pub events: Vec<E>,
    pub strip: StrippedKeys,
    pub kind: Kind,
    pub generation: u64,
}

/// Where they come from.
pub(super) enum Kind {
    /// Just claimed.
    New,
    /// Prepared before, under another config or with keys that are refused.
    Again,
    /// One event that was refused alone, to be tried without these custom keys.
    Alone { without: Arc<[String]> },
}

/// A finished job: each event with what became of it.
pub(super) type Done = Job<(Entry, Result<Prepared, Dead>)>;
