//! Time as a parameter: the wall clock, a monotonic clock, and whether the wall is believed.
//!
//! What is done by age (ids that are forgotten, letters that are purged, events that expire) cannot
//! be brought back, and a delay of hours costs nothing. So the wall clock is taken to be wrong
//! until something agrees with it: where a believed wall clock stood before and the time that is
//! known to have passed since, a `Date` of Pinterest's, or the operator.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Unix milliseconds, or a span of them.
pub type Millis = i64;

/// A span in milliseconds; what is too long is the longest there is.
pub fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}

/// The wall clock may be off what it is compared with by this much and is still believed.
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
        since_boot: AtomicI64,
    },
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Unix milliseconds.
    pub wall: Millis,
    /// [`Clock::monotonic`].
    pub since_boot: Millis,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Arc::new(Source::System {
            started: Instant::now(),
        }))
    }

    /// A clock that moves only by [`Clock::advance`] and [`Clock::set_wall`], on a machine that
    /// was booted just now.
    pub fn manual(wall: Millis) -> Self {
        Self(Arc::new(Source::Manual {
            wall: AtomicI64::new(wall),
            since_boot: AtomicI64::new(0),
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

    /// Milliseconds since the machine was booted; never goes back. Time asleep counts, or a
    /// laptop's lid would look like a leap of the wall clock.
    pub fn monotonic(&self) -> Millis {
        match &*self.0 {
            Source::System { started } => match clock_gettime(ClockId::CLOCK_BOOTTIME) {
                Ok(time) => millis(time.into()),
                // A kernel from before 2011: there every start is on a machine just booted.
                Err(_) => millis(started.elapsed()),
            },
            Source::Manual { since_boot, .. } => since_boot.load(Ordering::SeqCst),
        }
    }

    /// Both clocks.
    pub fn read(&self) -> Reading {
        Reading {
            wall: self.now(),
            since_boot: self.monotonic(),
        }
    }

    /// Moves a manual clock forward, wall and monotonic alike; the system's clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { wall, since_boot } = &*self.0 {
            wall.fetch_add(millis(by), Ordering::SeqCst);
            since_boot.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's wall alone, as an administrator or a bad NTP server would.
    pub fn set_wall(&self, now: Millis) {
        if let Source::Manual { wall, .. } = &*self.0 {
            wall.store(now, Ordering::SeqCst);
        }
    }
}

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// There is nothing to compare it with: the queue is new.
    Unconfirmed,
    /// It is not where the last stop and the time that has passed since would have it.
    LastStop,
    /// It leapt while the process ran.
    Leapt,
    /// It disagrees with Pinterest's `Date`.
    Date,
}

impl Doubt {
    /// For people, in few words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unconfirmed => "the queue is new",
            Self::LastStop => "it is off the last stop",
            Self::Leapt => "it leapt",
            Self::Date => "Pinterest's Date disagrees",
        }
    }
}

/// How the wall clock stands: what `status` and `pinrelay clock` show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Whether anything may be deleted or end by it.
    pub believed: bool,
    /// Why it is not.
    pub doubt: Option<Doubt>,
    /// What would have it believed.
    pub waiting_for: Option<String>,
    /// Since when it is not believed, by itself, Unix milliseconds.
    pub since: Option<Millis>,
    /// For how long, by the clock that does not leap.
    pub for_seconds: Option<i64>,
    /// What it says, Unix milliseconds.
    pub now: Millis,
    /// What it should say at the least, where that can be told, Unix milliseconds.
    pub expected: Option<Millis>,
}

/// Up to where times are stamps of a clock that nothing had vouched for: those of the lives that a
/// queue had before its clock was first believed. They prove no age. Beyond them, and where there
/// are none, each stamp does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// The last number of the line.
    pub line: u64,
    /// The last number among the dead letters.
    pub letter: u64,
    /// When the clock was first believed: nothing of these is to be taken for older.
    pub since: Millis,
}

impl Unproven {
    /// All so far: nothing has vouched for the clock yet.
    const ALL: Self = Self {
        line: u64::MAX,
        letter: u64::MAX,
        since: Millis::MAX,
    };

    /// The time by which the age of what has this number in the line counts.
    pub fn of_line(&self, number: u64, stamp: Millis) -> Millis {
        match number <= self.line {
            true => stamp.max(self.since),
            false => stamp,
        }
    }

    /// The same of a dead letter.
    pub fn of_letter(&self, number: u64, stamp: Millis) -> Millis {
        match number <= self.letter {
            true => stamp.max(self.since),
            false => stamp,
        }
    }
}

/// The anchor: a moment for which the wall time is taken to be known.
#[derive(Clone, Copy)]
struct Anchor {
    at: Reading,
    /// Whether it counts as known. A new queue's is only what the clock said itself: good for
    /// finding a leap, not for belief.
    is_proven: bool,
}

impl Anchor {
    /// What the wall clock says at `now`, ahead of what it should.
    fn ahead(&self, now: Reading) -> Millis {
        now.wall.saturating_sub(self.expected(now))
    }

    fn expected(&self, now: Reading) -> Millis {
        let passed = now.since_boot.saturating_sub(self.at.since_boot);
        self.at.wall.saturating_add(passed)
    }

    fn is_off(&self, now: Reading) -> bool {
        self.ahead(now).unsigned_abs() > LEAP.as_millis() as u64
    }
}

/// What a start judges by. `last`: a reading of the last life for which the wall was believed;
/// `last_wall`: the last believed wall time, which may be later.
///
/// Of the same boot the time since is known. Otherwise all that is known is that the machine was
/// up for so long, and a longer stop is taken for a wrong clock until something else agrees. A
/// boot that has lasted longer than the last one had is not told from it: its clock then seems
/// ahead, and is waited with.
fn start_anchor(last: Option<Reading>, last_wall: Option<Millis>, now: Reading) -> Option<Anchor> {
    let at = match (last, last_wall) {
        (Some(last), _) if last.since_boot <= now.since_boot => last,
        (Some(last), wall) => Reading {
            wall: wall.map_or(last.wall, |wall| wall.max(last.wall)),
            since_boot: 0,
        },
        // Of a release that kept no more: nothing is known to have passed.
        (None, Some(wall)) => Reading {
            wall,
            since_boot: now.since_boot,
        },
        (None, None) => return None,
    };
    Some(Anchor {
        at,
        is_proven: true,
    })
}

struct Judgement {
    anchor: Anchor,
    /// Why not, and since when.
    doubt: Option<(Doubt, Reading)>,
    /// The wall clock went with the time since boot from the start on. If it is right now, it was
    /// so all along.
    is_steady: bool,
}

/// Whether the wall clock may end an event or delete anything. It is compared with the last
/// moment for which the time was known, so that many small leaps are one large one; a clock
/// that is put right again is believed again.
///
/// Clones share one judgement.
#[derive(Clone)]
pub struct WallTrust {
    clock: Clock,
    judgement: Arc<Mutex<Judgement>>,
    unproven: Arc<Mutex<Option<Unproven>>>,
}

impl WallTrust {
    /// For a queue that remembers nothing of its last life: nothing is believed until a `Date`
    /// or the operator says so. What comes in while the clock is a month ahead would be a month
    /// old the moment it is mended, and is seen so already by whoever stamped it.
    pub fn of_new(clock: Clock) -> Self {
        Self::new(clock, None, None)
    }

    /// `last`: a reading of the last life for which the wall clock was believed; `last_wall`: the
    /// last wall time that was, which older releases kept alone.
    pub fn new(clock: Clock, last: Option<Reading>, last_wall: Option<Millis>) -> Self {
        let now = clock.read();
        let mut judgement = Judgement {
            anchor: Anchor {
                at: now,
                is_proven: false,
            },
            doubt: Some((Doubt::Unconfirmed, now)),
            is_steady: true,
        };
        match start_anchor(last, last_wall, now) {
            None => tracing::info!(
                "nothing vouches for this machine's clock yet, for the queue is new or in a database: \
                 nothing expires, is purged or is forgotten by it until {WAITS}"
            ),
            Some(anchor) if anchor.is_off(now) => {
                judgement.anchor = anchor;
                judgement.doubt = Some((Doubt::LastStop, now));
                tell(Doubt::LastStop, anchor.ahead(now));
            }
            Some(_) => {
                judgement.anchor.is_proven = true;
                judgement.doubt = None;
            }
        }
        let is_new = last.is_none() && last_wall.is_none();
        Self {
            clock,
            judgement: Arc::new(Mutex::new(judgement)),
            unproven: Arc::new(Mutex::new(is_new.then_some(Unproven::ALL))),
        }
    }

    /// Whether the wall clock has not leapt since the start.
    pub fn is_steady(&self) -> bool {
        self.judge_now().1.is_steady
    }

    /// Which stamps prove no age.
    pub fn unproven(&self) -> Option<Unproven> {
        *self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue says which they are: as it remembers it, or as it is at the first belief.
    pub fn set_unproven(&self, unproven: Option<Unproven>) {
        *self.unproven.lock().unwrap_or_else(PoisonError::into_inner) = unproven;
    }

    /// Looks at both clocks, then says whether the wall is believed now.
    pub fn believed(&self) -> bool {
        self.judge_now().1.doubt.is_none()
    }

    /// Whether ages of this life can be told, if only to show or to warn of them: nothing has
    /// spoken against the clock, though nothing may have spoken for it either.
    pub fn tells_ages(&self) -> bool {
        let doubt = self.judge_now().1.doubt;
        doubt.is_none_or(|(doubt, _)| doubt == Doubt::Unconfirmed)
    }

    /// The reading of now, if the wall is believed: what the next start may compare with.
    pub fn believed_reading(&self) -> Option<Reading> {
        let (now, judgement) = self.judge_now();
        judgement.doubt.is_none().then_some(now)
    }

    /// How far the wall clock is known to be behind; 0 where it is believed, and where nothing
    /// is known.
    pub fn lag(&self) -> Millis {
        let (now, judgement) = self.judge_now();
        match judgement.doubt {
            Some(_) if judgement.anchor.is_proven => (-judgement.anchor.ahead(now)).max(0),
            _ => 0,
        }
    }

    /// The time to stamp on what is later deleted by age: where the clock is known to be behind,
    /// what it should say. A stamp that is too late keeps something longer; one that is a month too
    /// early has it deleted as soon as the clock is put right.
    pub fn stamp(&self) -> Millis {
        self.clock.now().saturating_add(self.lag())
    }

    /// Takes a `Date` header of Pinterest's (Unix milliseconds) as the judge.
    pub fn observe_date(&self, date: Millis) {
        let (now, mut judgement) = self.judge_now();
        judgement.anchor = Anchor {
            at: Reading { wall: date, ..now },
            is_proven: true,
        };
        let before = judgement.doubt.map(|(doubt, _)| doubt);
        if judgement.anchor.is_off(now) {
            let since = judgement.since().unwrap_or(now);
            judgement.doubt = Some((Doubt::Date, since));
            if before.is_none_or(|doubt| doubt == Doubt::Unconfirmed) {
                tell(Doubt::Date, judgement.anchor.ahead(now));
            }
            return;
        }
        judgement.doubt = None;
        match before {
            None => {}
            Some(Doubt::Unconfirmed) => tracing::info!("Pinterest's Date confirms the clock"),
            Some(_) => tracing::info!("the wall clock agrees with Pinterest's Date again"),
        }
    }

    /// The operator vouches for the wall clock, until it leaps or a `Date` disagrees.
    pub fn vouch(&self) -> Standing {
        let (now, mut judgement) = self.judge_now();
        judgement.anchor = Anchor {
            at: now,
            is_proven: true,
        };
        if judgement.doubt.take().is_some() {
            tracing::warn!(
                "the operator vouches for the wall clock: what is due by it expires, is purged \
                 and is forgotten from now on"
            );
        }
        judgement.standing(now)
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let (now, judgement) = self.judge_now();
        judgement.standing(now)
    }

    /// Compares both clocks with the anchor.
    fn judge_now(&self) -> (Reading, MutexGuard<'_, Judgement>) {
        // The lock first: readings are judged in the order in which they were made.
        let mut judgement = (self.judgement.lock()).unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.read();
        let anchor = judgement.anchor;
        match (judgement.doubt, anchor.is_off(now)) {
            (None | Some((Doubt::Unconfirmed, _)), true) => {
                judgement.doubt = Some((Doubt::Leapt, now));
                judgement.is_steady = false;
                tell(Doubt::Leapt, anchor.ahead(now));
            }
            (Some((Doubt::LastStop | Doubt::Leapt | Doubt::Date, since)), false) => {
                judgement.doubt = (!anchor.is_proven).then_some((Doubt::Unconfirmed, since));
                tracing::info!("the wall clock has been put right");
            }
            (None | Some((Doubt::Unconfirmed, _)), false) | (Some(_), true) => {}
        }
        (now, judgement)
    }
}

impl Judgement {
    /// Since when something speaks against the clock.
    fn since(&self) -> Option<Reading> {
        let doubt = self.doubt.filter(|(doubt, _)| *doubt != Doubt::Unconfirmed);
        doubt.map(|(_, since)| since)
    }

    fn standing(&self, now: Reading) -> Standing {
        let lasted = (self.doubt).map(|(_, since)| now.since_boot - since.since_boot);
        let expected = self.doubt.filter(|_| self.anchor.is_proven);
        Standing {
            believed: self.doubt.is_none(),
            doubt: self.doubt.map(|(doubt, _)| doubt),
            waiting_for: self.doubt.map(|_| WAITS.to_owned()),
            since: lasted.map(|lasted| now.wall.saturating_sub(lasted)),
            for_seconds: lasted.map(|lasted| lasted / 1000),
            now: now.wall,
            expected: expected.map(|_| self.anchor.expected(now)),
        }
    }
}

/// What ends the waiting.
const WAITS: &str = "a Date of Pinterest's that agrees, or `pinrelay clock trust`";

/// Says once in the log that the clock is not believed any more.
fn tell(doubt: Doubt, ahead: Millis) {
    let minutes = ahead / 60_000;
    let what = match doubt {
        Doubt::Unconfirmed => return,
        Doubt::LastStop => {
            "the wall clock is not where the last stop and the time since would have it"
        }
        Doubt::Leapt => "the wall clock leapt",
        Doubt::Date => "the wall clock disagrees with Pinterest's Date",
    };
    tracing::warn!(
        ahead_minutes = minutes,
        "{what}: nothing expires, is purged or is forgotten by it until {WAITS}; check the \
         machine's time"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const MINUTE: Millis = 60_000;
    const DAY: Millis = 86_400_000;

    fn at(wall: Millis, since_boot: Millis) -> Reading {
        Reading { wall, since_boot }
    }

    /// Whether a start at `now` believes its clock.
    fn starts(last: Option<Reading>, last_wall: Option<Millis>, now: Reading) -> bool {
        start_anchor(last, last_wall, now).is_some_and(|anchor| !anchor.is_off(now))
    }

    #[test]
    fn of_the_same_boot_the_time_that_passed_is_known() {
        let last = at(NOW, 5 * DAY);
        let start = |passed, off| {
            let now = at(NOW + passed + off, last.since_boot + passed);
            starts(Some(last), Some(NOW), now)
        };
        for passed in [0, 10 * MINUTE, 4 * DAY, 400 * DAY] {
            for off in [0, 10 * MINUTE, -10 * MINUTE] {
                assert!(start(passed, off), "{passed} {off}");
            }
            for off in [10 * MINUTE + 1, 4 * DAY + DAY / 2, 30 * DAY] {
                assert!(!start(passed, off), "{passed} ahead {off}");
                assert!(!start(passed, -off), "{passed} behind {off}");
            }
        }
    }

    #[test]
    fn of_another_boot_it_is_at_least_the_time_since() {
        let last = at(NOW, 100 * DAY);
        let start = |up, off| starts(Some(last), Some(NOW), at(NOW + up + off, up));
        for up in [0, MINUTE, 3 * DAY] {
            // Off for five minutes, for a night, and a clock that stood still or is ahead.
            assert!(start(up, 5 * MINUTE), "{up}");
            assert!(!start(up, 8 * 60 * MINUTE), "{up}");
            assert!(!start(up, 30 * DAY), "{up}");
            assert!(!start(up, -30 * DAY), "{up}");
        }
        // The last reading is older than the last wall time that was believed.
        let later = Some(NOW + DAY);
        assert!(starts(Some(last), later, at(NOW + DAY + MINUTE, MINUTE)));
        // A boot that has lasted longer than the last one had: waited with, never believed ahead.
        let young = at(NOW, MINUTE);
        assert!(!starts(
            Some(young),
            Some(NOW),
            at(NOW + 30 * DAY, 30 * DAY - 11 * MINUTE)
        ));
    }

    #[test]
    fn with_the_wall_alone_nothing_is_known_to_have_passed() {
        let start = |off| starts(None, Some(NOW), at(NOW + off, 30 * DAY));
        assert!(start(0) && start(10 * MINUTE) && start(-10 * MINUTE));
        assert!(!start(11 * MINUTE) && !start(-11 * MINUTE) && !start(30 * DAY));
        assert!(!starts(None, None, at(NOW, 0)), "and of nothing, nothing");
    }

    /// A clock whose wall is believed.
    fn believed() -> (Clock, WallTrust) {
        let clock = Clock::manual(NOW);
        let trust = WallTrust::new(clock.clone(), Some(clock.read()), Some(NOW));
        assert!(trust.believed());
        (clock, trust)
    }

    #[test]
    fn a_leap_is_distrusted_until_a_date_agrees() {
        let (clock, trust) = believed();
        clock.advance(Duration::from_secs(86_400));
        assert!(trust.believed(), "both clocks moved: no leap");
        clock.set_wall(clock.now() + 8 * DAY);
        assert!(!trust.believed());
        assert!(!trust.believed(), "it does not heal by itself");
        trust.observe_date(clock.now() - 8 * DAY);
        assert!(!trust.believed());
        assert_eq!(trust.standing().doubt, Some(Doubt::Date));
        trust.observe_date(clock.now() + 1000);
        assert!(trust.believed());
    }

    #[test]
    fn a_leap_in_slices_is_one() {
        let (clock, trust) = believed();
        for _ in 0..2 {
            clock.advance(Duration::from_secs(3600));
            clock.set_wall(clock.now() + 5 * MINUTE);
            assert!(trust.believed());
        }
        clock.set_wall(clock.now() + 1);
        assert!(!trust.believed());
    }

    #[test]
    fn a_clock_that_is_put_right_is_believed_again() {
        let (clock, trust) = believed();
        for leap in [8 * DAY, -30 * DAY] {
            clock.set_wall(clock.now() + leap);
            assert!(!trust.believed());
            clock.advance(Duration::from_secs(3600));
            let standing = trust.standing();
            assert_eq!(standing.doubt, Some(Doubt::Leapt));
            assert_eq!(standing.for_seconds, Some(3600));
            assert_eq!(standing.since, Some(clock.now() - 3_600_000));
            assert_eq!(standing.expected, Some(clock.now() - leap));
            clock.set_wall(clock.now() - leap);
            assert!(trust.believed());
        }
        // After a Date that disagreed as well: what it should be is known from it.
        trust.observe_date(NOW + DAY);
        assert!(!trust.believed());
        clock.set_wall(NOW + DAY);
        assert!(trust.believed());
    }

    #[test]
    fn a_new_queue_waits_for_a_date_or_the_operator() {
        for by_date in [true, false] {
            let clock = Clock::manual(NOW);
            let trust = WallTrust::of_new(clock.clone());
            clock.advance(Duration::from_secs(40 * 86_400));
            assert!(!trust.believed() && trust.tells_ages());
            assert_eq!(trust.standing().doubt, Some(Doubt::Unconfirmed));
            assert_eq!(trust.standing().expected, None);
            // Back from a leap it is as unconfirmed as before.
            clock.set_wall(clock.now() + DAY);
            assert!(!trust.tells_ages());
            clock.set_wall(clock.now() - DAY);
            assert_eq!(trust.standing().doubt, Some(Doubt::Unconfirmed));
            match by_date {
                true => trust.observe_date(clock.now()),
                false => assert!(trust.vouch().believed),
            }
            assert!(trust.believed());
            let standing = trust.standing();
            assert_eq!((standing.waiting_for, standing.since), (None, None));
        }
    }

    #[test]
    fn the_operators_word_holds_until_the_next_leap_or_date() {
        let (clock, trust) = believed();
        clock.set_wall(NOW + 30 * DAY);
        assert!(!trust.believed() && trust.vouch().believed);
        assert!(trust.believed());
        clock.set_wall(clock.now() + DAY);
        assert!(!trust.believed() && trust.vouch().believed);
        trust.observe_date(NOW);
        assert!(!trust.believed());
    }

    #[test]
    fn a_stamp_of_a_clock_that_is_behind_is_what_it_should_say() {
        let (clock, trust) = believed();
        assert_eq!(trust.stamp(), NOW);
        clock.set_wall(NOW - 30 * DAY);
        clock.advance(Duration::from_secs(60));
        assert_eq!(trust.stamp(), NOW + MINUTE);
        clock.set_wall(NOW + 30 * DAY);
        assert_eq!(trust.stamp(), NOW + 30 * DAY, "too late only keeps longer");
        let new = WallTrust::of_new(clock.clone());
        clock.set_wall(NOW);
        assert_eq!(new.stamp(), NOW, "nothing is known");
    }

    #[test]
    fn the_machines_time_since_boot_goes_on() {
        let clock = Clock::system();
        let (first, wall) = (clock.monotonic(), clock.now());
        assert!(first > 0 && wall > NOW - 3650 * DAY);
        while clock.monotonic() == first {
            std::thread::yield_now();
        }
        assert!(clock.monotonic() > first);
    }
}
