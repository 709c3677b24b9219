//! The right to deliver: one holder in this process, for as long as it wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::ledger::Ledger;
use super::operate::Ask;
use super::{Shared, SledEngine, lock};
use crate::queue::entry::{Entry, EntryId, Mark, Settlement};
use crate::queue::error::QueueError;

/// Who may deliver.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// The first turn finds the line as the start left it.
    had_one: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
            had_one: AtomicBool::new(false),
        }
    }
}

/// Held by the turn and by each of its calls that is under way, so that the next turn begins
/// behind them all.
pub(super) type Right = Arc<OwnedSemaphorePermit>;

/// One turn. Clones share it.
#[derive(Clone)]
pub struct SledTurn {
    engine: SledEngine,
    /// `None` once it has ended.
    right: Arc<watch::Sender<Option<Right>>>,
}

impl SledEngine {
    pub async fn turn(&self) -> Result<SledTurn, QueueError> {
        let free = self.turns.free.clone();
        let right = tokio::select! {
            right = free.acquire_owned() => right.map_err(|_| self.stopped())?,
            () = self.shared.ops.closed() => return Err(self.stopped()),
        };
        if self.shared.stopped.get().is_some() || self.shared.ops.is_closed() {
            return Err(self.stopped());
        }
        if self.turns.had_one.swap(true, Ordering::AcqRel) {
            self.ask(Ask::Turn).await?;
        }
        Ok(SledTurn {
            engine: self.clone(),
            right: Arc::new(watch::channel(Some(Arc::new(right))).0),
        })
    }
}

impl SledTurn {
    fn right(&self) -> Result<Right, QueueError> {
        self.right.borrow().clone().ok_or(QueueError::TurnOver)
    }

    pub async fn claim(
        &self,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let mut over = self.right.subscribe();
        let right = self.right()?;
        tokio::select! {
            claimed = self.engine.claim(max_events, max_bytes, right) => claimed,
            // The sender is in `self`: this resolves when the turn ends, and not before.
            _ = over.wait_for(Option::is_none) => Err(QueueError::TurnOver),
        }
    }

    pub async fn mark(&self, mark: Mark) -> Result<(), QueueError> {
        let _right = self.right()?;
        self.engine.mark(mark).await
    }

    pub fn doubt(&self, ids: &[EntryId]) {
        if let Ok(_right) = self.right() {
            self.engine.doubt(ids);
        }
    }

    pub fn release(&self, ids: &[EntryId]) {
        if let Ok(_right) = self.right() {
            self.engine.release(ids);
        }
    }

    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        let _right = self.right()?;
        self.engine.settle(settlements).await
    }

    pub async fn end(&self) {
        self.right.send_replace(None);
    }
}

/// What the last turn had in hand is to be claimed again: the claims begin anew at the first
/// number that is not settled, as after a start, and what was marked is in doubt. Nobody claims
/// meanwhile. For the committer.
pub(super) fn begin(shared: &Shared, ledger: &mut Ledger) {
    let marked: Vec<_> = (ledger.marks.iter())
        .map(|(id, marked)| (id, marked.name.clone()))
        .collect();
    for (id, _) in &marked {
        ledger.marks.doubt(*id);
    }
    let mut claims = lock(&shared.claims);
    claims.rewind(ledger.cursor.clone(), marked.into_iter().collect());
    lock(&shared.tail).rewind();
    *lock(&shared.apart) = super::open::apart(ledger);
    shared.bytes_in_hand.store(0, Ordering::Release);
}
