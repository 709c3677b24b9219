//! The composition root: opens the parts, joins them, and takes them down in order.
//!
//! `control` does what the admin socket asks, `reload` takes a config that `reader` has read again,
//! `token` follows the token's file, `pause` keeps the operator's pause, `lateness` warns of a
//! backlog, `stop` is the drain and `end` the end where that hangs, `watchdog` shows that the disk
//! answers, `sockets` binds what is not `passed` by systemd, `reports` is what `status` shows,
//! `notices` what notifications are made of, `prepare` the seam between delivery and transform.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::admin::{self, AdminState};
use crate::clock::{Clock, WallTrust};
use crate::config::{Config, WriteKey};
use crate::deliver;
use crate::ingest::{self, SharedHttpLimits, WriteKeys};
use crate::lifecycle::{self, Signal, notify};
use crate::observe::Observer;
use crate::policy::SharedPolicy;
use crate::queue::{self, Queue};
use crate::secret::SharedToken;

mod control;
mod end;
mod error;
mod lateness;
mod notices;
mod passed;
mod pause;
mod prepare;
mod quality_file;
mod reader;
mod reload;
mod reports;
mod sockets;
mod stop;
mod token;
mod watchdog;

pub use error::DaemonError;
pub use reader::Load;

use end::StopLimit;
use pause::Pauses;
use prepare::{InEffect, prepare};
use quality_file::QualityFile;
use reader::Reader;
use reports::reports;
use sockets::{Sockets, Use};
use token::TokenWatch;

/// How often the service manager's status line is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(3);
/// How often the token's file is looked at while the token is refused: a file system may tell nothing
/// of a change.
const TOKEN_EVERY: Duration = Duration::from_secs(5);
/// How often the allocator's free pages go back to the system.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);
/// How long one store of the queue may take to be read at a start: each asks for so much more.
const OPENING: Duration = Duration::from_secs(120);
/// How often it is looked whether clients still find the sockets.
const SOCKETS_EVERY: Duration = Duration::from_secs(5);
/// In test mode nothing is recorded, which is not to be forgotten.
const TEST_MODE_EVERY: Duration = Duration::from_secs(3600);
/// Fewer open files than this are told: a hundred clients would be too many.
const FEW_FILES: u64 = 256;

/// How long what is left of the runtime may take to end.
const RUNTIME_ENDS: Duration = Duration::from_secs(1);

/// Runs until it is told to stop, then drains. `load` reads the config, now and at each reload.
///
/// # Errors
/// [`DaemonError`], before anything was accepted. After a storage error the process ends with
/// exit code 74 from within.
pub fn run(load: Load) -> Result<(), DaemonError> {
    umask(Mode::from_bits_truncate(0o077));
    lifecycle::keep_memory_private();
    let config = load()?;
    lifecycle::init_log(config.log.level, config.log.format)
        .map_err(|e| DaemonError::Config(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| DaemonError::Io(format!("the runtime cannot be started: {e}")))?;
    let ended = runtime.block_on(serve(config, load));
    // A thread that hangs in a system call would be waited for.
    runtime.shutdown_timeout(RUNTIME_ENDS);
    end::say_last_words();
    ended
}

async fn serve(config: Config, load: Load) -> Result<(), DaemonError> {
    let stop_limit = StopLimit::default();
    let signals = lifecycle::signals_with(stop_limit.last_resort())
        .map_err(|e| DaemonError::Io(format!("signals cannot be taken: {e}")))?;
    let clock = Clock::system();
    let (signals, stopping) = watched(signals);
    let daemon = Daemon::open(config, load, clock, stop_limit, stopping).await?;
    daemon.run(signals).await
}

/// The same signals, and whether one to stop was among them: an opening may wait for long, and
/// nobody takes signals meanwhile.
fn watched(mut signals: UnboundedReceiver<Signal>) -> (UnboundedReceiver<Signal>, Arc<AtomicBool>) {
    let (passed, taken) = mpsc::unbounded_channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let seen = stopping.clone();
    tokio::spawn(async move {
        while let Some(signal) = signals.recv().await {
            if signal == Signal::Stop {
                seen.store(true, Ordering::SeqCst);
            }
            if passed.send(signal).is_err() {
                return;
            }
        }
    });
    (taken, stopping)
}

/// Puts these keys in effect.
fn set(write_keys: &WriteKeys, keys: &[WriteKey]) {
    write_keys.set(keys.iter().map(|key| (key.name.as_str(), key.key.expose())));
}

/// A listener whose file was bound anew.
type Mended = (Use, StdUnixListener);

/// The parts, joined.
struct Daemon {
    /// As it was started with.
    config: Config,
    /// As it was read last: what a reload may change counts from here.
    read: Config,
    reader: Reader,
    stop_limit: StopLimit,
    clock: Clock,
    queue: Queue,
    token: SharedToken,
    token_watch: TokenWatch,
    write_keys: WriteKeys,
    http_limits: SharedHttpLimits,
    ingest: ingest::Handle,
    delivery: Arc<deliver::Handle>,
    transform: InEffect,
    policy: SharedPolicy,
    observer: Observer,
    quality: quality_file::Keeping,
    /// The admin socket, and the metrics port if there is one.
    admin_tasks: Vec<tokio::task::JoinHandle<()>>,
    more_admin: UnboundedSender<UnixListener>,
    draining: Arc<AtomicBool>,
    trust: WallTrust,
    lateness: lateness::Watch,
    pauses: Pauses,
    report: admin::Source,
    notify: crate::notify::Handle,
    /// What the admin socket asks of the daemon itself.
    asked: UnboundedReceiver<admin::Command>,
    sockets: Arc<Sockets>,
    /// A look at the sockets' files, and the listeners that came of it.
    looking: Option<tokio::task::JoinHandle<()>>,
    mended: UnboundedReceiver<Mended>,
    mends: UnboundedSender<Mended>,
}

impl Daemon {
    async fn open(
        config: Config,
        load: Load,
        clock: Clock,
        stop_limit: StopLimit,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, DaemonError> {
        let began = clock.now();
        // Everything that can be wrong with the config comes before the folder is touched.
        let required = config.require_run()?;
        let transform = Arc::new(config.transform()?);
        let rules = config.policy()?;
        let machine_id = config.machine_id()?;
        let found = token::read(&config)?;
        let write_keys = WriteKeys::default();
        set(&write_keys, &token::write_keys(&config)?);
        let http_limits = SharedHttpLimits::new(config.http_limits());
        config.http_tls().map(|files| files.read()).transpose()?;
        let mut token_watch = TokenWatch::default();
        token_watch.follow(&found);
        let token = SharedToken::new(found.token.clone());
        let mut delivery_options = config.delivery_options(required.ad_account_id);
        if config.relative_paths().contains(&"queue.path") {
            let folder = config.queue_folder();
            tracing::warn!(
                "queue.path counts from the folder that this process was started in: the queue is \
                 in {}, and started elsewhere it would be another; write the whole path, from / on",
                folder.display()
            );
        }
        let open_files = lifecycle::open_files();
        if open_files < FEW_FILES {
            tracing::warn!(
                "this process may open {open_files} files: few clients can be served at once, \
                 and the queue may run out of them; raise LimitNOFILE to {FEW_FILES} or more"
            );
        }

        let observer = Observer::default();
        let options = queue::Options {
            on_progress: Arc::new(|what| notify::extend(what, OPENING)),
            is_given_up: Arc::new(move || stopping.load(Ordering::SeqCst)),
            observer: observer.clone(),
            ..config.queue_options(machine_id, Arc::new(end::storage_failed))?
        };
        let queue::Opened {
            queue,
            trust,
            unclean_start,
        } = queue::open(&options, clock.clone())?;
        if unclean_start {
            tracing::warn!(
                "the process before this one did not end in order (a kill, no memory, the power, \
                 the watchdog): what it had accepted is there; `journalctl -b` and `dmesg` say more"
            );
        }
        let beside = quality_file::beside(&config);
        let quality = QualityFile::open(beside.as_deref(), observer.clone(), clock.clone());
        let (pauses, paused) = Pauses::open(queue.clone(), clock.clone(), trust.believed()).await;
        delivery_options.paused = paused;

        let (sockets, listeners) = Sockets::open(&config)?;
        let sockets = Arc::new(sockets);
        for listener in &listeners.ingest {
            token::tell_shared(&found, listener);
        }
        let (mends, mended) = mpsc::unbounded_channel();
        let metrics_listener = config.metrics.listen.map(sockets::metrics).transpose()?;

        let seed = rand::random();
        let delivery = deliver::spawn(
            &delivery_options,
            queue.clone(),
            prepare(transform.clone(), observer.clone(), clock.clone()),
            token.clone(),
            deliver::Environment {
                clock: clock.clone(),
                trust: trust.clone(),
                observer: observer.clone(),
            },
            seed,
        )
        .map_err(|e| DaemonError::Config(e.to_string()))?;
        let delivery = Arc::new(delivery);
        let draining = Arc::new(AtomicBool::new(false));
        let in_effect = InEffect::new(transform);
        let policy = SharedPolicy::new(in_effect.limited());
        policy.set(rules, clock.now());
        let clocks = (&clock, &trust, began);
        let ways_in = (&sockets, &policy);
        let report = reports(
            &config, &queue, &delivery, clocks, &draining, &observer, ways_in,
        );
        let watched =
            |e: std::io::Error| DaemonError::Io(format!("a socket cannot be watched: {e}"));
        let facts = notices::facts(report.clone(), trust.clone(), unclean_start);
        let notify = crate::notify::spawn(config.notify_options(), facts, clock.clone());
        let (commands, asked) = mpsc::unbounded_channel();
        let state = AdminState {
            queue: queue.clone(),
            observer: observer.clone(),
            report: report.clone(),
            clock: clock.clone(),
            trust: trust.clone(),
            persons: in_effect.persons(),
            noting: in_effect.noting(),
            advised: in_effect.advised(),
            commands,
        };
        let admin_listener = UnixListener::from_std(listeners.admin).map_err(watched)?;
        let (admin_task, more_admin) = admin::spawn(admin_listener, state.clone());
        let mut admin_tasks = vec![admin_task];
        if let Some(listener) = metrics_listener {
            admin_tasks.push(admin::spawn_metrics(listener, state).map_err(watched)?);
        }
        let unix = |listeners: Vec<StdUnixListener>| -> Result<Vec<_>, DaemonError> {
            let listeners = listeners.into_iter().map(UnixListener::from_std);
            listeners.collect::<Result<_, _>>().map_err(watched)
        };
        let tcp = listeners.http_tcp.into_iter().map(TcpListener::from_std);
        let ingest_listeners = ingest::Listeners {
            ndjson: unix(listeners.ingest)?,
            http: unix(listeners.http)?,
            http_tcp: tcp.collect::<Result<_, _>>().map_err(watched)?,
        };
        let ready = report.clone();
        let http = ingest::HttpOptions {
            keys: write_keys.clone(),
            limits: http_limits.clone(),
            tls: config.http_tls(),
            ready: Arc::new(move || {
                let ready = ready.clone();
                Box::pin(async move { ready().await.not_accepting })
            }),
        };
        let kept = observer.clone();
        let ingest = ingest::spawn(
            ingest_listeners,
            queue.clone(),
            clock.clone(),
            config.ingest_options(open_files),
            http,
            observer,
            policy.clone(),
        )
        .map_err(DaemonError::Config)?;
        Ok(Self {
            read: config.clone(),
            reader: Reader::new(load),
            stop_limit,
            config,
            clock,
            queue,
            token,
            token_watch,
            write_keys,
            http_limits,
            ingest,
            delivery,
            transform: in_effect,
            policy,
            observer: kept,
            quality: quality.keep(),
            admin_tasks,
            more_admin,
            draining,
            trust,
            lateness: lateness::Watch::default(),
            pauses,
            report,
            notify,
            asked,
            sockets,
            looking: None,
            mended,
            mends,
        })
    }

    async fn run(mut self, mut signals: UnboundedReceiver<Signal>) -> Result<(), DaemonError> {
        tracing::info!(
            socket = self.sockets.listened_on(Use::Ingest),
            http = self.sockets.listened_on(Use::Http),
            admin = self.sockets.listened_on(Use::Admin),
            hashing = self.config.user_data.hashing.name(),
            to = %self.config.destination(),
            "ready: taking events; user_data.hashing says whether personal data is sent raw or \
             as sha256"
        );
        if let Some(from) = self.config.destination().elsewhere {
            tracing::warn!(
                "events do not go to Pinterest but to {}: base_url comes from {from}",
                self.config.pinterest.base_url.as_str()
            );
        }
        notify::ready(&self.status_line().await);
        self.stop_limit.drains(self.read.delivery.drain_deadline);
        watchdog::feed(self.queue.clone());
        let mut status = tokio::time::interval(STATUS_EVERY);
        let mut free = tokio::time::interval(GIVE_BACK_EVERY);
        let mut test_mode = tokio::time::interval(TEST_MODE_EVERY);
        let mut look = tokio::time::interval(SOCKETS_EVERY);
        let mut token = tokio::time::interval(TOKEN_EVERY);
        let mut shown = String::new();
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) => {
                        // What is wrong is in the log.
                        let _ = self.reload().await;
                    }
                    Some(Signal::Stop) | None => break,
                },
                Some(command) = self.asked.recv() => self.on_command(command).await,
                () = self.token_watch.changed() => self.token_file_changed().await,
                _ = token.tick() => self.look_at_refused_token().await,
                () = self.pauses.over() => {
                    self.pauses.ended_by_itself().await;
                    self.delivery.pause_over();
                }
                _ = test_mode.tick(), if self.config.pinterest.test => tracing::warn!(
                    queue = %self.queue.place(),
                    "TEST MODE: Pinterest checks the events and records none of them; remove \
                     [pinterest] test = true and restart to go live"
                ),
                _ = look.tick() => self.look_at_sockets(),
                Some(listener) = self.mended.recv() => self.take_socket(listener),
                _ = free.tick() => drop(tokio::task::spawn_blocking(lifecycle::give_back)),
                _ = status.tick() => {
                    self.observe_lateness().await;
                    let line = self.status_line().await;
                    if line != shown {
                        notify::status(&line);
                        shown = line;
                    }
                }
            }
        }
        self.stop(signals).await
    }

    /// Whoever cannot find a socket loses events without a word. Beside the loop, one look at a
    /// time.
    fn look_at_sockets(&mut self) {
        let is_looking = self
            .looking
            .as_ref()
            .is_some_and(|look| !look.is_finished());
        if !is_looking {
            let (sockets, mended) = (self.sockets.clone(), self.mends.clone());
            self.looking = Some(tokio::task::spawn_blocking(move || {
                for listener in sockets.mend() {
                    let _ = mended.send(listener);
                }
            }));
        }
    }

    fn take_socket(&self, (used_by, listener): Mended) {
        match (UnixListener::from_std(listener), used_by) {
            (Ok(listener), Use::Ingest) => self.ingest.listen(listener),
            (Ok(listener), Use::Http) => self.ingest.listen_http(listener),
            // One that has ended has said so.
            (Ok(listener), Use::Admin) => drop(self.more_admin.send(listener)),
            (Err(error), _) => tracing::error!("a socket cannot be watched: {error}"),
        }
    }

    /// While something speaks against the wall clock no age is told.
    async fn observe_lateness(&mut self) {
        if !self.trust.tells_ages() {
            return;
        }
        let now = self.clock.now();
        let oldest =
            self.queue.census().oldest_accepted_at.map(|at| {
                Duration::from_millis(u64::try_from(now.saturating_sub(at)).unwrap_or(0))
            });
        let late_after = self.read.delivery.late_after;
        if let Some(edge) = self.lateness.observe(oldest, late_after) {
            lateness::tell(edge, oldest, self.delivery.status().await.gate.state);
        }
    }
}
