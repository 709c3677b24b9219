//! What the tasks of one engine share.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff as _;
use backoff::exponential::ExponentialBackoff;
use tokio::sync::{Notify, Semaphore, watch};

use super::catalog::Catalog;
use super::delivery::Delivery;
use super::link::{Link, LinkError, Newest};
use super::options::Options;
use super::place::Place;
use super::session::Session;
use super::tail::Tail;
use super::totals::Totals;
use super::trouble::Trouble;
use crate::clock::{Clock, WallTrust};
use crate::queue::contract::{Census, Closed, Disk, IdHasher, Loss, QueueError};
use crate::queue::lock::lock;

/// Bytes of packed blocks that may wait for their commit; beyond that, clients wait.
pub const ROOM: usize = 16 << 20;

/// What each part has counted, as of its last commitment.
#[derive(Clone, Copy, Default)]
pub struct Counted {
    /// This writer.
    pub own: Totals,
    /// All others.
    pub others: Totals,
    /// The turns, and their marks: being sent, and in doubt.
    pub turns: Totals,
    pub sending: u64,
    pub in_doubt: u64,
}

/// Who delivers, as far as this process knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The last turn that was given here, by its number in this process.
    pub last: u64,
    pub is_held: bool,
    pub waiting: u32,
}

/// See the file's page. The locks are taken one at a time, and nothing is awaited under one.
pub struct Shared {
    pub options: Options,
    pub place: Place,
    pub newest: Newest,
    pub clock: Clock,
    pub trust: WallTrust,
    pub hasher: IdHasher,
    pub catalog: Mutex<Arc<Catalog>>,
    pub counted: Mutex<Counted>,
    pub delivery: Mutex<Delivery>,
    pub tail: Mutex<Tail>,
    pub losses: Mutex<Vec<Loss>>,
    pub disk: Mutex<Disk>,
    /// Why nothing can be written now, if so.
    pub away: Mutex<Option<String>>,
    /// The database does not know what it acknowledged: until the operator adopts it, nothing is
    /// accepted or delivered.
    pub went_back: watch::Sender<bool>,
    /// How often it was adopted when this life began.
    pub adoptions: AtomicI64,
    pub room: Arc<Semaphore>,
    pub is_full: watch::Sender<bool>,
    pub held: watch::Sender<Held>,
    /// Something may be claimed.
    pub claimable: Notify,
    pub closing: watch::Sender<bool>,
    pub stopped: OnceLock<String>,
}

impl Shared {
    pub fn catalog(&self) -> Arc<Catalog> {
        lock(&self.catalog).clone()
    }

    /// Reads the list of tables anew.
    pub async fn refresh(&self, session: &mut Session) -> Result<Arc<Catalog>, Trouble> {
        loop {
            let known = self.catalog();
            let catalog = Arc::new(Catalog::read(session, &known).await?);
            let mut held = lock(&self.catalog);
            // What was read behind another is no older, unless the database was put back: then the
            // tables that came since are none.
            if catalog.version >= held.version || known.version == held.version {
                *held = catalog.clone();
                return Ok(catalog);
            }
        }
    }

    pub fn census(&self) -> Census {
        let counted = *lock(&self.counted);
        let mut all = counted.own;
        all.add(counted.others);
        all.add(counted.turns);
        let mut census = all.census(counted.sending, counted.in_doubt);
        census.oldest_accepted_at = lock(&self.delivery).hands.oldest_accepted_at();
        census
    }

    pub fn stopped(&self) -> QueueError {
        let why = self
            .stopped
            .get()
            .map_or("it is being closed", String::as_str);
        QueueError::Stopped(why.to_owned())
    }

    pub fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// # Errors
    /// Why nothing is taken in now.
    pub fn running(&self) -> Result<(), QueueError> {
        if self.is_closing() {
            return Err(self.stopped());
        }
        match &*lock(&self.away) {
            Some(why) => Err(QueueError::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    /// Nothing can be written: told once, until it is over.
    pub fn is_away(&self, why: &str) {
        let mut away = lock(&self.away);
        if away.is_none() {
            tracing::warn!(
                "the database is away ({why}): events are answered `unavailable` and delivery \
                 waits; nothing is lost, and both go on when it is back"
            );
            lock(&self.disk).closed = Some(Closed::Away);
        }
        *away = Some(why.to_owned());
    }

    /// The database was put back to an earlier state: told once, and counted as a loss of nothing
    /// that is known, for what is missing there is not known here.
    pub fn has_gone_back(&self, why: &str) {
        if !self.went_back.send_replace(true) {
            tracing::error!("{why}");
            self.options.observer.meters().database_went_back();
        }
        self.is_away(why);
        lock(&self.disk).closed = Some(Closed::WentBack);
    }

    pub fn has_it_gone_back(&self) -> bool {
        *self.went_back.borrow()
    }

    pub fn is_back(&self) {
        if lock(&self.away).take().is_some() {
            lock(&self.disk).closed = None;
            tracing::info!("the database is back");
        }
    }

    /// One connection in this role.
    pub async fn connect(&self, role: &str) -> Result<Session, Trouble> {
        let link = Link::open(&self.place, role, &self.newest).await;
        let link = link.map_err(|error| match error {
            LinkError::Config(why) | LinkError::Away(why) => Trouble::Broken(why),
        })?;
        let place = &self.options.place;
        Ok(Session::new(link, &place.schema, place.durability))
    }

    /// Waits so long, or until the queue is closed.
    pub async fn pause(&self, span: Duration) {
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.closed() => {}
        }
    }

    /// Resolves when the queue is to close.
    pub async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is in `self`.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}

/// How long to wait between two tries: longer each time, with jitter, up to a few seconds.
pub struct Tries(ExponentialBackoff<backoff::SystemClock>);

impl Default for Tries {
    fn default() -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(Duration::from_millis(50))
                .with_max_interval(Duration::from_secs(5))
                .with_max_elapsed_time(None)
                .build(),
        )
    }
}

impl Tries {
    pub fn next(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(Duration::from_secs(5))
    }
}
