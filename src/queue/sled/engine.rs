//! What the queue asks of this engine, call by call.
//!
//! A call sends an operation to the committer and awaits its answer, or reads beside it on a
//! blocking thread. Nothing is decided here.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::clock::{Clock, Millis, WallTrust};
use crate::queue::block::Block;
use crate::queue::contract::{
    Census, Closed, Disk, Entry, EntryId, Found, IdHasher, Import, Imported, Letter, LetterFilter,
    LetterKey, LetterNumber, Loss, Mark, OpenError, Page, PauseRecord, Pending, QueueError, Seq,
    Settlement, Verdict, WaitingPage,
};
use crate::queue::lock::lock;
use crate::queue::sled::account::pause;
use crate::queue::sled::disk::StoreError;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::options::Options;
use crate::queue::sled::read::{claim, dead_page, find, waiting};
use crate::queue::sled::runtime::{
    Arrival, CommitterOp, OpenState, OperatorOp, Pressure, ROOM_BYTES, Right, Shared, Turns,
};
use crate::queue::sled::start;

/// Letters of one operation: others get their turn between two.
pub const LETTERS: usize = 512;
/// Events that one operation takes back: each may take a number out of the midst of a range.
const IMPORTS: usize = 100;

/// The open engine. Clones share it.
#[derive(Clone)]
pub struct SledEngine {
    shared: Arc<Shared>,
    turns: Arc<Turns>,
}

impl SledEngine {
    /// Opens the queue, making it if the folder holds none. Blocks: recovery reads the ids of
    /// the unsealed generations.
    ///
    /// # Errors
    /// [`OpenError`] says which exit code it calls for.
    pub fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        Ok(Self {
            shared: start::open(options, clock)?,
            turns: Arc::default(),
        })
    }

    /// Whether whoever had the folder before did not close it: it was killed, or the power went.
    pub fn is_unclean_start(&self) -> bool {
        self.shared.unclean
    }

    /// Whether the wall clock is believed, judged from the last start's on.
    pub fn trust(&self) -> WallTrust {
        self.shared.trust.clone()
    }

    /// With a clock that a `Date` has agreed with, if the queue is new.
    #[cfg(test)]
    pub fn confirmed(self) -> Self {
        let trust = self.trust();
        if trust.standing().doubt == Some(crate::clock::Doubt::Unconfirmed) {
            trust.observe_date(self.shared.clock.now());
        }
        self
    }

    pub fn place(&self) -> String {
        self.shared.options.path.display().to_string()
    }

    pub fn hasher(&self) -> IdHasher {
        self.shared.hasher
    }

    fn stopped(&self) -> QueueError {
        let why = self.shared.stopped.get();
        QueueError::Stopped(why.cloned().unwrap_or_else(|| "it is closed".into()))
    }

    fn send(&self, op: CommitterOp) -> Result<(), QueueError> {
        self.shared.ops.send(op).map_err(|_| self.stopped())
    }

    pub async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        self.enter(block, true).await
    }

    pub async fn enqueue_if_open(&self, block: Block) -> Result<Pending, QueueError> {
        self.enter(block, false).await
    }

    async fn enter(&self, block: Block, waits: bool) -> Result<Pending, QueueError> {
        let mut pressure = self.shared.pressure.subscribe();
        loop {
            if self.shared.stopped.get().is_some() {
                return Err(self.stopped());
            }
            match &*pressure.borrow_and_update() {
                Pressure::None => break,
                Pressure::Reserve(why) => return Err(QueueError::Unavailable(why.clone())),
                Pressure::Quota if waits => {}
                Pressure::Quota => {
                    let why = Closed::Quota.message();
                    return Err(QueueError::Unavailable(why.to_owned()));
                }
            }
            tokio::select! {
                changed = pressure.changed() => changed.map_err(|_| self.stopped())?,
                () = self.shared.ops.closed() => return Err(self.stopped()),
            }
        }
        let bytes = block.packed.len().clamp(1, ROOM_BYTES) as u32;
        let room = self.shared.room.clone().acquire_many_owned(bytes).await;
        let room = room.map_err(|_| self.stopped())?;
        let (reply, receipts) = oneshot::channel();
        self.send(CommitterOp::Enqueue(Arrival { block, reply, room }))?;
        Ok(Pending(receipts))
    }

    /// The right to deliver, when nobody has it.
    pub async fn begin_turn(&self) -> Result<Right, QueueError> {
        let right = tokio::select! {
            right = self.turns.take() => right.ok_or_else(|| self.stopped())?,
            () = self.shared.ops.closed() => return Err(self.stopped()),
        };
        if self.shared.stopped.get().is_some() || self.shared.ops.is_closed() {
            return Err(self.stopped());
        }
        if !self.turns.is_first() {
            self.ask(CommitterOp::BeginTurn).await?;
        }
        Ok(right)
    }

    /// One process has the folder, and nobody else is there to go on.
    pub fn is_turn_awaited(&self) -> bool {
        false
    }

    /// `right`: held until the claim is made, also where nobody waits for it any more.
    pub async fn claim(
        &self,
        events: usize,
        bytes: usize,
        right: Right,
    ) -> Result<Vec<Entry>, QueueError> {
        loop {
            let waiting = self.shared.claimable.notified();
            if self.shared.stopped.get().is_some() || self.shared.ops.is_closed() {
                return Err(self.stopped());
            }
            let (shared, right) = (self.shared.clone(), right.clone());
            let taken = tokio::task::spawn_blocking(move || {
                let _right = right;
                claim::take(&shared, events, bytes)
            });
            match taken.await {
                Ok(Ok(entries)) if entries.is_empty() => {}
                Ok(Ok(entries)) => return Ok(entries),
                Ok(Err(error)) => {
                    self.shared.fail(&error.to_string());
                    return Err(self.stopped());
                }
                Err(ended) => {
                    if ended.is_panic() {
                        self.shared.fail("claiming panicked, which is a bug");
                    }
                    return Err(self.stopped());
                }
            }
            tokio::select! {
                () = waiting => {}
                () = self.shared.ops.closed() => {}
            }
        }
    }

    pub async fn mark(&self, mark: Mark) -> Result<Vec<EntryId>, QueueError> {
        self.ask(|reply| CommitterOp::Mark(mark, reply)).await
    }

    pub fn doubt(&self, ids: &[EntryId]) {
        // A stopped queue keeps the marks, which is what doubt asks for.
        let _ = self.send(CommitterOp::Doubt(ids.to_vec()));
    }

    pub fn release(&self, ids: &[EntryId]) {
        // A stopped queue keeps the marks: the events are resent under the same names.
        let _ = self.send(CommitterOp::Release(ids.to_vec()));
    }

    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        self.ask(|reply| CommitterOp::Settle(settlements, reply))
            .await
    }

    pub fn census(&self) -> Census {
        let mut census = *lock(&self.shared.census);
        let oldest =
            lock(&self.shared.tail).oldest(Seq(self.shared.low_water.load(Ordering::Acquire)));
        census.oldest_accepted_at = oldest;
        census
    }

    pub fn losses(&self) -> Vec<Loss> {
        lock(&self.shared.losses).clone()
    }

    pub async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        self.operator(OperatorOp::Acknowledge).await
    }

    pub fn disk(&self) -> Disk {
        let disk = *lock(&self.shared.disk);
        let closed = match &*self.shared.pressure.borrow() {
            _ if self.shared.stopped.get().is_some() => Some(Closed::Stopped),
            Pressure::None => None,
            Pressure::Quota => Some(Closed::Quota),
            Pressure::Reserve(_) if disk.lacks_files() => Some(Closed::Inodes),
            Pressure::Reserve(_) => Some(Closed::Reserve),
        };
        Disk { closed, ..disk }
    }

    /// What the threads share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Has the committer do what is due by the clock, without waiting for the next look.
    #[cfg(test)]
    pub fn tick(&self) {
        self.send(CommitterOp::Tick).unwrap();
    }

    pub async fn heartbeat(&self) -> Result<(), QueueError> {
        self.ask(CommitterOp::Heartbeat).await
    }

    pub async fn verify(&self) -> Result<Verdict, QueueError> {
        self.ask(CommitterOp::Verify).await
    }

    /// Settles events of the line as set aside, which a repair has found unreadable.
    pub fn set_aside(
        &self,
        generation: Option<Generation>,
        first: Seq,
        last: Seq,
    ) -> Result<(), QueueError> {
        self.send(CommitterOp::SetAside {
            generation,
            first,
            last,
        })
    }

    /// [`SledEngine::close`] where there is no runtime.
    pub fn close_blocking(&self) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(CommitterOp::Close(reply))?;
        done.blocking_recv().map_err(|_| self.stopped())
    }

    pub async fn close(&self) -> Result<(), QueueError> {
        self.ask(CommitterOp::Close).await
    }

    /// Asks the committer, and awaits its answer.
    pub async fn ask<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<T>) -> CommitterOp,
    ) -> Result<T, QueueError> {
        let (reply, done) = oneshot::channel();
        self.send(op(reply))?;
        done.await.map_err(|_| self.stopped())
    }

    pub async fn operator<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<T>) -> OperatorOp,
    ) -> Result<T, QueueError> {
        self.ask(|reply| CommitterOp::Operator(op(reply))).await
    }

    pub async fn dead_page(
        &self,
        numbers: RangeInclusive<LetterNumber>,
        keep: LetterFilter,
    ) -> Result<Page, QueueError> {
        let dead = self.operator(|reply| OperatorOp::Dead(numbers, reply));
        let Some(stretch) = dead.await? else {
            return Ok(Page::default());
        };
        let shared = self.shared.clone();
        let read = move || dead_page::read(&shared, &stretch, &keep);
        let read = tokio::task::spawn_blocking(read).await;
        let unreadable = |why: String| QueueError::Unavailable(format!("dead letters: {why}"));
        match read {
            Ok(page) => page.map_err(|error| unreadable(error.to_string())),
            Err(_) => Err(unreadable("reading them panicked, which is a bug".into())),
        }
    }

    pub async fn dead_number(&self, id_hash: u128) -> Result<Option<LetterNumber>, QueueError> {
        let known = lock(&self.shared.dead).lookup(id_hash);
        Ok(known.map(|known| known.number))
    }

    pub async fn undelivered_letters(&self) -> Result<Option<LetterNumber>, QueueError> {
        self.operator(OperatorOp::UndeliveredLetters).await
    }

    pub async fn keep_dead(&self) -> Result<(), QueueError> {
        self.operator(OperatorOp::KeepDead).await
    }

    pub async fn retry(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        let mut retried = 0;
        for letters in letters.chunks(LETTERS) {
            let letters = letters.to_vec();
            retried += self.operator(|r| OperatorOp::Retry(letters, r)).await?;
        }
        Ok(retried)
    }

    pub async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        let mut purged = 0;
        for letters in letters.chunks(LETTERS) {
            let letters = letters.to_vec();
            purged += self.operator(|r| OperatorOp::Purge(letters, r)).await?;
        }
        Ok(purged)
    }

    pub async fn take_back(&self, events: &[Import]) -> Result<Vec<Option<Imported>>, QueueError> {
        let mut answers = Vec::with_capacity(events.len());
        for events in events.chunks(IMPORTS) {
            if let Pressure::Reserve(why) = &*self.shared.pressure.borrow() {
                return Err(QueueError::Unavailable(why.clone()));
            }
            let events = events.to_vec();
            answers.extend(self.operator(|r| OperatorOp::TakeBack(events, r)).await?);
        }
        Ok(answers)
    }

    pub async fn find(&self, id_hash: u128) -> Result<Found, QueueError> {
        let look = self
            .operator(|reply| OperatorOp::Look(id_hash, reply))
            .await?;
        if let Some((period, number)) = look.dead {
            let letter = self
                .beside(move |shared| find::letter(&shared, period, number))
                .await?;
            // Earlier releases accepted an id again while its letter was still there. Then the
            // newer event counts, not the letter.
            let after = look.known.and_then(|known| known.after);
            let is_last = |letter: &Letter| after.is_none_or(|after| after <= letter.died_at);
            if let Some(letter) = letter.filter(is_last) {
                return Ok(Found::Dead(letter));
            }
        }
        if let Some(number) = look.purged {
            return Ok(Found::Purged { number });
        }
        let known = look.known;
        if let Some(known) = known {
            let line = self
                .beside(move |shared| find::line(&shared, &known, id_hash))
                .await?;
            if let Some((seq, accepted_at)) = line {
                let id = EntryId::line(seq);
                if let Some(found) = self.if_open(id, accepted_at).await? {
                    return Ok(found);
                }
            }
        }
        let among = look.deferred;
        let deferred = self
            .beside(move |shared| find::deferred(&shared, among, id_hash))
            .await?;
        if let Some((number, accepted_at)) = deferred {
            let id = EntryId::dead(number);
            if let Some(found) = self.if_open(id, accepted_at).await? {
                return Ok(found);
            }
        }
        Ok(match (known, look.delivered_at) {
            (Some(known), _) => Found::Settled {
                accepted_after: known.after,
                accepted_by: known.by,
            },
            (None, Some(delivered_at)) => Found::Settled {
                accepted_after: None,
                accepted_by: Some(delivered_at),
            },
            (None, None) => Found::Unknown,
        })
    }

    /// The event as one that waits, if it does.
    async fn if_open(&self, id: EntryId, accepted_at: Millis) -> Result<Option<Found>, QueueError> {
        let states = self.open_states(vec![id]).await?;
        Ok(states.into_iter().next().and_then(|state| match state {
            OpenState::Settled => None,
            OpenState::Open(sent) => Some(Found::Queued {
                id,
                accepted_at,
                sent,
            }),
        }))
    }

    /// Whether each of these is open, in their order.
    pub async fn open_states(&self, ids: Vec<EntryId>) -> Result<Vec<OpenState>, QueueError> {
        self.operator(|reply| OperatorOp::States(ids, reply)).await
    }

    /// Whether this messageId is remembered, apart from any letter of it.
    #[cfg(test)]
    pub async fn remembers(&self, message_id: &str) -> bool {
        let id_hash = self.shared.hasher.hash(message_id);
        let look = self
            .operator(|reply| OperatorOp::Look(id_hash, reply))
            .await
            .unwrap();
        look.known.is_some() || look.delivered_at.is_some()
    }

    /// Reads beside the committer.
    pub async fn beside<T: Send + 'static>(
        &self,
        read: impl FnOnce(Arc<Shared>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || read(shared)).await {
            Ok(read) => read.map_err(|error| QueueError::Unavailable(error.to_string())),
            Err(_) => Err(QueueError::Unavailable("reading panicked: a bug".into())),
        }
    }

    pub async fn pause_record(&self) -> Result<Option<PauseRecord>, QueueError> {
        self.with_folder(pause::load).await
    }

    pub async fn set_pause_record(&self, record: Option<PauseRecord>) -> Result<(), QueueError> {
        self.with_folder(move |root| pause::keep(root, record.as_ref()))
            .await
    }

    /// The folder may be slow to answer.
    async fn with_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
    ) -> Result<T, QueueError> {
        let root = self.shared.options.path.clone();
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(done) => done.map_err(QueueError::Unavailable),
            Err(_) => Err(QueueError::Unavailable(
                "the pause: a panic, which is a bug".into(),
            )),
        }
    }

    /// See [`Queue::waiting`](crate::queue::Queue::waiting).
    pub async fn waiting(&self, after: Seq, limit: usize) -> Result<WaitingPage, QueueError> {
        self.beside(move |shared| waiting::page(&shared, after, limit))
            .await
    }
}
