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
const TOLD: u32 = 3;
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
    /// With a thread that tells the numbers in time. Without one, where it cannot be started,
    /// they are told when the same thing comes again.
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let telling = shared.clone();
        let thread = std::thread::Builder::new().name("log".into());
        drop(thread.spawn(move || tell_in_time(&telling)));
        Self(shared)
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
        let (passes, over) = {
            let mut kinds = self.0.lock();
            let over = expire(&mut kinds, Instant::now());
            let passes = take(&mut kinds, key.finish(), *meta.level(), text.message);
            (passes, over)
        };
        if !passes {
            self.0.folded.notify_one();
        }
        // Outside the lock: these come through here themselves.
        over.iter().for_each(tell);
        passes
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more of a kind; whether it is told.
fn take(kinds: &mut HashMap<u64, Kind>, key: u64, level: Level, message: String) -> bool {
    if kinds.len() >= KINDS && !kinds.contains_key(&key) {
        return true;
    }
    let kind = kinds.entry(key).or_insert_with(|| Kind {
        level,
        message,
        since: Instant::now(),
        count: 0,
    });
    kind.count += 1;
    kind.count <= TOLD
}

/// Ends the windows that are over.
fn expire(kinds: &mut HashMap<u64, Kind>, now: Instant) -> Vec<Repeated> {
    let over = |kind: &Kind| now.saturating_duration_since(kind.since) >= WINDOW;
    let ended = kinds.extract_if(|_, kind| over(kind));
    let repeated = ended.filter(|(_, kind)| kind.count > TOLD);
    repeated
        .map(|(_, kind)| Repeated {
            level: kind.level,
            message: kind.message,
            times: kind.count - TOLD,
        })
        .collect()
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
    loop {
        let mut kinds = shared.lock();
        while !kinds.values().any(|kind| kind.count > TOLD) {
            let woken = shared.folded.wait(kinds);
            kinds = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let folded = kinds.values().filter(|kind| kind.count > TOLD);
        let due = folded.map(|kind| kind.since + WINDOW).min();
        drop(kinds);
        if let Some(due) = due {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let over = expire(&mut shared.lock(), Instant::now());
        over.iter().for_each(tell);
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

    #[test]
    fn the_first_few_pass_the_rest_is_counted_and_told_once() {
        let mut kinds = HashMap::new();
        let mut warn = |key| take(&mut kinds, key, Level::WARN, "the gate is shut".into());
        let passed = (0..100).filter(|_| warn(1)).count();
        assert_eq!(passed, TOLD as usize);
        // Another thing is not held back by it.
        assert!(warn(2));
        let now = Instant::now();
        assert!(expire(&mut kinds, now).is_empty());
        let over = expire(&mut kinds, now + WINDOW);
        assert_eq!(over.len(), 1, "what was told in full is not told again");
        assert_eq!((over[0].times, over[0].level), (97, Level::WARN));
        assert!(kinds.is_empty());
    }

    #[test]
    fn what_cannot_be_counted_passes() {
        let mut kinds = HashMap::new();
        for key in 0..10_000 {
            assert!(take(&mut kinds, key, Level::ERROR, String::new()));
        }
        assert_eq!(kinds.len(), KINDS);
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
        assert_eq!(text.matches("the same").count(), TOLD as usize, "{text}");
        assert_eq!(text.matches("another each time").count(), 50);
    }
}
