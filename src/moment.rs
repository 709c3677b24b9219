//! Moments for people: in one zone, with its offset, in a form that the commands take again.
//!
//! Invariant: whoever reads a moment knows which it is without asking where the machine stands.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::clock::Millis;

/// With the date in front where it is another day than `now`: `21:05:23+01`,
/// `2026-11-29 21:05:23+01`.
pub fn local(at: Millis, now: Millis, zone: &TimeZone) -> String {
    shown(at, Some(now), zone, "%H:%M:%S")
}

/// With its date: `2026-11-29 21:05:23+01`.
pub fn dated(at: Millis, zone: &TimeZone) -> String {
    shown(at, None, zone, "%H:%M:%S")
}

/// [`local`], to the millisecond.
pub fn precise(at: Millis, now: Millis, zone: &TimeZone) -> String {
    shown(at, Some(now), zone, "%H:%M:%S%.3f")
}

/// To the second, in UTC: for what is read elsewhere than here.
pub fn utc(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(
        |_| UNKNOWN.to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Said of what no calendar has.
const UNKNOWN: &str = "another age";

fn shown(at: Millis, now: Option<Millis>, zone: &TimeZone, of_day: &str) -> String {
    let Ok(at) = Timestamp::from_millisecond(at) else {
        return UNKNOWN.to_owned();
    };
    let civil = zone.to_datetime(at);
    let today = now.and_then(|now| Timestamp::from_millisecond(now).ok());
    let is_today = today.is_some_and(|now| zone.to_datetime(now).date() == civil.date());
    let date = if is_today { "" } else { "%Y-%m-%d " };
    let time = civil.strftime(&format!("{date}{of_day}")).to_string();
    time + &offset(zone.to_offset(at))
}

/// `Z`, `+01`, `-03:30`.
fn offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 784_111_777_042;

    fn zone(minutes: i32) -> TimeZone {
        TimeZone::fixed(jiff::tz::Offset::from_seconds(minutes * 60).unwrap())
    }

    #[test]
    fn times_are_local_with_their_offset_and_dated_only_when_they_must_be() {
        assert_eq!(local(NOW - 60_000, NOW, &zone(120)), "10:48:37+02");
        assert_eq!(
            local(NOW - 86_400_000, NOW, &zone(120)),
            "1994-11-05 10:49:37+02"
        );
        assert_eq!(local(NOW, NOW, &zone(330)), "14:19:37+05:30");
        assert_eq!(local(NOW, NOW, &zone(-210)), "05:19:37-03:30");
        assert_eq!(local(NOW, NOW, &TimeZone::UTC), "08:49:37Z");
        assert_eq!(dated(NOW, &zone(60)), "1994-11-06 09:49:37+01");
        assert_eq!(precise(NOW, NOW, &zone(60)), "09:49:37.042+01");
        assert_eq!(utc(NOW), "1994-11-06T08:49:37Z");
        assert_eq!(dated(Millis::MAX, &TimeZone::UTC), UNKNOWN);
        // The day is that of the zone.
        let late = 784_166_400_000; // 1994-11-07T00:00:00Z
        assert_eq!(local(late, late - 1, &zone(-60)), "23:00:00-01");
    }
}
