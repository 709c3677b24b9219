//! The right to deliver from this engine.

use std::sync::Arc;

use tokio::sync::watch;

use crate::queue::contract::{Entry, EntryId, Mark, QueueError, Settlement};
use crate::queue::sled::engine::SledEngine;
use crate::queue::sled::runtime::Right;

/// One turn. Clones share it.
#[derive(Clone)]
pub struct SledTurn {
    engine: SledEngine,
    /// `None` once it has ended.
    right: Arc<watch::Sender<Option<Right>>>,
}

impl SledEngine {
    pub async fn turn(&self) -> Result<SledTurn, QueueError> {
        let right = self.begin_turn().await?;
        Ok(SledTurn {
            engine: self.clone(),
            right: Arc::new(watch::channel(Some(right)).0),
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

    pub async fn mark(&self, mark: Mark) -> Result<Vec<EntryId>, QueueError> {
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
