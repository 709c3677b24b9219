//! The right to deliver from this engine.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::engine::PostgresEngine;
use super::turn_ops::TurnOp;
use crate::queue::contract::{Entry, EntryId, Mark, QueueError, Settlement};

/// One turn. Clones share it.
#[derive(Clone)]
pub struct PostgresTurn(Arc<Given>);

struct Given {
    engine: PostgresEngine,
    number: u64,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.engine.ask_turn(TurnOp::End(self.number));
    }
}

/// Counts as one who waits for the turn.
struct Waiting<'a>(&'a PostgresEngine);

impl<'a> Waiting<'a> {
    fn new(engine: &'a PostgresEngine) -> Self {
        let held = &engine.shared().held;
        held.send_modify(|held| held.waiting += 1);
        Self(engine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let held = &self.0.shared().held;
        held.send_modify(|held| held.waiting -= 1);
    }
}

impl PostgresEngine {
    pub async fn turn(&self) -> Result<PostgresTurn, QueueError> {
        let _waiting = Waiting::new(self);
        let (reply, given) = oneshot::channel();
        // Whether whoever has it still has it.
        self.ask_turn(TurnOp::Look);
        self.ask_turn(TurnOp::Take(reply));
        let given = given.await.map_err(|_| self.shared().stopped())?;
        Ok(PostgresTurn(Arc::new(Given {
            engine: self.clone(),
            number: given?,
        })))
    }

    pub fn is_turn_awaited(&self) -> bool {
        self.shared().held.borrow().waiting > 0
    }
}

impl PostgresTurn {
    fn check(&self) -> Result<(), QueueError> {
        let shared = self.0.engine.shared();
        if shared.is_closing() {
            return Err(shared.stopped());
        }
        let held = *shared.held.borrow();
        match held.is_held && held.last == self.0.number {
            true => Ok(()),
            false => Err(QueueError::TurnOver),
        }
    }

    pub async fn claim(
        &self,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        self.check()?;
        (self.0.engine.claim(self.0.number, max_events, max_bytes)).await
    }

    async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> TurnOp,
    ) -> Result<T, QueueError> {
        self.check()?;
        let (reply, done) = oneshot::channel();
        self.0.engine.ask_turn(op(reply));
        done.await.map_err(|_| self.0.engine.shared().stopped())?
    }

    pub async fn mark(&self, mark: Mark) -> Result<Vec<EntryId>, QueueError> {
        self.ask(|reply| TurnOp::Mark(self.0.number, mark, reply))
            .await
    }

    pub fn doubt(&self, ids: &[EntryId]) {
        (self.0.engine).ask_turn(TurnOp::Doubt(self.0.number, ids.to_vec()));
    }

    pub fn release(&self, ids: &[EntryId]) {
        (self.0.engine).ask_turn(TurnOp::Release(self.0.number, ids.to_vec()));
    }

    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        self.ask(|reply| TurnOp::Settle(self.0.number, settlements, reply))
            .await
    }

    pub async fn end(&self) {
        let shared = self.0.engine.shared();
        let mut held = shared.held.subscribe();
        self.0.engine.ask_turn(TurnOp::End(self.0.number));
        let number = self.0.number;
        let over = held.wait_for(|held| !held.is_held || held.last != number);
        tokio::select! {
            _ = over => {}
            () = shared.closed() => {}
        }
    }
}
