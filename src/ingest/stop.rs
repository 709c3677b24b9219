//! The signal to stop: given once, seen by every connection.

use tokio::sync::watch;

/// Gives the word, also when it is dropped.
pub(super) struct Stop(watch::Sender<bool>);

/// Hears it.
#[derive(Clone)]
pub(super) struct Stopped(watch::Receiver<bool>);

/// Both ends.
pub(super) fn stop() -> (Stop, Stopped) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Stopped(receiver))
}

impl Stop {
    /// Read no further.
    pub(super) fn now(&self) {
        // No receiver is left only when nothing is left to stop.
        let _ = self.0.send(true);
    }
}

impl Stopped {
    /// Whether the word was given.
    pub(super) fn is_given(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Resolves when the word was given.
    pub(super) async fn wait(&mut self) {
        // A sender that is gone means the same as one that says so.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
