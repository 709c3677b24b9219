//! Time as a parameter: the wall clock, a monotonic clock, and whether the wall is believed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::queue::Millis;

/// A leap of the wall clock against the monotonic one, or against Pinterest's `Date`, that
/// makes it unbelievable.
pub const LEAP: Duration = Duration::from_secs(600);

/// The process' clock. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System {
        started: Instant,
    },
    Manual {
        wall: AtomicI64,
        monotonic: AtomicI64,
    },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Arc::new(Source::System {
            started: Instant::now(),
        }))
    }

    /// A clock that moves only by [`Clock::advance`] and [`Clock::set_wall`].
    pub fn manual(wall: Millis) -> Self {
        Self(Arc::new(Source::Manual {
            wall: AtomicI64::new(wall),
            monotonic: AtomicI64::new(0),
        }))
    }

    /// Wall-clock milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        match &*self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual { wall, .. } => wall.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds since some fixed point of this process; never goes back.
    pub fn monotonic(&self) -> Millis {
        match &*self.0 {
            Source::System { started } => {
                i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX)
            }
            Source::Manual { monotonic, .. } => monotonic.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock forward, wall and monotonic alike; the system's clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { wall, monotonic } = &*self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            wall.fetch_add(by, Ordering::SeqCst);
            monotonic.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's wall alone, as an administrator or a bad NTP server would.
    pub fn set_wall(&self, now: Millis) {
        if let Source::Manual { wall, .. } = &*self.0 {
            wall.store(now, Ordering::SeqCst);
        }
    }
}

/// Whether the wall clock may end an event. While it is not believed nothing expires and
/// nothing is forgotten; a `Date` of Pinterest's that agrees restores the belief.
///
/// Clones share one judgement.
#[derive(Clone)]
pub struct WallTrust {
    clock: Clock,
    believed: Arc<AtomicBool>,
    last: Arc<Mutex<(Millis, Millis)>>,
}

impl WallTrust {
    /// `last_wall`: the wall time that the queue remembers of its last life, if any. A start
    /// that finds the wall behind it by more than [`LEAP`] does not believe it. (Ahead proves
    /// nothing: the machine may simply have been off; see `max_off`.)
    ///
    /// `max_off`: a gap longer than this is taken for a wrong clock rather than a long stop.
    pub fn new(clock: Clock, last_wall: Option<Millis>, max_off: Duration) -> Self {
        let now = clock.now();
        let leap = millis(LEAP);
        let believed = last_wall.is_none_or(|last| {
            now >= last.saturating_sub(leap) && now <= last.saturating_add(millis(max_off))
        });
        if !believed {
            tracing::warn!(
                "the wall clock is far off the last start's: nothing expires and nothing is \
                 forgotten until Pinterest's Date agrees; check the machine's time"
            );
        }
        let last = (now, clock.monotonic());
        Self {
            clock,
            believed: Arc::new(AtomicBool::new(believed)),
            last: Arc::new(Mutex::new(last)),
        }
    }

    /// Compares wall and monotonic clock since the last call, then says whether the wall is
    /// believed now.
    pub fn believed(&self) -> bool {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        let leap = (now - last.0).abs_diff(monotonic - last.1);
        *last = (now, monotonic);
        drop(last);
        if leap > LEAP.as_millis() as u64 && self.believed.swap(false, Ordering::SeqCst) {
            tracing::warn!(
                leap_seconds = leap / 1000,
                "the wall clock leapt: nothing expires and nothing is forgotten until \
                 Pinterest's Date agrees; check the machine's time"
            );
        }
        self.believed.load(Ordering::SeqCst)
    }

    /// Takes a `Date` header of Pinterest's (Unix milliseconds) as the judge.
    pub fn observe_date(&self, date: Millis) {
        self.believed();
        let agrees = self.clock.now().abs_diff(date) <= LEAP.as_millis() as u64;
        if self.believed.swap(agrees, Ordering::SeqCst) != agrees {
            if agrees {
                tracing::info!("the wall clock agrees with Pinterest's Date again");
            } else {
                tracing::warn!(
                    "the wall clock disagrees with Pinterest's Date: nothing expires and \
                     nothing is forgotten; check the machine's time"
                );
            }
        }
    }
}

fn millis(d: Duration) -> Millis {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_leap_is_distrusted_until_a_date_agrees() {
        let clock = Clock::manual(1_000_000_000);
        let trust = WallTrust::new(clock.clone(), None, DAY);
        clock.advance(DAY);
        assert!(trust.believed(), "both clocks moved: no leap");
        clock.set_wall(clock.now() + millis(8 * DAY));
        assert!(!trust.believed());
        assert!(!trust.believed(), "it does not heal by itself");
        trust.observe_date(clock.now() - millis(8 * DAY));
        assert!(!trust.believed());
        trust.observe_date(clock.now() + 1000);
        assert!(trust.believed());
    }

    #[test]
    fn a_start_far_off_the_last_one_is_distrusted() {
        let clock = Clock::manual(millis(30 * DAY));
        assert!(WallTrust::new(clock.clone(), Some(millis(29 * DAY)), 2 * DAY).believed());
        assert!(!WallTrust::new(clock.clone(), Some(millis(38 * DAY)), 2 * DAY).believed());
        assert!(!WallTrust::new(clock, Some(millis(22 * DAY)), 2 * DAY).believed());
    }
}
