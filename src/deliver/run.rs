//! The loop: stands by until the turn is its own, then waits for what happens, lets the courier
//! decide, and has it carried out.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::courier::Courier;
use super::destination::Transport;
use super::item::Prepare;
use super::messages::{Command, Msg};
use super::recall::{count, recall_and_tell};
use super::status::{DrainEnd, DrainReport, Status};
use super::work::Work;
use crate::queue::{Queue, QueueError, Turn};

/// While draining before a gate that is not open, answers to what is in flight are awaited so
/// long: each that comes spares a resend.
const GRACE: Duration = Duration::from_secs(2);
/// Messages handled before the next look at what may leave.
const AT_ONCE: usize = 64;

struct Drain {
    deadline: Instant,
    answer: oneshot::Sender<DrainReport>,
    /// As it stood when the drain began.
    before: Status,
    /// Since the gate was found closed.
    grace: Option<Instant>,
}

pub(super) struct Run<T> {
    courier: Courier,
    queue: Queue,
    transport: Arc<T>,
    prepare: Prepare,
    commands: mpsc::UnboundedReceiver<Command>,
    last: Arc<Mutex<Status>>,
    drain: Option<Drain>,
    end: Option<DrainEnd>,
    /// Requests that the drain did not wait for.
    abandoned: usize,
}

impl<T: Transport> Run<T> {
    pub fn new(
        courier: Courier,
        queue: Queue,
        transport: T,
        prepare: Prepare,
        commands: mpsc::UnboundedReceiver<Command>,
        last: Arc<Mutex<Status>>,
    ) -> Self {
        Self {
            courier,
            queue,
            transport: Arc::new(transport),
            prepare,
            commands,
            last,
            drain: None,
            end: None,
            abandoned: 0,
        }
    }

    /// Runs until a drain ends it, the queue stops, or the handle is gone. Delivers in each turn
    /// that it is given, and stands by between two.
    pub async fn run(mut self) {
        while self.end.is_none() {
            if let Some(turn) = self.stand_by().await {
                self.courier.turn_begins(Instant::now());
                self.deliver(turn).await;
            }
        }
        self.report();
    }

    /// Waits for the turn, and does meanwhile what is asked for.
    async fn stand_by(&mut self) -> Option<Turn> {
        self.courier.stand_by(Instant::now());
        let queue = self.queue.clone();
        let turn = queue.turn();
        tokio::pin!(turn);
        while self.end.is_none() {
            tokio::select! {
                biased;
                turn = &mut turn => match turn {
                    Ok(turn) => return Some(turn),
                    Err(error) => self.stopped(&error),
                },
                // Nothing is in hand, and the turn is not to be had: somebody else delivers.
                () = ready(()), if self.drain.is_some() => self.end = Some(DrainEnd::HandedOver),
                command = self.commands.recv() => self.on_command(Instant::now(), command),
            }
        }
        None
    }

    /// Delivers for as long as the turn is its own.
    async fn deliver(&mut self, turn: Turn) {
        let mut work = Work::new(turn, self.transport.clone());
        self.remember().await;
        let mut is_lost = false;
        while !is_lost && self.end.is_none() {
            let now = Instant::now();
            self.step(now, &mut work);
            self.end = self.end.or_else(|| self.over(now, &work));
            if self.end.is_some() {
                break;
            }
            let wake = self.wake(now);
            tokio::select! {
                // In this order, not at random: a simulated run replays. None starves another,
                // for commands are few and what is due is looked at in every step.
                biased;
                command = self.commands.recv() => {
                    self.on_command(Instant::now(), command);
                }
                msg = work.message() => {
                    let mut next = msg;
                    for _ in 0..AT_ONCE {
                        let Some(msg) = next else { break };
                        is_lost |= self.on_message(Instant::now(), msg, &mut work);
                        next = work.message_now();
                    }
                    if let Some(msg) = next {
                        is_lost |= self.on_message(Instant::now(), msg, &mut work);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        work.abandon_requests().await;
        if !is_lost {
            // Answers that have come are known: without them their events would be sent again.
            while let Some(msg) = work.message_now() {
                if let Msg::Finished(finished) = msg {
                    self.courier.finished(Instant::now(), *finished);
                }
            }
        }
        if self.drain.is_some() {
            self.abandoned += self.courier.in_flight();
        }
        work.end(self.courier.take_outbox(), &self.prepare).await;
    }

    /// Before anything is claimed: what died of refusals in the turns before counts. It may be
    /// long, so it is left where it is when delivery is to end; whoever is next begins anew.
    async fn remember(&mut self) {
        let destination = self.courier.destination();
        let queue = self.queue.clone();
        let (prepare, counted) = loop {
            let prepare = self.prepare.clone();
            let counted = self.hearing(count(&queue, &prepare, destination)).await;
            // Under another config they are counted anew.
            if counted.is_none() || Arc::ptr_eq(&prepare, &self.prepare) {
                break (prepare, counted);
            }
        };
        match counted {
            Some(Ok(alike)) => {
                for message in self.courier.remember(alike) {
                    let recalled = recall_and_tell(&queue, &prepare, &message);
                    if self.hearing(recalled).await.is_none() {
                        return;
                    }
                }
            }
            // Whoever uses the queue next is told.
            None | Some(Err(QueueError::Stopped(_))) => {}
            Some(Err(error)) => tracing::error!(
                "the dead letters of before cannot be read: {error}; refusals are counted from now \
                 on"
            ),
        }
    }

    /// Awaits something, and does meanwhile what is asked for; `None`: delivery is to end.
    async fn hearing<R>(&mut self, what: impl Future<Output = R>) -> Option<R> {
        tokio::pin!(what);
        while self.end.is_none() {
            let deadline = self.drain.as_ref().map(|drain| drain.deadline);
            tokio::select! {
                biased;
                result = &mut what => return Some(result),
                command = self.commands.recv() => self.on_command(Instant::now(), command),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.end = Some(DrainEnd::Deadline);
                }
            }
        }
        None
    }

    fn step(&mut self, now: Instant, work: &mut Work<T>) {
        if let Some(what) = work.broken_request() {
            self.broken(what);
        }
        if self.courier.sweep(now) {
            work.ask_for_word();
        }
        work.carry_out(self.courier.take_outbox(), &self.prepare);
        self.courier.look(now);
        while let Some((batch, ticket, left)) = self.courier.next(now) {
            work.send(batch, ticket, left, self.courier.destination());
        }
        work.carry_out(self.courier.take_outbox(), &self.prepare);
        work.recall(&self.queue, &self.prepare);
        if !self.hands_over() {
            work.claim(|| self.courier.claim_budget());
        }
    }

    /// Whether the turn was lost.
    fn on_message(&mut self, now: Instant, msg: Msg, work: &mut Work<T>) -> bool {
        let mut is_lost = false;
        match msg {
            Msg::Claimed(entries) => self.courier.claimed(now, entries),
            Msg::Prepared(done) => self.courier.prepared(now, done),
            Msg::Finished(finished) => self.courier.finished(now, *finished),
            Msg::Unsent(unsent) => self.courier.unsent(now, *unsent),
            Msg::Settled(_) => {}
            Msg::Stopped(QueueError::TurnOver) => is_lost = true,
            Msg::Stopped(error) => self.stopped(&error),
            Msg::Broken(what) => self.broken(what),
        }
        // In order: a mark that goes must have gone before the next one is laid.
        work.carry_out(self.courier.take_outbox(), &self.prepare);
        is_lost
    }

    fn stopped(&mut self, error: &QueueError) {
        if self.end.is_none() {
            tracing::error!("delivery stops: {error}");
            self.courier.stop(error.to_string());
            self.end = Some(DrainEnd::QueueStopped);
        }
    }

    fn broken(&mut self, what: String) {
        tracing::error!("delivery stops, a bug: {what}; restart pinrelay, nothing is lost");
        self.courier.stop(what);
        self.end = Some(DrainEnd::QueueStopped);
    }

    /// `None`: the handle is gone.
    fn on_command(&mut self, now: Instant, command: Option<Command>) {
        match command {
            Some(Command::Reload(prepare, limits)) => {
                self.prepare = prepare;
                let transport = self.transport.clone();
                tokio::spawn(async move { transport.renew().await });
                self.courier.reload(now, limits);
            }
            Some(Command::TokenChanged) => self.courier.token_changed(now),
            Some(Command::Pause(pause)) => self.courier.pause(Some(pause)),
            Some(Command::PauseOver) => self.courier.pause(None),
            Some(Command::Resume { isolate }) => self.courier.resume(now, isolate),
            Some(Command::Held(ids, answer)) => {
                let _ = answer.send(self.courier.held(now, &ids));
            }
            Some(Command::TryAtOnce(id, answer)) => {
                let _ = answer.send(self.courier.try_at_once(now, id));
            }
            Some(Command::Status(answer)) => {
                let _ = answer.send(self.courier.status(now));
            }
            Some(Command::Drain(deadline, answer)) => {
                self.courier.flush();
                let before = self.courier.status(now);
                self.drain = Some(Drain {
                    deadline,
                    answer,
                    before,
                    grace: None,
                });
            }
            Some(Command::Abandon) | None => self.end = Some(DrainEnd::Abandoned),
        }
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

    /// Whether what is not in hand is left to another daemon.
    fn hands_over(&self) -> bool {
        self.drain.is_some() && self.queue.is_turn_awaited()
    }

    /// Whether the drain is over: nothing is in hand, and the line is empty or somebody else is
    /// there to go on; or it is not to be waited any longer.
    fn over(&mut self, now: Instant, work: &Work<T>) -> Option<DrainEnd> {
        let hands_over = self.hands_over();
        let drain = self.drain.as_mut()?;
        if now >= drain.deadline {
            return Some(DrainEnd::Deadline);
        }
        if !self.courier.is_closed_until(now, drain.deadline) {
            drain.grace = None;
        } else if self.courier.in_flight() == 0 || *drain.grace.get_or_insert(now) + GRACE <= now {
            return Some(DrainEnd::GateClosed);
        }
        if work.is_settling() || !self.courier.idle_until(drain.deadline) {
            return None;
        }
        let census = self.queue.census();
        let left = census.queued + census.sending;
        if left == 0 {
            Some(DrainEnd::Empty)
        } else if hands_over && self.courier.in_hand() == 0 {
            Some(DrainEnd::HandedOver)
        } else if hands_over || left == self.courier.in_hand() as u64 {
            // What is left in hand waits until after the deadline, and nothing else is claimed.
            Some(DrainEnd::Deadline)
        } else {
            None
        }
    }

    /// Tells how it ended.
    fn report(mut self) {
        let census = self.queue.census();
        let status = self.courier.status(Instant::now());
        if let (Some(drain), Some(end)) = (self.drain, self.end) {
            // Where another goes on, what is being sent is being sent by it.
            let sending = match end {
                DrainEnd::HandedOver => 0,
                _ => census.sending,
            };
            let report = DrainReport {
                end,
                delivered: status.delivered - drain.before.delivered,
                dead: status.dead - drain.before.dead,
                queued: census.queued + census.sending,
                in_doubt: census.in_doubt + sending,
                awaited: drain.before.in_flight,
                abandoned: self.abandoned,
                gate: status.gate.clone(),
            };
            let _ = drain.answer.send(report);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
