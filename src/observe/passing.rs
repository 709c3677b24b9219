//! Events as they pass, for listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::clock::Millis;
use crate::note::Notes;

/// Events that a listener may be behind; then it loses the oldest.
const BEHIND: usize = 8192;
/// Bytes of lines that are held for listeners; what comes beyond passes without its line.
const HELD_BYTES: usize = 16 << 20;

/// Where an event is, as its listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Accepted, on disk.
    Queued,
    /// A dead letter that came back with other bytes: queued again.
    Retried,
    /// Accepted before.
    Duplicate,
    /// Of a kind that is not forwarded.
    Ignored,
    /// Not an event.
    Rejected,
    /// Not acknowledged: the disk reserve is reached.
    Unavailable,
    /// In a request that leaves now.
    Sending,
    /// Pinterest processed it.
    Delivered,
    /// Pinterest took none of its request: it is queued as before.
    Released,
    /// Pinterest may have taken it: it is sent again under the same name.
    InDoubt,
    /// It keeps failing alone and waits aside.
    Deferred,
    /// It became a dead letter.
    Dead,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Retried,
        Self::Duplicate,
        Self::Ignored,
        Self::Rejected,
        Self::Unavailable,
        Self::Sending,
        Self::Delivered,
        Self::Released,
        Self::InDoubt,
        Self::Deferred,
        Self::Dead,
    ];

    /// The name in lines, filters and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retried => "revived",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Released => "released",
            Self::InDoubt => "in_doubt",
            Self::Deferred => "set_apart",
            Self::Dead => "dead",
        }
    }
}

/// Bytes that are held for listeners, and count as that until they are dropped.
#[derive(Debug, Default)]
pub struct Held {
    bytes: Bytes,
    _room: Option<Room>,
}

#[derive(Debug)]
struct Room {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What left, or is about to leave, for Pinterest.
#[derive(Debug)]
pub struct Sent {
    /// `event_name` on the wire.
    pub name: Arc<str>,
    /// The event's JSON object; empty where too much is held already.
    pub payload: Held,
}

/// One event at one stage. `line` and `sent` hold personal data.
pub struct Passed {
    /// When, wall clock.
    pub at: Millis,
    /// Where it is now.
    pub stage: Stage,
    /// Its messageId; empty where it is not known (a rejected line).
    pub message_id: String,
    /// The line as the client sent it; empty where too much is held already.
    pub line: Held,
    /// As it goes out, if it was made ready.
    pub sent: Option<Sent>,
    /// Why it is dead or ignored: a name from a fixed list.
    pub reason: Option<&'static str>,
    /// What is to be said of it, without values.
    pub message: Option<Arc<str>>,
    /// What of it could not be read as it stands.
    pub notes: Option<Notes>,
}

/// The channel.
pub struct Passing {
    events: broadcast::Sender<Arc<Passed>>,
    listeners: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

impl Default for Passing {
    fn default() -> Self {
        Self {
            events: broadcast::channel(BEHIND).0,
            listeners: Arc::default(),
            held: Arc::default(),
        }
    }
}

impl Passing {
    /// Whether anybody listens. Ask before building anything.
    pub fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// Room for the bytes of one event; what comes beyond `HELD_BYTES` passes without.
    pub fn hold(&self, bytes: impl FnOnce() -> Bytes, len: usize) -> Held {
        // Several at once may go a little beyond it.
        if self.held.load(Ordering::Relaxed) + len > HELD_BYTES {
            return Held::default();
        }
        self.held.fetch_add(len, Ordering::Relaxed);
        Held {
            bytes: bytes(),
            _room: Some(Room {
                held: self.held.clone(),
                bytes: len,
            }),
        }
    }

    /// Tells the listeners. Never waits for one.
    pub fn pass(&self, passed: Passed) {
        // The last listener may have left a moment ago.
        let _ = self.events.send(Arc::new(passed));
    }

    /// Listens from this moment on.
    pub fn listen(&self) -> Listener {
        let events = self.events.subscribe();
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listener {
            events,
            listeners: self.listeners.clone(),
        }
    }
}

/// Somebody who listens.
pub struct Listener {
    events: broadcast::Receiver<Arc<Passed>>,
    listeners: Arc<AtomicUsize>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// The next event, or how many passed unheard because this listener was slow; `None` when
    /// nothing passes any more.
    pub async fn next(&mut self) -> Option<Result<Arc<Passed>, u64>> {
        match self.events.recv().await {
            Ok(heard) => Some(Ok(heard)),
            Err(RecvError::Lagged(missed)) => Some(Err(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The same where one has passed already.
    pub fn try_next(&mut self) -> Option<Result<Arc<Passed>, u64>> {
        use broadcast::error::TryRecvError;
        match self.events.try_recv() {
            Ok(heard) => Some(Ok(heard)),
            Err(TryRecvError::Lagged(missed)) => Some(Err(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(passing: &Passing, line: &Bytes) -> Passed {
        let line = passing.hold(|| line.clone(), line.len());
        Passed {
            at: 0,
            stage: Stage::Queued,
            message_id: String::new(),
            line,
            sent: None,
            reason: None,
            message: None,
            notes: None,
        }
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost_and_holds_up_nobody() {
        let passing = Passing::default();
        assert!(!passing.is_heard());
        let mut slow = passing.listen();
        assert!(passing.is_heard());
        for _ in 0..BEHIND + 7 {
            passing.pass(passed(&passing, &Bytes::from_static(b"{}")));
        }
        assert!(matches!(slow.next().await, Some(Err(7))));
        let mut heard = 0;
        while let Some(Ok(_)) = slow.try_next() {
            heard += 1;
        }
        assert_eq!(heard, BEHIND);
        drop(slow);
        assert!(!passing.is_heard());
    }

    #[tokio::test]
    async fn lines_are_held_up_to_the_bound_and_the_events_pass_all_the_same() {
        let passing = Passing::default();
        let mut listener = passing.listen();
        let line = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..20 {
            passing.pass(passed(&passing, &line));
        }
        let lines: Vec<bool> = (0..20)
            .filter_map(|_| listener.try_next()?.ok())
            .map(|heard| !heard.line.is_empty())
            .collect();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines.iter().filter(|there| **there).count(), 16);
    }
}
