//! Tells somebody elsewhere when something changes for the worse, and when it is well again.
//!
//! For the machine that nobody watches. `watch` decides, purely: one notification when a
//! condition begins, one when it has ended, never one per event. `webhook` carries them: a POST
//! of JSON with a `text`, which chat hooks show. In the messages there are counts, states and
//! times; no personal data, no token. Delivery knows nothing of all this and waits for none of it.

mod options;
mod watch;
mod webhook;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::time::{MissedTickBehavior, interval};

pub use options::Options;
pub use watch::{Facts, Kind, Message, State};
pub use webhook::{Webhook, WebhookError, read_url};

use crate::clock::{Clock, Millis};
use watch::Watch;

/// Between two looks at the facts.
const EVERY: Duration = Duration::from_secs(1);
/// How long the file of the hook's address may take to be read.
const READING: Duration = Duration::from_secs(5);
/// Messages that wait for the hook; what comes on top of them is in the log alone.
const WAITING: usize = 64;

/// Facts of this moment.
pub type Source = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Facts> + Send>> + Send + Sync>;

/// Goes on until it is dropped.
pub struct Handle {
    options: channel::Sender<Options>,
    task: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// Goes on under other options; what was told already is not told again.
    pub fn reload(&self, options: Options) {
        let _ = self.options.send(options);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts watching. Must be called within a runtime.
pub fn spawn(options: Options, facts: Source, clock: Clock) -> Handle {
    let (sender, receiver) = channel::channel(options);
    let task = tokio::spawn(run(receiver, facts, clock));
    Handle {
        options: sender,
        task,
    }
}

/// What became of a message.
struct Outcome {
    kind: Kind,
    state: State,
    error: Option<WebhookError>,
}

async fn run(mut options: channel::Receiver<Options>, facts: Source, clock: Clock) {
    let (outbox, messages) = mpsc::channel(WAITING);
    let (ended, mut outcomes) = mpsc::channel(WAITING);
    // A hook that hangs holds up the messages behind it, never the looking.
    let carrier = carry(options.clone(), messages, ended);
    let watcher = async move {
        let mut watch = Watch::default();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What follows takes note of the change.
            if options.has_changed().unwrap_or(false) {
                watch.try_at_once();
            }
            // Without a hook there is nobody to tell, and an idle process is not woken for it.
            let hook = |options: &Options| options.webhook_url_file.is_some();
            if options.wait_for(hook).await.is_err() {
                return;
            }
            ticks.tick().await;
            while let Ok(outcome) = outcomes.try_recv() {
                account(&mut watch, outcome, clock.monotonic());
            }
            let facts = facts().await;
            let settings = options.borrow().clone();
            for message in watch.observe(&facts, &settings, clock.monotonic(), clock.now()) {
                let (kind, state) = (message.kind, message.state);
                // There is one of a kind at most, and room for all of them.
                if outbox.try_send(message).is_err() {
                    watch.told(kind, state, false, clock.monotonic());
                }
            }
        }
    };
    tokio::join!(carrier, watcher);
}

fn account(watch: &mut Watch, outcome: Outcome, monotonic: Millis) {
    let Outcome { kind, state, error } = outcome;
    let again = watch.told(kind, state, error.is_none(), monotonic);
    match (error, again) {
        (None, _) => tracing::info!(kind = kind.name(), "a notification was sent"),
        (Some(error), again) => tracing::warn!(
            kind = kind.name(),
            "a notification could not be sent: {error}; it is tried again in {} s if it is still \
             true; try `pinrelay notify --test`",
            again.unwrap_or_default().as_secs()
        ),
    }
}

/// Reads the file beside the workers, which a file system that does not answer would keep.
async fn hook(file: PathBuf) -> Result<Webhook, WebhookError> {
    let read = tokio::task::spawn_blocking(move || Webhook::new(&file));
    match tokio::time::timeout(READING, read).await {
        Ok(Ok(hook)) => hook,
        Ok(Err(bug)) => Err(WebhookError::Client(bug.to_string())),
        Err(_) => Err(WebhookError::Silent),
    }
}

async fn carry(
    options: channel::Receiver<Options>,
    mut messages: mpsc::Receiver<Message>,
    ended: mpsc::Sender<Outcome>,
) {
    while let Some(message) = messages.recv().await {
        let settings = options.borrow().clone();
        let error = match &settings.webhook_url_file {
            Some(file) => match hook(file.clone()).await {
                Ok(webhook) => webhook.tell(&message.to_json(&settings.name)).await.err(),
                Err(error) => Some(error),
            },
            // Nobody is to be told any more.
            None => Some(WebhookError::Gone),
        };
        let outcome = Outcome {
            kind: message.kind,
            state: message.state,
            error,
        };
        if ended.send(outcome).await.is_err() {
            return;
        }
    }
}
