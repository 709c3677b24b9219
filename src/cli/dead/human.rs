//! Dead letters for people: how many, and where and when they are looked at.

use jiff::tz::TimeZone;

use super::super::screen::Screen;
use crate::clock::Millis;

/// Where and when.
pub(super) struct Look {
    pub now: Millis,
    pub zone: TimeZone,
    pub screen: Screen,
}

/// `n` of a thing, in words.
pub(super) fn count(n: u64) -> String {
    match n {
        1 => "1 dead letter".into(),
        n => format!("{n} dead letters"),
    }
}
