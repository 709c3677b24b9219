//! One turn's work: the tasks beside the loop, and what is under way in them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::batch::Batch;
use super::courier::Left;
use super::destination::{Destination, Reply, Transport};
use super::gate::Ticket;
use super::item::Prepare;
use super::messages::{Finished, Job, Msg, Outbox, Unsent};
use super::prepare::preparer;
use super::recall::recall_and_tell;
use crate::queue::{Queue, Settlement, Turn};

/// Settlements from here on wait for the next wave.
const WAVE_EVENTS: usize = 4_000;

/// What a turn has under way. It is built anew for each; what is left of it when the turn is over
/// goes with it, for the queue gives those events to the next.
pub(super) struct Work<T> {
    turn: Turn,
    transport: Arc<T>,
    tx: mpsc::UnboundedSender<Msg>,
    rx: mpsc::UnboundedReceiver<Msg>,
    jobs: mpsc::UnboundedSender<(Prepare, Job)>,
    claims: mpsc::UnboundedSender<(usize, usize)>,
    claiming: bool,
    claimer: JoinHandle<()>,
    settlements: mpsc::UnboundedSender<Vec<Settlement>>,
    settler: JoinHandle<()>,
    /// Settlements on their way.
    unsettled: usize,
    requests: JoinSet<()>,
    /// Letters that died of these words are to come back.
    recall: Vec<String>,
}

impl<T: Transport> Work<T> {
    pub fn new(turn: Turn, transport: Arc<T>) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        let (jobs, job_rx) = mpsc::unbounded_channel();
        let (claims, claim_rx) = mpsc::unbounded_channel();
        let (settlements, settlement_rx) = mpsc::unbounded_channel();
        tokio::spawn(preparer(job_rx, tx.clone()));
        let claimer = tokio::spawn(claimer(turn.clone(), claim_rx, tx.clone()));
        let settler = tokio::spawn(settler(turn.clone(), settlement_rx, tx.clone()));
        Self {
            turn,
            transport,
            tx,
            rx,
            jobs,
            claims,
            claiming: false,
            claimer,
            settlements,
            settler,
            unsettled: 0,
            requests: JoinSet::new(),
            recall: Vec::new(),
        }
    }

    /// The next message of a task. `tx` lives in `self`: there is always a sender.
    pub async fn message(&mut self) -> Option<Msg> {
        let msg = self.rx.recv().await;
        self.received(msg)
    }

    /// One that is there already.
    pub fn message_now(&mut self) -> Option<Msg> {
        let msg = self.rx.try_recv().ok();
        self.received(msg)
    }

    fn received(&mut self, msg: Option<Msg>) -> Option<Msg> {
        match &msg {
            Some(Msg::Claimed(_)) => self.claiming = false,
            Some(Msg::Settled(count)) => self.unsettled -= count,
            _ => {}
        }
        msg
    }

    /// What a request's task met that has ended by a bug.
    pub fn broken_request(&mut self) -> Option<String> {
        while let Some(ended) = self.requests.try_join_next() {
            if let Err(error) = ended {
                return Some(format!("a request's task failed: {error}"));
            }
        }
        None
    }

    /// Whether settlements are on their way.
    pub fn is_settling(&self) -> bool {
        self.unsettled > 0
    }

    /// Has the queue say whether the turn is lost, or the queue has stopped, where nothing else would
    /// hear it: while the hand is full and nothing may leave, nothing is claimed, marked or settled.
    pub fn ask_for_word(&mut self) {
        if !self.claiming {
            let _ = self.settlements.send(Vec::new());
        }
    }

    /// Asks for events, unless that was done and is not answered.
    pub fn claim(&mut self, budget: impl FnOnce() -> Option<(usize, usize)>) {
        if let (false, Some(budget)) = (self.claiming, budget()) {
            self.claiming = self.claims.send(budget).is_ok();
        }
    }

    /// Carries out what the courier has decided.
    pub fn carry_out(&mut self, out: Outbox, prepare: &Prepare) {
        if !out.doubt.is_empty() {
            self.turn.doubt(&out.doubt);
        }
        if !out.release.is_empty() {
            self.turn.release(&out.release);
        }
        if !out.settle.is_empty() {
            self.unsettled += out.settle.len();
            // A settler that is gone has reported why.
            let _ = self.settlements.send(out.settle);
        }
        self.recall.extend(out.recall);
        for job in out.prepare {
            let _ = self.jobs.send((prepare.clone(), job));
        }
    }

    /// Has letters come back, once what was decided before is durable: only then are they there.
    pub fn recall(&mut self, queue: &Queue, prepare: &Prepare) {
        if self.unsettled > 0 || self.recall.is_empty() {
            return;
        }
        let messages = std::mem::take(&mut self.recall);
        let (queue, prepare) = (queue.clone(), prepare.clone());
        tokio::spawn(async move {
            for message in messages {
                recall_and_tell(&queue, &prepare, &message).await;
            }
        });
    }

    /// Sends a batch, once its mark is durable.
    pub fn send(
        &mut self,
        batch: Batch,
        ticket: Ticket,
        left_at: Left,
        destination: &'static Destination,
    ) {
        let (turn, transport) = (self.turn.clone(), self.transport.clone());
        let (tx, judge) = (self.tx.clone(), destination.judge);
        self.requests.spawn(async move {
            // The mark is durable before the request leaves: after a crash it is known which
            // events the destination may have seen, and under which names.
            let forgotten = match turn.mark(batch.mark()).await {
                Ok(forgotten) => forgotten,
                Err(error) => {
                    let _ = tx.send(Msg::Stopped(error));
                    return;
                }
            };
            if !forgotten.is_empty() {
                let _ = tx.send(Msg::Unsent(Box::new(Unsent {
                    batch,
                    ticket,
                    forgotten,
                })));
                return;
            }
            let left = Instant::now();
            let _ = left_at.set(left);
            let reply = transport.send(batch.body.clone(), ticket.probe).await;
            let judged = |reply: Reply| (reply.status, reply.signals, judge(&reply, batch.len()));
            let answer = reply.map(judged);
            let _ = tx.send(Msg::Finished(Box::new(Finished {
                batch,
                ticket,
                took: left.elapsed(),
                answer,
            })));
        });
    }

    /// Abandons what is in flight, whose marks stay. What was answered before has its message.
    pub async fn abandon_requests(&mut self) {
        self.requests.shutdown().await;
    }

    /// Waits for what is settled to be durable, and gives the turn back. `last`: what the courier
    /// has decided since.
    pub async fn end(mut self, last: Outbox, prepare: &Prepare) {
        self.claimer.abort();
        self.carry_out(last, prepare);
        drop(self.settlements);
        if let Err(error) = self.settler.await {
            tracing::error!("the last settlements failed: {error}");
        }
        self.turn.end().await;
    }
}

/// A task of its own, because a claim must not be dropped half-way.
async fn claimer(
    turn: Turn,
    mut wanted: mpsc::UnboundedReceiver<(usize, usize)>,
    tx: mpsc::UnboundedSender<Msg>,
) {
    while let Some((events, bytes)) = wanted.recv().await {
        let msg = match turn.claim(events, bytes).await {
            Ok(entries) => Msg::Claimed(entries),
            Err(error) => Msg::Stopped(error),
        };
        if tx.send(msg).is_err() {
            return;
        }
    }
}

/// Settles what has gathered while the last wave was made durable.
async fn settler(
    turn: Turn,
    mut waves: mpsc::UnboundedReceiver<Vec<Settlement>>,
    tx: mpsc::UnboundedSender<Msg>,
) {
    while let Some(mut wave) = waves.recv().await {
        // One wave is one batch of the queue's account, which wants to stay small even where
        // every event is a range of its own.
        while wave.len() < WAVE_EVENTS {
            let Ok(more) = waves.try_recv() else { break };
            wave.extend(more);
        }
        let count = wave.len();
        let msg = match turn.settle(wave).await {
            // Asked for a word alone: that all is well is none.
            Ok(()) if count == 0 => continue,
            Ok(()) => Msg::Settled(count),
            Err(error) => Msg::Stopped(error),
        };
        let stopped = matches!(msg, Msg::Stopped(_));
        // The loop listens no more once it waits for the last wave.
        let _ = tx.send(msg);
        if stopped {
            return;
        }
    }
}
