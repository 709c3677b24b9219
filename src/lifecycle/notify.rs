//! What systemd is told, if it is there.
//!
//! Told by a thread of its own, in order: a service manager that does not take what it is sent
//! holds up nobody else.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// What may wait to be told; what comes beyond is the same again a moment later.
const WAITING: usize = 64;

enum Tell {
    Ready(String),
    Status(String),
    /// Microseconds of the monotonic clock, if it could be read.
    Reloading(Option<i128>),
    Stopping(String),
    Extend(String, u32),
    Alive,
    /// Answered when all before it was told.
    Flush(SyncSender<()>),
}

fn tell(what: Tell) {
    static TELLER: OnceLock<Option<SyncSender<Tell>>> = OnceLock::new();
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        if let Tell::Flush(told) = what {
            let _ = told.try_send(());
        }
        return;
    }
    let teller = TELLER.get_or_init(|| {
        let (send, receive) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("service manager".into());
        thread.spawn(move || tell_all(&receive)).ok()?;
        Some(send)
    });
    if let Some(teller) = teller
        && let Err(TrySendError::Full(_)) = teller.try_send(what)
    {
        tracing::debug!("the service manager does not take what it is told");
    }
}

fn tell_all(waiting: &Receiver<Tell>) {
    while let Ok(what) = waiting.recv() {
        let told = match &what {
            Tell::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            }
            Tell::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Tell::Reloading(Some(now)) => {
                sd_notify::notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(*now)])
            }
            Tell::Reloading(None) => sd_notify::notify(&[NotifyState::Reloading]),
            Tell::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
            Tell::Extend(status, more) => sd_notify::notify(&[
                NotifyState::Status(status),
                NotifyState::ExtendTimeoutUsec(*more),
            ]),
            Tell::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            Tell::Flush(told) => {
                let _ = told.try_send(());
                Ok(())
            }
        };
        // A supervisor that cannot be told is no reason to stop delivering.
        if let Err(error) = told {
            tracing::debug!("the service manager could not be told: {error}");
        }
    }
}

/// Waits until all was told, `limit` at most.
pub fn flush(limit: Duration) {
    let (told, is_told) = sync_channel(1);
    tell(Tell::Flush(told));
    let _: Result<(), RecvTimeoutError> = is_told.recv_timeout(limit);
}

/// The store is open and the socket bound.
pub fn ready(status: &str) {
    tell(Tell::Ready(status.to_owned()));
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    tell(Tell::Status(status.to_owned()));
}

/// The config is being read again; [`ready`] ends it.
pub fn reloading() {
    let now = match NotifyState::monotonic_usec_now() {
        Ok(NotifyState::MonotonicUsec(now)) => Some(now),
        _ => None,
    };
    tell(Tell::Reloading(now));
}

/// The drain has begun.
pub fn stopping(status: &str) {
    tell(Tell::Stopping(status.to_owned()));
}

/// The start or stop makes progress: it may take `more` from now, whatever the unit says.
pub fn extend(status: &str, more: Duration) {
    let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    tell(Tell::Extend(status.to_owned(), more));
}

/// Within how much time [`alive`] has to be said again and again; `None`: nobody listens.
pub fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// The watchdog is fed.
pub fn alive() {
    tell(Tell::Alive);
}
