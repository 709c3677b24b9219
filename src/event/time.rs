//! Moments as clients write them, in whole Unix seconds, and which of an event's four counts.
//!
//! Invariant: what is read here is what `mapping.md` ("event_time") lists, and no more. Where no
//! machine can know what was meant, nothing is read.

use jiff::fmt::rfc2822;

use super::decimal::Decimal;
use super::number::Number;

/// 2001-01-01T00:00:00Z.
pub const EARLIEST: i64 = 978_307_200;
/// 2100-12-31T23:59:59Z.
pub const LATEST: i64 = 4_133_980_799;

/// A number is taken for milliseconds from here on; as seconds it would be past the year 5000.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// So many seconds after its acceptance an event may be said to have happened: clocks differ.
const AHEAD: i64 = 600;
/// No RFC 2822 date, its comments included, has to be longer.
const LONGEST_DATE: usize = 128;

const MAIL: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();

/// Where an event says when it happened, by precedence. The last two count only where neither of
/// the first two is there to be read wrongly: when an event was sent is not when it happened.
pub const PATHS: [&str; 4] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt"];

/// A moment that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix seconds.
    pub seconds: i64,
    /// It was written without a zone.
    pub assumed_utc: bool,
}

/// What stands at one of [`PATHS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing.
    Missing,
    /// Something that is no moment.
    Unreadable,
    /// A moment.
    At(Moment),
}

/// What is to be told of one of [`PATHS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// It is there and no moment.
    Unreadable,
    /// It is ahead of the event's acceptance by more than clocks differ.
    Future,
    /// It counts, without a zone.
    AssumedUtc,
}

/// Which moment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one at this index of [`PATHS`], in Unix seconds.
    Of(usize, i64),
    /// None is there but such as are ahead: the moment of acceptance.
    Accepted,
    /// None can be told: one that came to count is unreadable.
    Unreadable,
}

/// Chooses among what `read` finds at each of [`PATHS`], asked in order and only for as long as
/// it matters; `accepted` in Unix seconds. What is odd about those that were asked for is told.
pub fn choose(
    accepted: i64,
    mut read: impl FnMut(usize) -> Reading,
    mut tell: impl FnMut(usize, Odd),
) -> Choice {
    let mut is_unreadable = false;
    for at in 0..PATHS.len() {
        if at == 2 && is_unreadable {
            break;
        }
        match read(at) {
            Reading::Missing => {}
            Reading::Unreadable => {
                is_unreadable = true;
                tell(at, Odd::Unreadable);
            }
            Reading::At(moment) if moment.seconds > accepted.saturating_add(AHEAD) => {
                tell(at, Odd::Future);
            }
            Reading::At(moment) => {
                if moment.assumed_utc {
                    tell(at, Odd::AssumedUtc);
                }
                return Choice::Of(at, moment.seconds);
            }
        }
    }
    match is_unreadable {
        true => Choice::Unreadable,
        false => Choice::Accepted,
    }
}

impl Choice {
    /// The event's time as it is fixed at acceptance. Where none can be told it is the moment of
    /// acceptance, which goes out only if the config says so.
    pub fn or_accepted(self, accepted: i64) -> i64 {
        match self {
            Self::Of(_, seconds) => seconds,
            Self::Accepted | Self::Unreadable => accepted,
        }
    }
}

/// A text: a date and time of ISO 8601's extended format, a bare date, an RFC 2822 date with a
/// numeric zone or one of UTC's names, or Unix time in digits. Trimmed (Unicode White_Space),
/// floored to whole seconds.
///
/// A blank stands for `T` as well, small letters for capitals, a comma for the point of a fraction,
/// which may have any length; second 60 counts as 59. Without a zone it is UTC.
pub fn from_text(text: &str) -> Reading {
    let text = text.trim();
    if text.is_empty() {
        return Reading::Missing;
    }
    match iso(text.as_bytes())
        .or_else(|| unix(text))
        .or_else(|| mail(text))
    {
        Some(moment) => Reading::At(moment),
        None => Reading::Unreadable,
    }
}

fn iso(s: &[u8]) -> Option<Moment> {
    let (head, rest) = s.split_at_checked(10)?;
    if [head[4], head[7]] != *b"--" {
        return None;
    }
    let year = number(&head[..4])?;
    let (month, day) = (number(&head[5..7])?, number(&head[8..10])?);
    let midnight = days(year, month, day)? * 86_400;
    let rest = match rest {
        [] => return moment(midnight, true),
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return None,
    };
    let [h1, h2, b':', m1, m2, rest @ ..] = rest else {
        return None;
    };
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number(&[*s1, *s2])?, fraction(rest)?),
        rest => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (offset, rest) = match rest {
        [b'Z' | b'z', rest @ ..] => (Some(0), rest),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (offset, rest) = offset(rest)?;
            (Some(if *sign == b'-' { -offset } else { offset }), rest)
        }
        rest => (None, rest),
    };
    // The offset counts, whatever zone it is said to be of.
    let is_zone = |zone: &[u8]| !zone.is_empty() && !zone.iter().any(|b| matches!(b, b'[' | b']'));
    match (rest, offset) {
        ([], _) => {}
        ([b'[', zone @ .., b']'], Some(_)) if is_zone(zone) => {}
        _ => return None,
    }
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
    moment(midnight + of_day - offset.unwrap_or(0), offset.is_none())
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None`: there is no such date.
fn days(year: u16, month: u16, day: u16) -> Option<i64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u16::from(is_leap),
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the leap day ends one: all months before the last two of
    // such a year take 153 days in five.
    let (year, month) = match month {
        ..3 => (i64::from(year) - 1, month + 9),
        _ => (i64::from(year), month - 3),
    };
    let of_year = i64::from((153 * month + 2) / 5 + day - 1);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + of_year - 719_468)
}

/// What stands behind a fraction of a second, if there is one.
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let [b'.' | b',', digits @ ..] = rest else {
        return Some(rest);
    };
    let length = digits.iter().take_while(|d| d.is_ascii_digit()).count();
    (length > 0).then(|| &digits[length..])
}

/// The seconds of `hh`, `hhmm` or `hh:mm`, and what stands behind it.
fn offset(digits: &[u8]) -> Option<(i64, &[u8])> {
    let (hours, minutes, rest) = match digits {
        [h1, h2, b':', m1, m2, rest @ ..] => (number(&[*h1, *h2])?, number(&[*m1, *m2])?, rest),
        [h1, h2, m1, m2, rest @ ..] if m1.is_ascii_digit() => {
            (number(&[*h1, *h2])?, number(&[*m1, *m2])?, rest)
        }
        [h1, h2, rest @ ..] => (number(&[*h1, *h2])?, 0, rest),
        _ => return None,
    };
    let is_one = hours <= 23 && minutes <= 59;
    is_one.then_some((i64::from(hours) * 3600 + i64::from(minutes) * 60, rest))
}

/// Unix time in digits, with or without a fraction.
fn unix(text: &str) -> Option<Moment> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_plain = match text.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(text),
    };
    let seconds = is_plain.then(|| of_unix(Decimal::parse(text)?))??;
    moment(seconds, false)
}

/// An RFC 2822 date. Of zones by their names only those of UTC are read: of the others the RFC
/// itself says that nobody can know.
fn mail(text: &str) -> Option<Moment> {
    if text.len() > LONGEST_DATE {
        return None;
    }
    let date = text.split('(').next().unwrap_or(text);
    let zone = date.split_ascii_whitespace().next_back()?;
    let is_numeric = match zone.as_bytes() {
        [b'+' | b'-', digits @ ..] if digits.len() == 4 => offset(digits).is_some(),
        _ => false,
    };
    let is_utc = || {
        ["GMT", "UT", "UTC"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(zone))
    };
    if !is_numeric && !is_utc() {
        return None;
    }
    let at = MAIL.parse_timestamp(text).ok()?;
    moment(at.as_second(), false)
}

fn moment(seconds: i64, assumed_utc: bool) -> Option<Moment> {
    Some(Moment {
        seconds: in_range(seconds)?,
        assumed_utc,
    })
}

/// A number: Unix seconds, or milliseconds from 1e11 on, floored to whole seconds.
pub fn from_number(n: &Number<'_>) -> Reading {
    match n.with_decimal(of_unix).and_then(|at| moment(at, false)) {
        Some(moment) => Reading::At(moment),
        None => Reading::Unreadable,
    }
}

fn of_unix(n: Decimal<'_>) -> Option<i64> {
    let whole = whole(n)?;
    Some(if whole >= MILLISECONDS_FROM {
        whole / 1000
    } else {
        whole
    })
}

/// The whole part of a positive decimal below 10^18.
fn whole(n: Decimal<'_>) -> Option<i64> {
    if n.is_negative() || n.point() > 18 {
        return None;
    }
    let digits = usize::try_from(n.point()).unwrap_or(0);
    n.leading(digits)?.try_into().ok()
}

fn in_range(seconds: i64) -> Option<i64> {
    (EARLIEST..=LATEST).contains(&seconds).then_some(seconds)
}

fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |n, d| {
        d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::Offset;
    use proptest::prelude::*;

    /// The seconds, if it is read and says its zone.
    fn seconds(reading: Reading) -> Option<i64> {
        match reading {
            Reading::At(moment) if !moment.assumed_utc => Some(moment.seconds),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<i64> {
        seconds(super::from_text(text))
    }

    fn from_number(n: &Number<'_>) -> Option<i64> {
        seconds(super::from_number(n))
    }

    fn text_number(text: &str) -> Option<i64> {
        from_number(&Number::Text(text))
    }

    const AT: i64 = 1_704_164_645; // 2024-01-02T03:04:05Z

    #[test]
    fn forms_of_text() {
        for good in [
            "2024-01-02T03:04:05Z",
            "2024-01-02t03:04:05z",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04:05.999999999999999999999999Z",
            "2024-01-02T03:04:05.0Z",
            "2024-01-02T03:04:05,5Z",
            "\u{3000} 2024-01-02T03:04:05+00:00\n",
            "2024-01-02T03:04:05-00:00",
            "2024-01-02T08:34:05+05:30",
            "2024-01-02T08:34:05+0530",
            "2024-01-02T08:34:05.25+0530",
            "2024-01-02T08:04:05+05",
            "2024-01-01T15:04:05-12",
            "2024-01-01T15:04:05-12:00",
            "2024-01-03T03:03:05+23:59",
            "2024-01-02T03:04:05Z[UTC]",
            "2024-01-02T04:04:05+01:00[Europe/Berlin]",
            "2024-01-02T04:04:05+01[America/New_York]",
            "1704164645",
            " 1704164645.999 ",
            "1704164645999",
            "Tue, 02 Jan 2024 03:04:05 +0000",
            "tue, 2 jan 2024 03:04:05 gmt",
            "2 Jan 2024 03:04:05 UT",
            "Tue, 02 Jan 2024 04:04:05 +0100 (CET)",
            "Tue, 02 Jan 2024 03:04:05 UTC",
            "Tue, 02 Jan 2024 03:04:05 -0000",
        ] {
            assert_eq!(from_text(good), Some(AT), "{good}");
        }
        let minute = AT - 5;
        for good in [
            "2024-01-02T03:04Z",
            "2024-01-02 04:04+01:00",
            "2 Jan 2024 03:04 GMT",
        ] {
            assert_eq!(from_text(good), Some(minute), "{good}");
        }
        assert_eq!(from_text("2024-01-02T03:04:60Z"), Some(AT + 54));
        assert_eq!(from_text("2024-01-02T03:04:60.7Z"), Some(AT + 54));
        assert!(from_text("2024-02-29T00:00:00Z").is_some());
        assert!(
            from_text("2000-12-31T23:59:59-00:01").is_some(),
            "in UTC it is 2001"
        );
        for missing in ["", " \u{3000}"] {
            assert_eq!(super::from_text(missing), Reading::Missing);
        }
        for bad in [
            "2024-01-02T03Z",
            "2024-01-02T03",
            "2024-01-02Z",
            "2024-01-02T",
            "2024-01-02T03:04.5Z",
            "2024-01-02T03:04:05 Z",
            "2024-01-02T03:04:05 +00:00",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05,",
            "2024-01-02T03:04:05+5",
            "2024-01-02T03:04:05+053",
            "2024-01-02T03:04:05+05300",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05+05:60",
            "2024-01-02T03:04:05UTC",
            "2024-01-02T03:04:05[UTC]",
            "2024-01-02T03:04:05Z[]",
            "2024-01-02T03:04:05Z[UTC",
            "2024-01-02T03:04:05Z[UTC]x",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:60:05Z",
            "2024-01-02T03:04:61Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-1-2T03:04:05Z",
            "+2024-01-02T03:04:05Z",
            "2024/01/02T03:04:05Z",
            "2024-01-02_03:04:05Z",
            "2024-01-02  03:04:05Z",
            "２024-01-02T03:04:05Z",
            "20240102T030405Z",
            "20240102",
            "01/02/2024",
            "01/02/2024 03:04",
            "yesterday",
            "now",
            "1704164645.",
            ".5",
            "+1704164645",
            "-1704164645",
            "1.704164645e9",
            "1,704,164,645",
            "Tue, 02 Jan 2024 03:04:05",
            "Tue, 02 Jan 2024 03:04:05 EST",
            "Tue, 02 Jan 2024 03:04:05 Z",
            "Tue, 02 Jan 2024 03:04:05 CET",
            "Wed, 02 Jan 2024 03:04:05 GMT",
            "Tue Jan 02 2024 03:04:05 GMT+0000 (Coordinated Universal Time)",
            "Tue, 02 Jan 2024 24:04:05 GMT",
            "Tue, 02 Jan 2024 03:04:05 +2400",
            "Tue, 02 Jan 2024 03:04:05 +0160",
            "Tue, 02 Jan 2024 03:04:05 +01",
            "Tue, 02 Jan 2024 03:04:05 +01:00",
        ] {
            assert_eq!(super::from_text(bad), Reading::Unreadable, "{bad}");
        }
    }

    #[test]
    fn without_a_zone_it_is_utc_and_said() {
        let day = AT - (3 * 3600 + 4 * 60 + 5);
        for (text, seconds) in [
            ("2024-01-02T03:04:05", AT),
            ("2024-01-02 03:04:05.898", AT),
            ("2024-01-02 03:04", AT - 5),
            (" 2024-01-02 ", day),
        ] {
            let assumed = Reading::At(Moment {
                seconds,
                assumed_utc: true,
            });
            assert_eq!(super::from_text(text), assumed, "{text}");
        }
    }

    /// What counts of four, and what is told of them.
    fn chosen(four: [&str; 4]) -> (Choice, Vec<(usize, Odd)>) {
        let mut told = Vec::new();
        let choice = choose(
            AT,
            |at| super::from_text(four[at]),
            |at, odd| told.push((at, odd)),
        );
        (choice, told)
    }

    #[test]
    fn when_it_was_sent_counts_only_where_nothing_before_is_unreadable() {
        use Odd::{AssumedUtc, Future, Unreadable};
        let (before, now) = ("1704164000", "1704164645");
        let (edge, ahead) = ("1704165245", "2024-01-02T03:14:06");
        for (four, choice, told) in [
            (
                [before, now, now, now],
                Choice::Of(0, 1_704_164_000),
                vec![],
            ),
            ([edge, "", "", ""], Choice::Of(0, AT + 600), vec![]),
            (["", "", "", ""], Choice::Accepted, vec![]),
            (
                ["x", before, "x", "x"],
                Choice::Of(1, 1_704_164_000),
                vec![(0, Unreadable)],
            ),
            (
                ["x", "", now, now],
                Choice::Unreadable,
                vec![(0, Unreadable)],
            ),
            (
                ["", "x", now, now],
                Choice::Unreadable,
                vec![(1, Unreadable)],
            ),
            (
                [ahead, "x", now, now],
                Choice::Unreadable,
                vec![(0, Future), (1, Unreadable)],
            ),
            (
                [ahead, ahead, "x", now],
                Choice::Of(3, AT),
                vec![(0, Future), (1, Future), (2, Unreadable)],
            ),
            (["", "", "x", ""], Choice::Unreadable, vec![(2, Unreadable)]),
            (
                [ahead, "", ahead, ahead],
                Choice::Accepted,
                vec![(0, Future), (2, Future), (3, Future)],
            ),
            (
                ["2024-01-02", "", "", ""],
                Choice::Of(0, 1_704_153_600),
                vec![(0, AssumedUtc)],
            ),
        ] {
            assert_eq!(chosen(four), (choice, told), "{four:?}");
        }
        assert_eq!(Choice::Of(0, 7).or_accepted(9), 7);
        assert_eq!(Choice::Unreadable.or_accepted(9), 9);
    }

    #[test]
    fn the_years_2001_to_2100() {
        assert_eq!(from_text("2001-01-01T00:00:00Z"), Some(EARLIEST));
        assert_eq!(from_text("2000-12-31T23:59:59.999Z"), None);
        assert_eq!(from_text("2100-12-31T23:59:59.999Z"), Some(LATEST));
        assert_eq!(from_text("2100-12-31T23:59:60Z"), Some(LATEST));
        assert_eq!(from_text("2101-01-01T00:00:00Z"), None);
        assert_eq!(from_text("2101-01-01T00:00:00+00:01"), Some(LATEST - 59));
        assert_eq!(from_text("2001-01-01T00:00:00+00:01"), None);
        for bad in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_of_any_magnitude() {
        assert_eq!(
            from_number(&Number::Unsigned(1_700_000_000)),
            Some(1_700_000_000)
        );
        assert_eq!(
            from_number(&Number::Unsigned(1_700_000_000_999)),
            Some(1_700_000_000)
        );
        assert_eq!(from_number(&Number::Unsigned(978_307_199)), None);
        assert_eq!(from_number(&Number::Unsigned(978_307_199_999)), None);
        assert_eq!(
            from_number(&Number::Unsigned(978_307_200_000)),
            Some(EARLIEST)
        );
        assert_eq!(from_number(&Number::Unsigned(100_000_000_000)), None);
        assert_eq!(from_number(&Number::Unsigned(u64::MAX)), None);
        assert_eq!(from_number(&Number::Negative(-1_700_000_000)), None);
        for (text, expected) in [
            ("1700000000.999", Some(1_700_000_000)),
            ("1700000000999.9", Some(1_700_000_000)),
            ("1.7e9", Some(1_700_000_000)),
            ("1.7e+12", Some(1_700_000_000)),
            ("17000000000000000000000e-13", Some(1_700_000_000)),
            ("4133980799.9999", Some(LATEST)),
            ("4133980799999.9", Some(LATEST)),
            ("4133980800.0", None),
            ("0.0", None),
            ("-0", None),
            ("-1.7e9", None),
            ("1e400", None),
            ("1e99999999999999999999", None),
            ("1e-400", None),
            ("1700000000000000000000", None),
        ] {
            assert_eq!(text_number(text), expected, "{text}");
        }
    }

    /// Every day of the years that are read, and of those before and after.
    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let mut date = jiff::civil::date(1999, 1, 1);
        let mut due = Offset::UTC
            .to_timestamp(date.at(0, 0, 0, 0))
            .unwrap()
            .as_second()
            / 86_400;
        while date.year() < 2110 {
            let [month, day] = [date.month(), date.day()]
                .map(i8::unsigned_abs)
                .map(u16::from);
            let year = date.year().unsigned_abs();
            assert_eq!(days(year, month, day), Some(due), "{date}");
            (date, due) = (date.tomorrow().unwrap(), due + 1);
            if date.month().unsigned_abs() != u8::try_from(month).unwrap() {
                assert_eq!(days(year, month, day + 1), None, "{year}-{month}");
            }
        }
        assert_eq!(
            (days(2024, 0, 1), days(2024, 13, 1), days(2024, 1, 0)),
            (None, None, None)
        );
    }

    proptest! {
        #[test]
        fn reads_what_jiff_writes(
            at in EARLIEST..=LATEST,
            fraction in "(\\.[0-9]{1,30})?",
            minutes in -1439i64..=1439,
            separator in prop::sample::select(vec!['T', 't', ' ']),
        ) {
            let local = jiff::Timestamp::from_second(at + minutes * 60).unwrap();
            let local = Offset::UTC.to_datetime(local);
            let (sign, m) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            let text = format!(
                "{}{separator}{}{fraction}{sign}{:02}:{:02}",
                local.date(), local.time(), m / 60, m % 60
            );
            prop_assert_eq!(from_text(&text), Some(at), "{}", text);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in any::<String>(), near in "[0-9TtZz:.+ -]{15,30}") {
            for reading in [super::from_text(&text), super::from_text(&near)] {
                if let Reading::At(moment) = reading {
                    prop_assert!((EARLIEST..=LATEST).contains(&moment.seconds));
                }
            }
        }

        #[test]
        fn a_number_means_the_same_in_every_spelling(at in EARLIEST..=LATEST, digits in 0usize..12, below in 0u32..1000) {
            let zeros = "0".repeat(digits);
            prop_assert_eq!(text_number(&format!("{at}.{below:03}{zeros}")), Some(at));
            prop_assert_eq!(text_number(&format!("{at}{below:03}{zeros}e-{digits}")), Some(at));
            prop_assert_eq!(text_number(&format!("{at}{zeros}e-{digits}")), Some(at));
        }
    }
}
