//! The loop: waits for what happens, lets the courier decide, carries it out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Limits;
use super::answer::Finished;
use super::batch::Batch;
use super::classify::{Judgement, classify};
use super::courier::Courier;
use super::gate::Ticket;
use super::item::Prepare;
use super::pause::Pause;
use super::prepare::{Done, Job, preparer};
use super::send::{Reply, Signals, Transport};
use super::status::{DrainEnd, DrainReport, Status};
use crate::queue::{Entry, Queue, QueueError, Settlement, Turn};

/// While draining before a gate that is not open, answers to what is in flight are awaited so
/// long: each that comes spares a resend.
const GRACE: Duration = Duration::from_secs(2);
/// Messages handled before the next look at what may leave.
const AT_ONCE: usize = 64;

/// What the tasks beside the loop report.
pub(super) enum Msg {
    Claimed(Vec<Entry>),
    Prepared(Done),
    Finished(Box<Finished>),
    /// So many settlements are durable.
    Settled(usize),
    /// The queue has stopped, or the turn is over.
    Stopped(QueueError),
    /// A bug.
    Broken(String),
}

/// What the handle asks for.
pub(super) enum Command {
    Reload(Prepare, Limits),
    TokenChanged,
    Pause(Pause),
    PauseOver,
    Resume { isolate: bool },
    Status(oneshot::Sender<Status>),
    Drain(Instant, oneshot::Sender<DrainReport>),
    Abandon,
}

struct Drain {
    deadline: Instant,
    answer: oneshot::Sender<DrainReport>,
    delivered: u64,
    dead: u64,
    awaited: usize,
    /// Since the gate was found closed.
    grace: Option<Instant>,
}

pub(super) struct Run<T> {
    courier: Courier,
    queue: Queue,
    /// It is ours while this runs.
    turn: Turn,
    transport: Arc<T>,
    prepare: Prepare,
    commands: mpsc::UnboundedReceiver<Command>,
    last: Arc<Mutex<Status>>,
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
    drain: Option<Drain>,
    end: Option<DrainEnd>,
}

impl<T: Transport> Run<T> {
    pub fn new(
        courier: Courier,
        (queue, turn): (Queue, Turn),
        transport: T,
        prepare: Prepare,
        commands: mpsc::UnboundedReceiver<Command>,
        last: Arc<Mutex<Status>>,
    ) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        let (jobs, job_rx) = mpsc::unbounded_channel();
        let (claims, claim_rx) = mpsc::unbounded_channel();
        let (settlements, settlement_rx) = mpsc::unbounded_channel();
        tokio::spawn(preparer(job_rx, tx.clone()));
        let claimer = tokio::spawn(claimer(turn.clone(), claim_rx, tx.clone()));
        let settler = tokio::spawn(settler(turn.clone(), settlement_rx, tx.clone()));
        Self {
            courier,
            queue,
            turn,
            transport: Arc::new(transport),
            prepare,
            commands,
            last,
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
            drain: None,
            end: None,
        }
    }

    /// Runs until a drain ends it, the queue stops, or the handle is gone.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.step(now);
            self.end = self.end.or_else(|| self.over(now));
            if self.end.is_some() {
                break;
            }
            let wake = self.wake(now);
            tokio::select! {
                // In this order, not at random: a simulated run replays. None starves another,
                // for commands are few and what is due is looked at in every turn.
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(Instant::now(), command),
                    None => self.end = Some(DrainEnd::Abandoned),
                },
                msg = self.rx.recv() => {
                    // `tx` lives in `self`: there is always a sender.
                    let mut next = msg;
                    for _ in 0..AT_ONCE {
                        let Some(msg) = next else { break };
                        self.hear(Instant::now(), msg);
                        next = self.rx.try_recv().ok();
                    }
                    if let Some(msg) = next {
                        self.hear(Instant::now(), msg);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        self.finish().await;
    }

    fn step(&mut self, now: Instant) {
        while let Some(ended) = self.requests.try_join_next() {
            if let Err(error) = ended {
                self.broken(format!("a request's task failed: {error}"));
            }
        }
        self.courier.sweep(now);
        self.carry_out();
        while let Some((batch, ticket)) = self.courier.next(now) {
            self.start(batch, ticket);
        }
        self.carry_out();
        if let (false, Some(room)) = (self.claiming, self.courier.room()) {
            self.claiming = self.claims.send(room).is_ok();
        }
    }

    fn hear(&mut self, now: Instant, msg: Msg) {
        match msg {
            Msg::Claimed(entries) => {
                self.claiming = false;
                self.courier.claimed(now, entries);
            }
            Msg::Prepared(done) => self.courier.prepared(now, done),
            Msg::Finished(finished) => self.courier.finished(now, *finished),
            Msg::Settled(count) => self.unsettled -= count,
            Msg::Stopped(error) => {
                if self.end.is_none() {
                    tracing::error!("delivery stops: {error}");
                    self.courier.status.stopped = Some(error.to_string());
                    self.end = Some(DrainEnd::QueueStopped);
                }
            }
            Msg::Broken(what) => self.broken(what),
        }
        // In order: a mark that goes must have gone before the next one is laid.
        self.carry_out();
    }

    fn broken(&mut self, what: String) {
        tracing::error!("delivery stops, a bug: {what}; restart pinrelay, nothing is lost");
        self.courier.status.stopped = Some(what);
        self.end = Some(DrainEnd::QueueStopped);
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Reload(prepare, limits) => {
                self.prepare = prepare;
                self.courier.reload(now, limits);
            }
            Command::TokenChanged => self.courier.gate.retry_now(now),
            Command::Pause(pause) => self.courier.paused = Some(pause),
            Command::PauseOver => self.courier.paused = None,
            Command::Resume { isolate } => self.courier.resume(isolate),
            Command::Status(answer) => {
                let _ = answer.send(self.courier.status(now));
            }
            Command::Drain(deadline, answer) => {
                self.courier.flush = true;
                self.drain = Some(Drain {
                    deadline,
                    answer,
                    delivered: self.courier.status.delivered,
                    dead: self.courier.status.dead,
                    awaited: self.courier.in_flight,
                    grace: None,
                });
            }
            Command::Abandon => self.end = Some(DrainEnd::Abandoned),
        }
    }

    fn carry_out(&mut self) {
        let out = std::mem::take(&mut self.courier.out);
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
        for job in out.prepare {
            let _ = self.jobs.send((self.prepare.clone(), job));
        }
    }

    fn start(&mut self, batch: Batch, ticket: Ticket) {
        let (turn, transport) = (self.turn.clone(), self.transport.clone());
        let tx = self.tx.clone();
        self.requests.spawn(async move {
            // The mark is durable before the request leaves: after a crash it is known which
            // events Pinterest may have seen, and under which names.
            if let Err(error) = turn.mark(batch.mark()).await {
                let _ = tx.send(Msg::Stopped(error));
                return;
            }
            let left = Instant::now();
            let reply = transport.send(batch.body.clone()).await;
            let result = reply.map(|reply| judge(&reply, batch.len()));
            let _ = tx.send(Msg::Finished(Box::new(Finished {
                batch,
                ticket,
                took: left.elapsed(),
                result,
            })));
        });
    }

    fn wake(&mut self, now: Instant) -> Instant {
        let mut wake = self.courier.wake(now);
        if let Some(drain) = &self.drain {
            wake = wake.min(drain.deadline);
            if let Some(grace) = drain.grace {
                wake = wake.min(grace + GRACE);
            }
        }
        wake
    }

    /// Whether the drain is over.
    fn over(&mut self, now: Instant) -> Option<DrainEnd> {
        let drain = self.drain.as_mut()?;
        if now >= drain.deadline {
            return Some(DrainEnd::Deadline);
        }
        let gate_closed = self.courier.gate_closed().is_some();
        if !gate_closed {
            drain.grace = None;
        } else if self.courier.in_flight == 0 || *drain.grace.get_or_insert(now) + GRACE <= now {
            return Some(DrainEnd::GateClosed);
        }
        if self.unsettled > 0 || !self.courier.idle_until(drain.deadline) {
            return None;
        }
        let census = self.queue.census();
        let left = census.queued + census.sending;
        if left == 0 {
            Some(DrainEnd::Empty)
        } else if left == self.courier.hand_events as u64 {
            // What is left waits until after the deadline.
            Some(DrainEnd::Deadline)
        } else {
            None
        }
    }

    /// Abandons what is in flight, whose marks stay, and waits for what is settled to be
    /// durable.
    async fn finish(mut self) {
        let abandoned = self.courier.in_flight;
        self.requests.shutdown().await;
        self.claimer.abort();
        self.carry_out();
        drop(self.settlements);
        if let Err(error) = self.settler.await {
            tracing::error!("the last settlements failed: {error}");
        }
        self.turn.end().await;
        let census = self.queue.census();
        let status = self.courier.status(Instant::now());
        if let (Some(drain), Some(end)) = (self.drain, self.end) {
            let report = DrainReport {
                end,
                delivered: status.delivered - drain.delivered,
                dead: status.dead - drain.dead,
                queued: census.queued + census.sending,
                in_doubt: census.in_doubt + census.sending,
                awaited: drain.awaited,
                abandoned,
                gate: status.gate.clone(),
            };
            let _ = drain.answer.send(report);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

fn judge(reply: &Reply, events: usize) -> (u16, Signals, Judgement) {
    let judgement = classify(reply.status, &reply.signals, &reply.body, events);
    (reply.status, reply.signals, judgement)
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

/// Settlements from here on wait for the next wave.
const WAVE_EVENTS: usize = 4_000;

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
