//! Repeats in the log are folded: after the first few alike, a count.
//!
//! Alike is what comes from the same place with the same text and values. Whatever comes for
//! the first time is never held back.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// So many alike are told within one window.
const LOGGED_IN_FULL: u32 = 3;
/// A window, from the first one on. Then the rest of them is told as a number.
const WINDOW: Duration = Duration::from_secs(30);
/// Different things that are counted at once; what comes beyond is not folded.
const KINDS: usize = 512;
/// Where the numbers come from; they are not folded themselves.
const TARGET: &str = "pinrelay::repeated";

/// The layer. Put it below the filter by levels.
pub(super) struct Fold(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kinds: Mutex<HashMap<u64, Kind>>,
    /// Something was folded.
    folded: Condvar,
}

struct Kind {
    level: Level,
    message: String,
    since: Instant,
    count: u32,
}

/// What is to be told of a window that is over.
struct Repeated {
    level: Level,
    message: String,
    times: u32,
}

impl Fold {
    /// With the thread that tells the numbers in time; `None` where it cannot be started, for
    /// then nothing may be folded.
    pub(super) fn new() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let telling = shared.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || tell_in_time(&telling)).ok()?;
        Some(Self(shared))
    }
}

impl<S: Subscriber> Layer<S> for Fold {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let meta = event.metadata();
        // Who debugs wants every line.
        if *meta.level() > Level::INFO || meta.target() == TARGET {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut key = DefaultHasher::new();
        meta.callsite().hash(&mut key);
        text.all.hash(&mut key);
        let kind = Kind {
            level: *meta.level(),
            message: text.message,
            since: Instant::now(),
            count: 1,
        };
        let passes = take(&mut self.0.lock(), key.finish(), kind);
        if !passes {
            self.0.folded.notify_one();
        }
        passes
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn is_folded(&self) -> bool {
        self.count > LOGGED_IN_FULL
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// Counts one more of its kind; whether it is told.
fn take(kinds: &mut HashMap<u64, Kind>, key: u64, new: Kind) -> bool {
    if let Some(kind) = kinds.get_mut(&key) {
        // What was folded is the thread's to end.
        if !kind.is_folded() && kind.is_over(new.since) {
            *kind = new;
            return true;
        }
        kind.count += 1;
        return !kind.is_folded();
    }
    if kinds.len() >= KINDS {
        kinds.retain(|_, kind| kind.is_folded() || !kind.is_over(new.since));
    }
    if kinds.len() < KINDS {
        kinds.insert(key, new);
    }
    true
}

/// Ends the windows that are over and in which something was folded.
fn end(kinds: &mut HashMap<u64, Kind>, now: Instant) -> Vec<Repeated> {
    let ended = kinds.extract_if(|_, kind| kind.is_folded() && kind.is_over(now));
    let repeated = ended.map(|(_, kind)| Repeated {
        level: kind.level,
        message: kind.message,
        times: kind.count - LOGGED_IN_FULL,
    });
    repeated.collect()
}

fn tell(repeated: &Repeated) {
    let Repeated {
        level,
        message,
        times,
    } = repeated;
    let seconds = WINDOW.as_secs();
    match *level {
        Level::ERROR => {
            tracing::error!(target: TARGET, "repeated {times} times within {seconds} s: {message}");
        }
        Level::WARN => {
            tracing::warn!(target: TARGET, "repeated {times} times within {seconds} s: {message}");
        }
        _ => tracing::info!(target: TARGET, "repeated {times} times within {seconds} s: {message}"),
    }
}

/// Runs as long as the process: sleeps while nothing is folded.
fn tell_in_time(shared: &Shared) {
    let mut kinds = shared.lock();
    loop {
        let folded = kinds.values().filter(|kind| kind.is_folded());
        let due = folded.map(|kind| kind.since + WINDOW).min();
        let now = Instant::now();
        kinds = match due {
            None => {
                let woken = shared.folded.wait(kinds);
                woken.unwrap_or_else(PoisonError::into_inner)
            }
            Some(due) if due > now => {
                let woken = shared.folded.wait_timeout(kinds, due - now);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            Some(_) => {
                let over = end(&mut kinds, now);
                // They come through here themselves.
                drop(kinds);
                over.iter().for_each(tell);
                shared.lock()
            }
        };
    }
}

/// An event's message, and all of it to compare.
#[derive(Default)]
struct Text {
    message: String,
    all: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        }
        let _ = write!(self.all, "{}={value:?};", field.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(since: Instant) -> Kind {
        Kind {
            level: Level::WARN,
            message: "the gate is shut".into(),
            since,
            count: 1,
        }
    }

    #[test]
    fn the_first_few_pass_the_rest_is_counted_and_told_once() {
        let (mut kinds, now) = (HashMap::new(), Instant::now());
        let mut warn = |key, at| take(&mut kinds, key, warning(at));
        let passed = (0..100).filter(|_| warn(1, now)).count();
        assert_eq!(passed, LOGGED_IN_FULL as usize);
        // Another thing is not held back by it, nor is the same one after its time.
        assert!(warn(2, now));
        assert!((0..LOGGED_IN_FULL).all(|_| warn(2, now + WINDOW)));
        assert!(end(&mut kinds, now).is_empty());
        let over = end(&mut kinds, now + WINDOW);
        assert_eq!(over.len(), 1, "what was told in full is not told again");
        assert_eq!((over[0].times, over[0].level), (97, Level::WARN));
        assert!(take(&mut kinds, 1, warning(now + WINDOW)));
    }

    #[test]
    fn what_cannot_be_counted_passes() {
        let (mut kinds, now) = (HashMap::new(), Instant::now());
        for key in 0..10_000 {
            assert!(take(&mut kinds, key, warning(now)));
        }
        assert_eq!(kinds.len(), KINDS);
        // Those whose time is over make room.
        assert!(take(&mut kinds, 10_001, warning(now + WINDOW)));
        assert_eq!(kinds.len(), 1);
    }

    #[test]
    fn a_flood_through_a_subscriber_is_three_lines() {
        use tracing_subscriber::layer::SubscriberExt as _;

        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let shown = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry()
            .with(Fold(Arc::default()))
            .with(shown);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..50 {
                tracing::warn!(code = 7, "the same");
                tracing::warn!(n, "another each time");
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text.matches("the same").count(),
            LOGGED_IN_FULL as usize,
            "{text}"
        );
        assert_eq!(text.matches("another each time").count(), 50);
    }
}
