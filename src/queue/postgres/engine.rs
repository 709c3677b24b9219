//! The engine's calls, and the runtime that its tasks run on.

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::adopt;
use super::claims::Claims;
use super::counts;
use super::deliverer::Deliverer;
use super::delivery::{Delivery, GiveUp};
use super::journal::{between_turns, read_journal};
use super::link::{Link, LinkError, Newest};
use super::options::Options;
use super::place::Place;
use super::reads;
use super::replies::Replies;
use super::schema::{self, Unfit};
use super::session::{PATIENCE, Session};
use super::shared::{Counted, Held, ROOM, Shared, Tries};
use super::tail::Tail;
use super::trouble::Trouble;
use super::turn_ops::TurnOp;
use super::verify;
use super::writer::{self, Arrival, Asked, Done, OPERATOR_WAITS, Writer, WriterOp};
use crate::clock::{Clock, WallTrust};
use crate::queue::block::Block;
use crate::queue::contract::{
    Census, Closed, Disk, Entry, EntryId, Forgotten, Found, IdHasher, Import, Imported,
    LetterFilter, LetterKey, LetterNumber, Loss, OpenError, Origin, Page, PauseRecord, Pending,
    QueueError, Seq, Unsettled, Verdict, WaitingPage, Whose,
};
use crate::queue::lock::lock;

/// What a stop waits for each part.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How long an opening that is given up may go on.
const GIVEN_UP_WITHIN: Duration = Duration::from_millis(100);

/// A queue in a PostgreSQL database. Clones share it.
#[derive(Clone)]
pub struct PostgresEngine(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    writer: mpsc::UnboundedSender<WriterOp>,
    turns: mpsc::UnboundedSender<TurnOp>,
    replies: Arc<Replies>,
    claims: tokio::sync::Mutex<Claims>,
    /// For what operators ask.
    reader: tokio::sync::Mutex<Option<Session>>,
    handle: Handle,
    /// None once it has ended.
    runtime: Mutex<Option<Runtime>>,
    unclean_start: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Waiting here for its tasks would block whoever drops the queue.
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads for an operator, on a connection that is kept for that.
macro_rules! read {
    ($engine:expr, |$shared:ident, $session:ident| $call:expr) => {{
        let engine = $engine.clone();
        $engine
            .on_runtime(async move {
                let $shared = &*engine.0.shared;
                if $shared.is_closing() {
                    return Err($shared.stopped());
                }
                let kept = timeout(OPERATOR_WAITS, engine.0.reader.lock()).await;
                let Ok(mut kept) = kept else {
                    return Err(QueueError::Unavailable(
                        "an answer to another operator is still awaited".into(),
                    ));
                };
                let usable = kept.take().filter(|session| !session.link().is_closed());
                let mut session = match usable {
                    Some(session) => session,
                    None => $shared.connect("operate").await.map_err(unavailable)?,
                };
                let $session = &mut session;
                let read = $call.await;
                // After an error it may have a transaction open.
                if read.is_ok() {
                    *kept = Some(session);
                }
                read.map_err(unavailable)
            })
            .await
    }};
}

fn unavailable(trouble: Trouble) -> QueueError {
    QueueError::Unavailable(trouble.to_string())
}

impl PostgresEngine {
    /// Opens the queue, making its tables if there are none. Waits for a database that is away.
    pub fn open(options: Options, clock: Clock) -> Result<Self, OpenError> {
        let place = Place::parse(&options.place.url, options.place.ca_file.clone())
            .map_err(|error| OpenError::Foreign(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| OpenError::Io(format!("threads for the database: {error}")))?;
        let handle = runtime.handle().clone();
        let is_given_up = options.is_given_up.clone();
        let (opened, open) = std::sync::mpsc::channel();
        let on = handle.clone();
        handle.spawn(async move {
            let inner = start(options, place, clock, on).await;
            // Whoever asked may be gone; then so is the runtime.
            let _ = opened.send(inner);
        });
        let inner = loop {
            match open.recv_timeout(GIVEN_UP_WITHIN) {
                Ok(inner) => break inner,
                Err(RecvTimeoutError::Timeout) if is_given_up() => {
                    break Err(OpenError::GivenUp(
                        "the database was still awaited: nothing was accepted".into(),
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "opening the queue panicked, which is a bug";
                    break Err(OpenError::Io(why.into()));
                }
            }
        };
        match inner {
            Ok(inner) => {
                *lock(&inner.runtime) = Some(runtime);
                Ok(Self(Arc::new(inner)))
            }
            Err(error) => {
                // Dropped, it would block, and whoever opens a queue may be a task itself.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    pub fn trust(&self) -> WallTrust {
        self.0.shared.trust.clone()
    }

    pub fn is_unclean_start(&self) -> bool {
        self.0.unclean_start
    }

    pub fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub fn place(&self) -> String {
        let place = &self.0.shared.options.place;
        format!("{}, schema {}", self.0.shared.place, place.schema)
    }

    pub fn hasher(&self) -> IdHasher {
        self.0.shared.hasher
    }

    /// Runs it where the connections are.
    async fn on_runtime<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        let done = self.0.handle.spawn(task).await;
        done.map_err(|_| self.0.shared.stopped())?
    }

    /// What is told in that time. Whoever asks may have a runtime without one.
    async fn within<T: Send + 'static>(
        &self,
        span: Duration,
        told: oneshot::Receiver<T>,
    ) -> Option<Result<T, oneshot::error::RecvError>> {
        // Made where there is a clock.
        let waited = self
            .0
            .handle
            .spawn(async move { timeout(span, told).await })
            .await;
        waited.ok()?.ok()
    }

    pub async fn enqueue(&self, block: Block) -> Result<Pending, QueueError> {
        let mut is_full = self.0.shared.is_full.subscribe();
        tokio::select! {
            _ = is_full.wait_for(|full| !full) => {}
            () = self.0.shared.closed() => return Err(self.0.shared.stopped()),
        }
        self.hand_over(block).await
    }

    pub async fn enqueue_if_open(&self, block: Block) -> Result<Pending, QueueError> {
        if *self.0.shared.is_full.borrow() {
            return Err(QueueError::Unavailable(Closed::Quota.message().into()));
        }
        self.hand_over(block).await
    }

    async fn hand_over(&self, block: Block) -> Result<Pending, QueueError> {
        let shared = &self.0.shared;
        shared.running()?;
        let bytes = block.packed.len().clamp(1, ROOM) as u32;
        let room = shared.room.clone().acquire_many_owned(bytes);
        let room = tokio::select! {
            room = timeout(PATIENCE, room) => room,
            () = shared.closed() => return Err(shared.stopped()),
        };
        let room = match room {
            Ok(room) => room.map_err(|_| shared.stopped())?,
            Err(_) => {
                let away = lock(&shared.away).clone();
                let why = away.unwrap_or_else(|| "the database does not keep up".into());
                return Err(QueueError::Unavailable(why));
            }
        };
        let (reply, pending) = Pending::later();
        let arrival = Arrival {
            block,
            reply: self.0.replies.add(reply),
            _room: room,
        };
        match self.0.writer.send(WriterOp::Accept(arrival)) {
            Ok(()) => Ok(pending),
            Err(_) => Err(shared.stopped()),
        }
    }

    /// Whoever is asked may be gone; then so is the turn.
    pub fn ask_turn(&self, op: TurnOp) {
        let _ = self.0.turns.send(op);
    }

    async fn asked<T>(
        &self,
        op: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> TurnOp,
    ) -> Result<T, QueueError> {
        let (reply, done) = oneshot::channel();
        self.ask_turn(op(reply));
        done.await.map_err(|_| self.0.shared.stopped())?
    }

    pub async fn claim(
        &self,
        turn: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let engine = self.clone();
        // A claim that nobody waits for any more is made all the same: it stays in hand until the
        // turn is over, as the contract says.
        self.on_runtime(async move {
            let mut claims = engine.0.claims.lock().await;
            claims.claim(turn, max_events, max_bytes).await
        })
        .await
    }

    async fn operate(&self, asked: Asked) -> Result<Done, QueueError> {
        let shared = &self.0.shared;
        if shared.is_closing() {
            return Err(shared.stopped());
        }
        let (reply, done) = oneshot::channel();
        let sent = self.0.writer.send(WriterOp::Asked(asked, reply));
        sent.map_err(|_| shared.stopped())?;
        match self.within(OPERATOR_WAITS * 2, done).await {
            Some(done) => done.map_err(|_| shared.stopped())?,
            None => Err(QueueError::Unavailable(
                "the database has not answered: what was asked may be done all the same".into(),
            )),
        }
    }

    async fn count(&self, asked: Asked) -> Result<u64, QueueError> {
        match self.operate(asked).await? {
            Done::Count(count) => Ok(count),
            _ => Ok(0),
        }
    }

    pub async fn retry(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        self.count(Asked::Retry(letters)).await
    }

    pub async fn purge(&self, letters: Vec<LetterKey>) -> Result<u64, QueueError> {
        self.count(Asked::Purge(letters)).await
    }

    pub async fn take_back(&self, events: &[Import]) -> Result<Vec<Option<Imported>>, QueueError> {
        self.0.shared.running()?;
        match self.operate(Asked::TakeBack(events.to_vec())).await? {
            Done::TakenBack(taken) => Ok(taken),
            _ => Ok(vec![None; events.len()]),
        }
    }

    pub async fn forget(&self, whose: Whose, is_dry_run: bool) -> Result<Forgotten, QueueError> {
        let (theirs, dead) = read!(self, |shared, session| reads::theirs(
            shared, session, whose
        ))?;
        let mut forgotten = match theirs.is_empty() {
            true => Forgotten::default(),
            false => {
                self.asked(|reply| TurnOp::Forget(theirs, is_dry_run, reply))
                    .await?
            }
        };
        forgotten.dead = match is_dry_run {
            true => dead.len() as u64,
            false if dead.is_empty() => 0,
            false => self.count(Asked::ForgetDead(dead)).await?,
        };
        Ok(forgotten)
    }

    pub async fn drop_one(&self, id: EntryId, id_hash: u128) -> Result<Forgotten, QueueError> {
        let chunk = match id.origin() {
            Origin::Dead(_) => None,
            Origin::Line(seq) => {
                let found = read!(self, |shared, session| reads::chunk_of(
                    shared, session, seq
                ))?;
                // Its table went: it was settled.
                let Some(found) = found else {
                    return Ok(Forgotten::default());
                };
                Some(found)
            }
        };
        let theirs = vec![GiveUp { id, id_hash, chunk }];
        self.asked(|reply| TurnOp::Forget(theirs, false, reply))
            .await
    }

    pub async fn oldest(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        read!(self, |shared, session| reads::oldest(
            shared, session, limit
        ))
    }

    pub async fn waiting(&self, after: Seq, limit: usize) -> Result<WaitingPage, QueueError> {
        read!(self, |shared, session| reads::waiting(
            shared, session, after, limit
        ))
    }

    pub async fn find(&self, id_hash: u128) -> Result<Found, QueueError> {
        read!(self, |shared, session| reads::find(
            shared, session, id_hash
        ))
    }

    pub async fn dead_page(
        &self,
        numbers: RangeInclusive<LetterNumber>,
        keep: LetterFilter,
    ) -> Result<Page, QueueError> {
        read!(self, |_shared, session| reads::dead_page(
            session, numbers, keep
        ))
    }

    pub async fn dead_number(&self, id_hash: u128) -> Result<Option<LetterNumber>, QueueError> {
        read!(self, |_shared, session| reads::dead_number(
            session, id_hash
        ))
    }

    pub async fn undelivered_letters(&self) -> Result<Option<LetterNumber>, QueueError> {
        let shared = &self.0.shared;
        if shared.is_closing() {
            return Err(shared.stopped());
        }
        if shared.held.borrow().is_held {
            return Ok(lock(&shared.delivery).account.undelivered_letters());
        }
        read!(self, |shared, session| async {
            let catalog = shared.refresh(session).await?;
            let account = read_journal(session, catalog.line_now()).await?;
            Ok(account.undelivered_letters())
        })
    }

    pub async fn keep_dead(&self) -> Result<(), QueueError> {
        self.asked(TurnOp::KeepDead).await
    }

    pub async fn pause_record(&self) -> Result<Option<PauseRecord>, QueueError> {
        read!(self, |_shared, session| async {
            let rows = session.query("SELECT record FROM @.pause", &[]).await?;
            let record = rows.first().map(|row| serde_json::from_str(row.get(0)));
            record.transpose().map_err(|error: serde_json::Error| {
                Trouble::Refused(format!("the stored pause cannot be read: {error}"))
            })
        })
    }

    pub async fn set_pause_record(&self, record: Option<PauseRecord>) -> Result<(), QueueError> {
        let set = self.operate(Asked::Pause(record)).await;
        set.map(|_| ())
    }

    pub async fn acknowledge_losses(&self) -> Result<Vec<Loss>, QueueError> {
        let losses = match self.operate(Asked::Acknowledge).await? {
            Done::Acknowledged(losses) => losses,
            _ => Vec::new(),
        };
        lock(&self.0.shared.losses).clear();
        Ok(losses)
    }

    pub fn losses(&self) -> Vec<Loss> {
        lock(&self.0.shared.losses).clone()
    }

    pub fn census(&self) -> Census {
        self.0.shared.census()
    }

    pub fn disk(&self) -> Disk {
        let shared = &self.0.shared;
        let mut disk = *lock(&shared.disk);
        if shared.is_closing() {
            disk.closed = Some(Closed::Stopped);
        } else if disk.closed.is_none() && *shared.is_full.borrow() {
            disk.closed = Some(Closed::Quota);
        }
        disk
    }

    /// Says nothing of the database: only that this process runs its tasks.
    pub async fn heartbeat(&self) -> Result<(), QueueError> {
        let shared = &self.0.shared;
        if shared.is_closing() {
            return Err(shared.stopped());
        }
        if self.0.writer.is_closed() || self.0.turns.is_closed() {
            return Err(QueueError::Stopped(
                "a part of it has ended, which is a bug".into(),
            ));
        }
        self.on_runtime(async { Ok(()) }).await
    }

    pub async fn verify(&self) -> Result<Verdict, QueueError> {
        read!(self, |_shared, session| verify::walk(session))
    }

    /// Resolves when everything that was sent before is done.
    #[cfg(test)]
    pub async fn barrier(&self) -> Result<(), QueueError> {
        let (reply, done) = oneshot::channel();
        self.ask_turn(TurnOp::Behind(reply));
        done.await.map_err(|_| self.0.shared.stopped())?;
        let (reply, done) = oneshot::channel();
        let _ = self.0.writer.send(WriterOp::Behind(reply));
        done.await.map_err(|_| self.0.shared.stopped())
    }

    pub async fn close(&self) -> Result<(), QueueError> {
        let shared = &self.0.shared;
        shared.closing.send_replace(true);
        let (reply, turns) = oneshot::channel();
        self.ask_turn(TurnOp::Close(reply));
        // Gone already, where it is closed twice. A database that does not answer is not waited for:
        // what it has acknowledged is safe there, and nothing else was promised.
        self.within(CLOSE_WITHIN, turns).await;
        let (reply, writer) = oneshot::channel();
        let _ = self.0.writer.send(WriterOp::Close(reply));
        self.within(CLOSE_WITHIN, writer).await;
        let _ = shared.stopped.set("it was closed".into());
        shared.claimable.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
impl PostgresEngine {
    /// What kill -9 does to this life: its connections are hung up, and nothing more is written.
    pub fn kill(&self) {
        if let Some(runtime) = lock(&self.0.runtime).take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// The clock is believed.
    pub fn confirmed(self) -> Self {
        self.0.shared.trust.vouch();
        self
    }

    /// What is due by the clock is done.
    pub async fn tick(&self) {
        let (reply, done) = oneshot::channel();
        self.ask_turn(TurnOp::Tick(reply));
        let _ = done.await;
    }

    pub async fn rest(&self) {
        for _ in 0..3 {
            self.tick().await;
            let verdict = self.verify().await.unwrap();
            assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
        }
    }

    /// Whether this messageId is remembered.
    pub async fn remembers(&self, message_id: &str) -> bool {
        let id = self.hasher().hash(message_id);
        let found = read!(self, |shared, session| async {
            let catalog = shared.refresh(session).await?;
            let known = super::writer::known_ids(session, &catalog, &[id]).await?;
            Ok(known.contains(&id))
        });
        found.unwrap()
    }
}

/// Connects, however long that takes, and starts the tasks.
async fn start(
    options: Options,
    place: Place,
    clock: Clock,
    handle: Handle,
) -> Result<Inner, OpenError> {
    let newest = Newest::default();
    let mut tries = Tries::default();
    let mut has_waited = false;
    let began = loop {
        let why = match begin(&options, &place, &newest, &clock).await {
            Ok(began) => break began,
            Err(Unfit::Open(error)) => return Err(error),
            Err(Unfit::Trouble(trouble)) if trouble.is_lasting() => {
                let schema = &options.place.schema;
                return Err(OpenError::Foreign(format!(
                    "schema {schema} at {place}: {trouble}; `pinrelay check` says what its role \
                     lacks, and docs/postgres.md what to grant"
                )));
            }
            Err(Unfit::Trouble(trouble)) => trouble.to_string(),
        };
        (options.on_progress)(&format!("waits for the database: {why}"));
        if !std::mem::replace(&mut has_waited, true) {
            tracing::warn!(
                "the database is away ({why}): it is awaited, and until it is back nothing is \
                 accepted and nothing delivered"
            );
        }
        tokio::time::sleep(tries.next()).await;
    };
    let Began {
        session,
        identity,
        catalog,
        writer,
        counted,
        losses,
        unclean_start,
    } = began;
    if has_waited {
        tracing::info!("the database is back");
    }
    let shared = Arc::new(Shared {
        place,
        newest,
        trust: WallTrust::of_new(clock.clone()),
        clock,
        hasher: identity.hasher,
        catalog: Mutex::new(Arc::new(catalog)),
        counted: Mutex::new(counted),
        delivery: Mutex::new(Delivery::default()),
        tail: Mutex::new(Tail::of(writer)),
        losses: Mutex::new(losses),
        disk: Mutex::new(Disk {
            quota: options.max_bytes,
            dead_quota: options.dead_max_bytes,
            ..Disk::unknown()
        }),
        away: Mutex::new(None),
        went_back: watch::channel(false).0,
        adoptions: AtomicI64::new(identity.adoptions),
        room: Arc::new(Semaphore::new(ROOM)),
        is_full: watch::channel(false).0,
        held: watch::channel(Held::default()).0,
        claimable: Notify::new(),
        closing: watch::channel(false).0,
        stopped: OnceLock::new(),
        options,
    });
    let replies = Arc::new(Replies::default());
    let (writer_ops, ops) = mpsc::unbounded_channel();
    let (turn_ops, turns) = mpsc::unbounded_channel();
    handle.spawn(Writer::new(shared.clone(), ops, replies.clone(), session, writer).run());
    handle.spawn(Deliverer::new(shared.clone(), turns, writer_ops.clone()).run());
    handle.spawn(replies.clone().watch());
    Ok(Inner {
        claims: tokio::sync::Mutex::new(Claims::new(shared.clone(), turn_ops.clone())),
        shared,
        writer: writer_ops,
        turns: turn_ops,
        replies,
        reader: tokio::sync::Mutex::new(None),
        handle,
        runtime: Mutex::new(None),
        unclean_start,
    })
}

struct Began {
    session: Session,
    identity: schema::Identity,
    catalog: super::catalog::Catalog,
    writer: u32,
    counted: Counted,
    losses: Vec<Loss>,
    unclean_start: bool,
}

/// One try to begin as a new writer.
async fn begin(
    options: &Options,
    place: &Place,
    newest: &Newest,
    clock: &Clock,
) -> Result<Began, Unfit> {
    let link = Link::open(place, "accept", newest)
        .await
        .map_err(|error| match error {
            LinkError::Config(_) => Unfit::Open(error.of_open()),
            LinkError::Away(why) => Unfit::Trouble(Trouble::Broken(why)),
        })?;
    let mut session = Session::new(link, &options.place.schema, options.place.durability);
    if let Some(lacking) = session.lacking().await? {
        return Err(Unfit::Open(OpenError::Foreign(lacking)));
    }
    let rows = session
        .query("SELECT current_setting('server_encoding')", &[])
        .await?;
    let encoding: &str = rows[0].get(0);
    if encoding != "UTF8" {
        return Err(Unfit::Open(OpenError::Foreign(format!(
            "{place}: the database has the encoding {encoding}, which lacks letters that events \
             have: make one with ENCODING 'UTF8'"
        ))));
    }
    if options.adopt {
        schema::check(&mut session, &options.place)
            .await
            .map_err(Unfit::Open)?;
    }
    let key = uuid::Uuid::new_v4().into_bytes();
    let mut identity = schema::ready(&mut session, &options.place, key, clock.now()).await?;
    if options.adopt {
        identity.adoptions = adopt::adopt(&mut session, options, clock.now()).await?;
    }
    let catalog = super::catalog::Catalog::read(&mut session, &Default::default()).await?;
    let (writer, unclean_start) = writer::register(&mut session, &catalog).await?;
    let others = counts::others(&mut session, &catalog, writer).await?;
    let account = between_turns(&mut session, catalog.line_now()).await?;
    let rows = session
        .query("SELECT loss FROM @.losses ORDER BY number", &[])
        .await?;
    let losses = rows
        .iter()
        .filter_map(|row| serde_json::from_str(row.get(0)).ok());
    Ok(Began {
        losses: losses.collect(),
        counted: Counted {
            others,
            turns: account.totals,
            in_doubt: account.in_doubt(),
            ..Counted::default()
        },
        session,
        identity,
        catalog,
        writer,
        unclean_start,
    })
}
