//! The composition root: opens the parts, joins them, and takes them down in order.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::admin::{self, Report};
use crate::clock::{Clock, WallTrust};
use crate::config::{Config, ConfigError, LogFormat, TokenError};
use crate::deliver::{self, DrainEnd, DrainReport, GateState, Prepare};
use crate::ingest::{self, BindError};
use crate::lifecycle::{self, Signal, notify};
use crate::queue::sled::SledEngine;
use crate::queue::{DeadReason, OpenError, Queue};
use crate::secret::SharedToken;
use crate::transform::{Dead, Transform};

/// How long clients may take to read the answers that are due at a stop.
const ANSWERS: Duration = Duration::from_secs(5);
/// How often the service manager's status line is brought up to date, and the exit's guard.
const STATUS_EVERY: Duration = Duration::from_secs(10);
const EXIT_GUARD: Duration = Duration::from_secs(5);

/// Fewer open files than this are told: a hundred clients would be too many.
const FEW_FILES: u64 = 256;

/// Why the daemon could not start, or had to end. Each names its object and the next step.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The config is wrong (exit code 78).
    #[error("{0}")]
    Config(String),
    /// Another process has the folder or the socket (exit code 69).
    #[error("{0}")]
    InUse(String),
    /// The system refused (exit code 74).
    #[error("{0}")]
    Io(String),
}

impl From<ConfigError> for DaemonError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<TokenError> for DaemonError {
    fn from(error: TokenError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<OpenError> for DaemonError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse(why) => Self::InUse(why),
            OpenError::Newer(why) | OpenError::Foreign(why) => Self::Config(why),
            OpenError::Io(why) => Self::Io(why),
        }
    }
}

impl From<BindError> for DaemonError {
    fn from(error: BindError) -> Self {
        let text = error.to_string();
        match error {
            BindError::InUse(_) => Self::InUse(text),
            BindError::NotASocket(_) => Self::Config(text),
            BindError::Io { .. } => Self::Io(text),
        }
    }
}

/// Runs until it is told to stop, then drains. `load` reads the config, now and at each reload.
///
/// # Errors
/// [`DaemonError`], before anything was accepted. After a storage error the process ends with
/// exit code 74 from within.
pub fn run(load: impl Fn() -> Result<Config, ConfigError>) -> Result<(), DaemonError> {
    umask(Mode::from_bits_truncate(0o077));
    lifecycle::no_core();
    let config = load()?;
    let log = match config.log.format {
        LogFormat::Auto => lifecycle::Format::Auto,
        LogFormat::Human => lifecycle::Format::Human,
        LogFormat::Journald => lifecycle::Format::Journald,
        LogFormat::Json => lifecycle::Format::Json,
    };
    lifecycle::init_log(config.log.level, log).map_err(|e| DaemonError::Config(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| DaemonError::Io(format!("the runtime cannot be started: {e}")))?;
    runtime.block_on(serve(config, load))
}

async fn serve(
    config: Config,
    load: impl Fn() -> Result<Config, ConfigError>,
) -> Result<(), DaemonError> {
    let signals = lifecycle::signals()
        .map_err(|e| DaemonError::Io(format!("signals cannot be taken: {e}")))?;
    let clock = Clock::system();
    let daemon = Daemon::open(config, clock)?;
    daemon.run(load, signals).await;
    Ok(())
}

/// The parts, joined.
struct Daemon {
    config: Config,
    clock: Clock,
    queue: Queue,
    token: SharedToken,
    ingest: ingest::Handle,
    delivery: Arc<deliver::Handle>,
    admin: tokio::task::JoinHandle<()>,
    draining: Arc<AtomicBool>,
    report: admin::Source,
    /// Socket files of our own making, removed at a stop in order.
    bound: Vec<PathBuf>,
}

impl Daemon {
    fn open(config: Config, clock: Clock) -> Result<Self, DaemonError> {
        // Everything that can be wrong with the config comes before the folder is touched.
        let required = config.require_run()?;
        let transform = config.transform()?;
        let token = read_token(&config)?;
        let delivery_options = config.delivery_options(required.ad_account_id);
        let open_files = lifecycle::open_files();
        if open_files < FEW_FILES {
            tracing::warn!(
                "this process may open {open_files} files: few clients can be served at once, \
                 and the queue may run out of them; raise LimitNOFILE to {FEW_FILES} or more"
            );
        }

        let engine = SledEngine::open(
            config.queue_options(Arc::new(storage_failed)),
            clock.clone(),
        )?;
        let trust: WallTrust = engine.trust();
        let queue = Queue::sled(engine);

        let mut bound = Vec::new();
        let listener = match passed_listener()? {
            Some(listener) => listener,
            None => {
                let path = &config.ingest.socket;
                let listener = ingest::bind(path, 0o660, &config.ingest.group)?;
                bound.push(path.clone());
                listener
            }
        };
        let admin_listener = ingest::bind(&config.admin.socket, 0o600, "")?;
        bound.push(config.admin.socket.clone());

        let seed = rand::random();
        let delivery = deliver::spawn(
            &delivery_options,
            queue.clone(),
            prepare(transform),
            token.clone(),
            clock.clone(),
            trust,
            seed,
        )
        .map_err(|e| DaemonError::Config(e.to_string()))?;
        let delivery = Arc::new(delivery);
        let draining = Arc::new(AtomicBool::new(false));
        let report = reports(&config, &queue, &delivery, &clock, &draining);
        let watched =
            |e: std::io::Error| DaemonError::Io(format!("a socket cannot be watched: {e}"));
        let admin = admin::spawn(admin_listener, report.clone(), queue.clone()).map_err(watched)?;
        let listener = UnixListener::from_std(listener).map_err(watched)?;
        let ingest = ingest::spawn(
            listener,
            queue.clone(),
            clock.clone(),
            config.ingest_options(open_files),
        );
        Ok(Self {
            config,
            clock,
            queue,
            token,
            ingest,
            delivery,
            admin,
            draining,
            report,
            bound,
        })
    }

    async fn run(
        mut self,
        load: impl Fn() -> Result<Config, ConfigError>,
        mut signals: UnboundedReceiver<Signal>,
    ) {
        tracing::info!(
            socket = %self.config.ingest.socket.display(),
            admin = %self.config.admin.socket.display(),
            hashing = ?self.config.user_data.hashing,
            "ready: taking events; user_data.hashing says whether personal data is sent raw or \
             as sha256"
        );
        notify::ready(&(self.report)().await.line());
        let mut status = tokio::time::interval(STATUS_EVERY);
        let mut told = String::new();
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Reload) => {
                        notify::reloading();
                        self.reload(&load);
                        notify::ready(&(self.report)().await.line());
                    }
                    Some(Signal::Stop) | None => break,
                },
                _ = status.tick() => {
                    let line = (self.report)().await.line();
                    if line != told {
                        notify::status(&line);
                        told = line;
                    }
                }
            }
        }
        self.stop(signals).await;
    }

    /// Reads config and token again; a bad one changes nothing.
    fn reload(&mut self, load: &impl Fn() -> Result<Config, ConfigError>) {
        let read = || -> Result<(Config, Transform, bool), DaemonError> {
            let config = load()?;
            config.require_run()?;
            let transform = config.transform()?;
            let token = config.token.read()?;
            Ok((config, transform, self.token.swap(token.token)))
        };
        match read() {
            Ok((config, transform, token_changed)) => {
                let later = self.config.needs_restart(&config);
                if !later.is_empty() {
                    tracing::warn!(
                        "reload: {} changed and needs a restart to take effect",
                        later.join(", ")
                    );
                }
                self.delivery
                    .reload(prepare(transform), config.delivery_limits());
                if token_changed {
                    self.delivery.token_changed();
                }
                // The rest stays as it was started with: what needs a restart is told at each
                // reload until there is one.
                self.config.delivery.drain_deadline = config.delivery.drain_deadline;
                tracing::info!(token_changed, "reload: config and token were read again");
            }
            Err(error) => tracing::error!("reload: {error}; nothing was changed"),
        }
    }

    /// The drain, as the operator sees it: no new work, answers out, deliveries until the
    /// deadline, everything synced, and the report as the last line.
    async fn stop(self, mut signals: UnboundedReceiver<Signal>) {
        let begun = self.clock.monotonic();
        let deadline = Instant::now() + self.config.delivery.drain_deadline;
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping: answering what was read, then delivering what is queued");
        notify::stopping("draining");
        let delivery = self.delivery.clone();
        let drain = async {
            self.ingest
                .stop(ANSWERS.min(self.config.delivery.drain_deadline))
                .await;
            self.delivery.drain(deadline).await
        };
        tokio::pin!(drain);
        let report = loop {
            tokio::select! {
                report = &mut drain => break report,
                Some(signal) = signals.recv() => {
                    if signal == Signal::Stop {
                        tracing::info!("a second signal: not waiting for deliveries");
                        delivery.abandon();
                    }
                }
            }
        };
        self.admin.abort();
        if let Err(error) = self.queue.close().await {
            tracing::error!("closing the queue: {error}");
        }
        for path in &self.bound {
            // A socket file left behind is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
        let took = self.clock.monotonic() - begun;
        tell_drain(&report, took, &self.config.queue.path.display().to_string());
    }
}

fn tell_drain(report: &DrainReport, took: i64, folder: &str) {
    let why = match report.end {
        DrainEnd::Empty => "everything was delivered or is a dead letter",
        DrainEnd::Deadline => "the drain deadline was reached",
        DrainEnd::GateClosed => "Pinterest cannot be delivered to now",
        DrainEnd::Abandoned => "a second signal ended the waiting",
        DrainEnd::QueueStopped => "the queue had stopped",
    };
    let line = format!(
        "drained in {:.1} s ({why}): {} delivered, {} dead, {} still queued and safe in {folder}, \
         {} of them in doubt",
        took as f64 / 1000.0,
        report.delivered,
        report.dead,
        report.queued,
        report.in_doubt,
    );
    notify::status(&line);
    tracing::info!("{line}");
}

/// Storage has failed: nothing more is acknowledged, and the process ends for the supervisor
/// to start it anew. Nothing is dropped on the way, for dropping a store can hang.
fn storage_failed(_why: &str) {
    // If exiting itself hangs, this does not.
    let guard = std::thread::Builder::new()
        .name("exit guard".into())
        .spawn(|| {
            std::thread::sleep(EXIT_GUARD);
            std::process::abort();
        });
    if guard.is_err() {
        std::process::abort();
    }
    std::process::exit(74);
}

fn read_token(config: &Config) -> Result<SharedToken, DaemonError> {
    let found = config.token.read()?;
    if let (true, Some(file)) = (found.exposed, &found.file) {
        tracing::warn!(
            "the token file {} can be read by every user of this machine: chmod 0640 it",
            file.display()
        );
    }
    Ok(SharedToken::new(found.token))
}

/// The listener that systemd passes through `pinrelay.socket`, if it does.
fn passed_listener() -> Result<Option<std::os::unix::net::UnixListener>, DaemonError> {
    let unusable = |e| DaemonError::Io(format!("the socket passed by systemd cannot be used: {e}"));
    let listener = listenfd::ListenFd::from_env()
        .take_unix_listener(0)
        .map_err(unusable)?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true).map_err(unusable)?;
    }
    Ok(listener)
}

/// The seam between delivery and transform.
fn prepare(transform: Transform) -> Prepare {
    // Warned of once per process, with the number since.
    let unusable = Mutex::new(0u64);
    Arc::new(move |entry, stripped| {
        let sent_as = entry.sent_as.as_deref();
        let without = |key: &str| stripped.strips(key);
        match transform.payload(&entry.body, entry.event_time, sent_as, &without) {
            Ok(payload) => {
                if payload.unusable > 0 {
                    let mut count = unusable.lock().unwrap_or_else(|e| e.into_inner());
                    *count += u64::from(payload.unusable);
                    if *count == u64::from(payload.unusable) {
                        tracing::warn!(
                            "a [[mappings]] source holds a value that its schema field cannot \
                             take; the computed value is sent. See `pinrelay transform`"
                        );
                    }
                }
                Ok(deliver::Prepared {
                    name: payload.event_name,
                    message_id: payload.message_id,
                    json: payload.json,
                    custom_keys: payload
                        .custom_keys
                        .iter()
                        .map(|key| key.to_string())
                        .collect(),
                })
            }
            Err(dead) => Err(deliver::Dead {
                reason: match dead {
                    Dead::NoMatchKey { .. } => DeadReason::NoMatchKey,
                    Dead::Invalid(_) => DeadReason::Refused,
                },
                message: dead.to_string(),
            }),
        }
    })
}

/// What `status` shows, put together from the parts.
fn reports(
    config: &Config,
    queue: &Queue,
    delivery: &Arc<deliver::Handle>,
    clock: &Clock,
    draining: &Arc<AtomicBool>,
) -> admin::Source {
    let (queue, delivery, clock) = (queue.clone(), delivery.clone(), clock.clone());
    let (draining, test_mode) = (draining.clone(), config.pinterest.test);
    Arc::new(move || {
        let (queue, delivery, clock) = (queue.clone(), delivery.clone(), clock.clone());
        let draining = draining.load(Ordering::Relaxed);
        Box::pin(async move {
            let status = delivery.status().await;
            let gate = &status.gate;
            let state = match (draining, gate.state) {
                (true, _) => "draining",
                (_, GateState::Open) => "delivering",
                (_, GateState::Shut) => "backing off",
                (_, GateState::Parked) => "parked",
            };
            // Plain data serialises.
            let value = serde_json::to_value(&status).unwrap_or_default();
            let word = |key: &str| value["gate"][key].as_str().map(str::to_owned);
            Report {
                state: state.into(),
                test_mode,
                gate: admin::Gate {
                    state: word("state").unwrap_or_default(),
                    reason: word("reason"),
                    detail: gate.detail.clone(),
                    since: gate.since,
                    next_probe: gate.next_probe,
                },
                delivery: value,
                ..Report::new(&queue.census(), clock.now())
            }
        })
    })
}
