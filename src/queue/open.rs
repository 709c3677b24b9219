//! The one place where a queue is opened, checked, mended or taken over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::OpenError;
use super::handle::Queue;
use super::verdict::Verdict;
use crate::clock::{Clock, WallTrust};
use crate::observe::Observer;
#[cfg(feature = "postgres")]
use crate::queue::postgres::{self, Postgres, PostgresEngine};
use crate::queue::sled::{self, SledEngine};

/// What a queue is opened with, wherever it is stored.
#[derive(Clone)]
pub struct Options {
    /// Where it is stored.
    pub storage: Storage,
    /// How long a messageId is remembered.
    pub dedup_window: Duration,
    /// Quota of what is queued, in bytes; at it, acceptance waits.
    pub max_bytes: u64,
    /// How long dead letters are kept.
    pub dead_retention: Duration,
    /// Quota of the dead letters in bytes; beyond it the oldest are purged.
    pub dead_max_bytes: u64,
    /// How long the destination remembers an event_id: what is sent again later than that may
    /// count twice there, and is counted apart.
    pub destination_remembers: Duration,
    /// Told once when storage has failed: the process must end.
    pub on_failure: Arc<dyn Fn(&str) + Send + Sync>,
    /// Hears how long syncs take.
    pub observer: Observer,
    /// Told how far the opening has come, in words for people. An opening that stays silent
    /// hangs.
    pub on_progress: Arc<dyn Fn(&str) + Send + Sync>,
    /// Whether an opening that waits for something outside is to be given up.
    pub is_given_up: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Where a queue is stored: each kind has an engine of its own.
#[derive(Clone)]
pub enum Storage {
    /// In a folder of this machine.
    Folder(Folder),
    /// In a schema of a PostgreSQL database.
    #[cfg(feature = "postgres")]
    Postgres(Box<Postgres>),
}

impl Storage {
    /// Where it is, for people. Nothing is opened.
    ///
    /// # Errors
    /// What is wrong with a database's URL, without the URL.
    pub fn shown(&self) -> Result<String, String> {
        match self {
            Self::Folder(folder) => Ok(folder.path.display().to_string()),
            #[cfg(feature = "postgres")]
            Self::Postgres(place) => place.shown().map_err(|error| error.to_string()),
        }
    }
}

/// A folder, and the settings of a queue in one.
#[derive(Clone)]
pub struct Folder {
    /// Where it is. What is in it is the queue's alone.
    pub path: PathBuf,
    /// Reserve of the file system in bytes (at most a quarter of it counts); below it,
    /// acceptance is `unavailable`.
    pub min_free: u64,
    /// Events after which a piece of the line is full; it is deleted as a whole.
    pub roll_events: u64,
    /// The id of this machine; none where it has none, and then it is not compared.
    pub machine_id: Option<String>,
}

impl Folder {
    /// This folder, with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let sled::Options {
            path,
            min_free,
            roll_events,
            machine_id,
            ..
        } = sled::Options::new(path);
        Self {
            path,
            min_free,
            roll_events,
            machine_id,
        }
    }
}

impl Options {
    /// The defaults; `on_failure` and `on_progress` do nothing.
    pub fn new(storage: Storage) -> Self {
        let sled::Options {
            dedup_window,
            max_bytes,
            dead_retention,
            dead_max_bytes,
            destination_remembers,
            on_failure,
            observer,
            on_progress,
            ..
        } = sled::Options::new("");
        Self {
            storage,
            dedup_window,
            max_bytes,
            dead_retention,
            dead_max_bytes,
            destination_remembers,
            on_failure,
            observer,
            on_progress,
            is_given_up: Arc::new(|| false),
        }
    }

    fn with(&self, folder: &Folder) -> sled::Options {
        let (options, folder) = (self.clone(), folder.clone());
        sled::Options {
            path: folder.path,
            dedup_window: options.dedup_window,
            max_bytes: options.max_bytes,
            min_free: folder.min_free,
            dead_retention: options.dead_retention,
            dead_max_bytes: options.dead_max_bytes,
            destination_remembers: options.destination_remembers,
            roll_events: folder.roll_events,
            machine_id: folder.machine_id,
            adopt: false,
            on_failure: options.on_failure,
            observer: options.observer,
            on_progress: options.on_progress,
        }
    }

    #[cfg(feature = "postgres")]
    fn with_postgres(&self, place: &Postgres) -> postgres::Options {
        let options = self.clone();
        postgres::Options {
            place: place.clone(),
            dedup_window: options.dedup_window,
            max_bytes: options.max_bytes,
            dead_retention: options.dead_retention,
            dead_max_bytes: options.dead_max_bytes,
            destination_remembers: options.destination_remembers,
            observer: options.observer,
            on_progress: options.on_progress,
            is_given_up: options.is_given_up,
            adopt: false,
        }
    }

    /// The same queue in another folder, as the operator names it. One that is in none stays where it
    /// is.
    pub fn in_folder(mut self, path: impl Into<PathBuf>) -> Self {
        match &mut self.storage {
            Storage::Folder(folder) => folder.path = path.into(),
            #[cfg(feature = "postgres")]
            Storage::Postgres(_) => {}
        }
        self
    }
}

/// A queue that is open.
pub struct Opened {
    /// The queue.
    pub queue: Queue,
    /// Whether the wall clock is believed, judged from the last start's on.
    pub trust: WallTrust,
    /// Whoever had the queue before did not close it: it was killed, or the power went.
    pub unclean_start: bool,
}

/// Opens the queue, making it if there is none. Blocks: recovery reads.
///
/// # Errors
/// [`OpenError`] says which exit code it calls for.
pub fn open(options: &Options, clock: Clock) -> Result<Opened, OpenError> {
    match &options.storage {
        Storage::Folder(folder) => open_folder(options.with(folder), clock),
        #[cfg(feature = "postgres")]
        Storage::Postgres(place) => open_postgres(options.with_postgres(place), clock),
    }
}

/// Opens a queue that comes from another machine, or was restored from a copy, as this one's:
/// everything unsettled is in doubt from then on. Blocks.
///
/// # Errors
/// As [`open`]; and where there is none.
pub fn adopt(options: &Options, clock: Clock) -> Result<Opened, OpenError> {
    match &options.storage {
        Storage::Folder(Folder { path, .. }) if !path.is_dir() => Err(OpenError::Io(format!(
            "queue folder {}: there is none; restore it there first",
            path.display()
        ))),
        Storage::Folder(folder) => {
            let adopt = true;
            let options = sled::Options {
                adopt,
                ..options.with(folder)
            };
            open_folder(options, clock)
        }
        #[cfg(feature = "postgres")]
        Storage::Postgres(place) => {
            let adopt = true;
            let options = postgres::Options {
                adopt,
                ..options.with_postgres(place)
            };
            open_postgres(options, clock)
        }
    }
}

/// Checks the queue, which no daemon has open, without changing it. `tell` hears what is being
/// read.
///
/// # Errors
/// [`OpenError::InUse`] while a daemon runs on it; otherwise what kept it from being read.
pub fn verify(
    options: &Options,
    clock: &Clock,
    tell: &mut dyn FnMut(&str),
) -> Result<Verdict, OpenError> {
    match &options.storage {
        Storage::Folder(folder) => sled::verify(&options.with(folder), clock, tell),
        #[cfg(feature = "postgres")]
        Storage::Postgres(place) => postgres::verify(&options.with_postgres(place), tell),
    }
}

/// Checks the queue as [`verify`] does, mends what can be, and checks it again. Gives what was
/// found before and after.
///
/// # Errors
/// As [`verify`], and those of opening the queue.
pub fn repair(
    options: &Options,
    clock: Clock,
    tell: &mut dyn FnMut(&str),
) -> Result<(Verdict, Verdict), OpenError> {
    match &options.storage {
        Storage::Folder(folder) => sled::repair(options.with(folder), clock, tell),
        #[cfg(feature = "postgres")]
        Storage::Postgres(place) => {
            // What is damaged there is the server's to repair; the findings say so.
            let found = postgres::verify(&options.with_postgres(place), tell)?;
            Ok((found.clone(), found))
        }
    }
}

#[cfg(feature = "postgres")]
fn open_postgres(options: postgres::Options, clock: Clock) -> Result<Opened, OpenError> {
    let engine = PostgresEngine::open(options, clock)?;
    Ok(Opened {
        trust: engine.trust(),
        unclean_start: engine.is_unclean_start(),
        queue: Queue::postgres(engine),
    })
}

fn open_folder(options: sled::Options, clock: Clock) -> Result<Opened, OpenError> {
    let path = options.path.clone();
    let engine = SledEngine::open(options, clock).map_err(|error| match error {
        OpenError::Io(why) => OpenError::Io(match sled::if_out_of_inodes(&path) {
            Some(cure) => format!("{why}; {cure}"),
            None => why,
        }),
        error => error,
    })?;
    Ok(Opened {
        trust: engine.trust(),
        unclean_start: engine.is_unclean_start(),
        queue: Queue::sled(engine),
    })
}
