//! A moment as people write it: `--since`, `--until`.
//!
//! Invariant: whatever a command shows as a moment is taken here, and is the same one.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::clock::{Clock, Millis};
use crate::config::parse_duration;

/// What is taken, in the words of the error.
const TAKEN: &str = "a time of day like 15:00 (the last one), a date like 2026-01-31, both, as \
                     pinrelay shows them (2026-01-31 15:00:07+01), RFC 3339, `now`, `today`, \
                     `yesterday`, or how long ago: 30m, 2h, -1h, 7d";

/// For clap: by this machine's clock, in its zone.
///
/// # Errors
/// What would be taken.
pub fn moment(text: &str) -> Result<Millis, String> {
    read(text, Clock::system().now(), &TimeZone::system())
}

fn read(text: &str, now: Millis, zone: &TimeZone) -> Result<Millis, String> {
    let text = text.trim();
    ago(text, now)
        .or_else(|| calendar(text, now, zone))
        .ok_or_else(|| TAKEN.to_owned())
}

/// `2h` and `-2h` are the same moment: nothing has happened yet that would be asked for.
fn ago(text: &str, now: Millis) -> Option<Millis> {
    let span = parse_duration(text.strip_prefix('-').unwrap_or(text)).ok()?;
    let span = Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX);
    Some(now.saturating_sub(span))
}

fn calendar(text: &str, now: Millis, zone: &TimeZone) -> Option<Millis> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    let today = in_its_zone(now, zone)?;
    match text {
        "now" => return Some(now),
        "today" => return in_zone(today.into(), zone),
        "yesterday" => return in_zone(today.yesterday().ok()?.into(), zone),
        _ => {}
    }
    let (civil, own_zone) = with_offset(text);
    let zone = own_zone.as_ref().unwrap_or(zone);
    if let Some((date, time)) = civil.split_once(['T', 't', ' ']) {
        let at: DateTime = date_of(date)?.to_datetime(time_of(time.trim_start())?);
        return in_zone(at, zone);
    }
    if own_zone.is_none()
        && let Some(date) = date_of(civil)
    {
        return in_zone(date.into(), zone);
    }
    // The last time that it was so late.
    let time = time_of(civil)?;
    let today = in_its_zone(now, zone)?;
    let at = in_zone(today.to_datetime(time), zone)?;
    match at > now {
        true => in_zone(today.checked_sub(1.day()).ok()?.to_datetime(time), zone),
        false => Some(at),
    }
}

/// The day there.
fn in_its_zone(now: Millis, zone: &TimeZone) -> Option<Date> {
    let now = Timestamp::from_millisecond(now).ok()?;
    Some(zone.to_datetime(now).date())
}

fn in_zone(at: DateTime, zone: &TimeZone) -> Option<Millis> {
    let at = zone.to_timestamp(at).ok()?;
    Some(at.as_millisecond())
}

/// What stands before an offset, and the zone that this means.
fn with_offset(text: &str) -> (&str, Option<TimeZone>) {
    if let Some(civil) = text.strip_suffix(['Z', 'z']) {
        return (civil, Some(TimeZone::UTC));
    }
    // A date has signs of its own: an offset stands behind a time.
    let from = text.find(':').unwrap_or(text.len());
    let Some(at) = text[from..].find(['+', '-']).map(|at| from + at) else {
        return (text, None);
    };
    match offset(&text[at..]) {
        Some(offset) => (text[..at].trim_end(), Some(TimeZone::fixed(offset))),
        None => (text, None),
    }
}

/// `+01`, `+01:30`, `-0130`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "00"),
    };
    let two = |text: &str| match text.len() {
        2 if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<i32>().ok(),
        _ => None,
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|m| *m < 60)?);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn date_of(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// With or without seconds.
fn time_of(text: &str) -> Option<Time> {
    let is_time = text.len() >= 5 && text.as_bytes()[2] == b':';
    let whole = match text.len() {
        5 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    is_time.then(|| whole.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::{dated, local, precise};
    use proptest::prelude::*;

    /// 1994-11-06T08:49:37.042Z.
    const NOW: Millis = 784_111_777_042;

    fn in_berlin(text: &str) -> Option<String> {
        let zone = TimeZone::fixed(Offset::from_seconds(3600).unwrap());
        let at = read(text, NOW, &zone).ok()?;
        Some(Timestamp::from_millisecond(at).unwrap().to_string())
    }

    #[test]
    fn what_people_write_is_taken() {
        for (text, is) in [
            ("08:00", "1994-11-06T07:00:00Z"),
            ("09:49:37", "1994-11-06T08:49:37Z"),
            // Not yet: yesterday's.
            ("15:00", "1994-11-05T14:00:00Z"),
            ("09:49:38", "1994-11-05T08:49:38Z"),
            ("08:49:37Z", "1994-11-06T08:49:37Z"),
            ("08:49:37.042Z", "1994-11-06T08:49:37.042Z"),
            ("07:00+01", "1994-11-06T06:00:00Z"),
            ("1994-11-05", "1994-11-04T23:00:00Z"),
            ("1994-11-05 15:00", "1994-11-05T14:00:00Z"),
            ("1994-11-05T15:00:01", "1994-11-05T14:00:01Z"),
            ("1994-11-05 15:00:01-03:30", "1994-11-05T18:30:01Z"),
            ("1994-11-05T15:00:01+0200", "1994-11-05T13:00:01Z"),
            ("1994-11-05T15:00:01Z", "1994-11-05T15:00:01Z"),
            ("today", "1994-11-05T23:00:00Z"),
            ("yesterday", "1994-11-04T23:00:00Z"),
            ("now", "1994-11-06T08:49:37.042Z"),
            ("2h", "1994-11-06T06:49:37.042Z"),
            ("-2h", "1994-11-06T06:49:37.042Z"),
            (" -30m ", "1994-11-06T08:19:37.042Z"),
            ("7d", "1994-10-30T08:49:37.042Z"),
        ] {
            assert_eq!(in_berlin(text).as_deref(), Some(is), "{text}");
        }
        for bad in [
            "",
            "-",
            "soon",
            "2",
            "25:00",
            "15",
            "15:0",
            "1994-11-05+01",
            "15:00+1",
            "15:00+01:75",
            "1994-13-05",
            "--2h",
            "15:00 1994-11-05",
        ] {
            assert_eq!(in_berlin(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Invariant: what is shown is taken.
        #[test]
        fn what_is_shown_is_taken(
            at in 0..NOW, minutes in -14 * 60..14 * 60i32,
        ) {
            let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
            let to_second = at.div_euclid(1000) * 1000;
            for (shown, is) in [
                (local(at, NOW, &zone), to_second),
                (dated(at, &zone), to_second),
                (precise(at, NOW, &zone), at),
                (crate::moment::utc(at), to_second),
            ] {
                prop_assert_eq!(read(&shown, NOW, &TimeZone::UTC), Ok(is), "{}", shown);
            }
        }
    }
}
