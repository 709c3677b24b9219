//! One line as it comes to be tried, and what it is tried on.

use std::fmt;

use serde::Serialize;

use crate::admin::report::human;
use crate::deliver::{Age, AgeRules};
use crate::event::{Call, Invalid, Kind};
use crate::policy::{Policy, Refusal};
use crate::queue::DeadReason;
use crate::transform::{Fixed, Transform};

/// What lines are tried on.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    /// Of the config.
    pub transform: &'a Transform,
    /// Likewise.
    pub policy: &'a Policy,
    /// Likewise, at this moment.
    pub ages: &'a AgeRules,
    /// This moment, in Unix seconds.
    pub now_seconds: i64,
}

/// A line, or what the socket would answer to one that is too long to be held.
#[derive(Clone)]
pub(super) struct Came<'a> {
    pub line: Result<&'a [u8], Invalid>,
    pub when: When,
    /// Where it stands, if it comes from an input.
    pub place: Option<Place<'a>>,
}

/// Where a line stands in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The file's path, or `stdin`.
    pub name: &'a str,
    /// From 1, blank lines counted.
    pub number: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.number)
    }
}

/// When an event came and when it happened.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// It comes at this moment, in Unix seconds.
    Now(i64),
    /// Both were fixed when the daemon took it, and it waits.
    Queued(Fixed),
    /// The same of a dead letter, which would be queued again.
    Dead(Fixed),
}

impl When {
    pub(super) fn of(self, call: &Call<'_>) -> Fixed {
        match self {
            Self::Now(accepted_at) => Fixed {
                accepted_at,
                event_time: call.event_time(accepted_at),
            },
            Self::Queued(fixed) | Self::Dead(fixed) => fixed,
        }
    }
}

/// What its age would do to an event that is not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Aged {
    /// `late` or `expired`.
    pub reason: &'static str,
    /// Whether it would become a dead letter for it.
    pub dead: bool,
    /// How old it is.
    #[serde(skip)]
    seconds: i64,
}

impl Trial<'_> {
    /// What would keep it back at the socket. What the daemon holds has passed that.
    pub fn refusal(&self, when: When, kind: Kind, line: &[u8]) -> Option<Refusal> {
        if self.policy.is_empty() || !matches!(when, When::Now(_)) {
            return None;
        }
        let is_limited = || self.transform.is_from_limited_state(line);
        let judged = self.policy.judge(kind, line, &is_limited, &mut |_| ());
        judged.err()
    }

    /// What its age would do to it if it left now; `None`: nothing.
    pub fn age(&self, when: When, fixed: Fixed) -> Option<Aged> {
        let is_letter = matches!(when, When::Dead(_));
        let accepted_at = fixed.accepted_at.saturating_mul(1000);
        let (reason, dead, since) = match self.ages.judge(fixed.event_time, accepted_at, is_letter)
        {
            Age::InTime => return None,
            Age::Late { dies } => (DeadReason::Late, dies, fixed.event_time),
            Age::Expired => {
                let oldest = fixed.event_time.min(fixed.accepted_at);
                (DeadReason::Expired, true, oldest)
            }
        };
        Some(Aged {
            reason: reason.name(),
            dead,
            seconds: self.now_seconds.saturating_sub(since),
        })
    }
}

impl fmt::Display for Aged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = human::duration(self.seconds.saturating_mul(1000));
        match (self.reason, self.dead) {
            ("late", false) => write!(
                f,
                "would be late: it happened {age} ago (delivery.late_after); it is sent, and \
                 Pinterest does not deduplicate it against the Tag"
            ),
            ("late", true) => write!(
                f,
                "would be a dead letter (late): it happened {age} ago (delivery.late_after, \
                 delivery.on_late)"
            ),
            _ => write!(
                f,
                "would be a dead letter (expired): it is {age} old (delivery.max_age, less five \
                 minutes for its way)"
            ),
        }
    }
}
