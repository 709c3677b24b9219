//! Moments as clients write them, in whole Unix seconds.

use jiff::civil::Date;
use jiff::tz::Offset;

use super::decimal::Decimal;
use super::number::Number;

/// 2001-01-01T00:00:00Z.
pub const EARLIEST: i64 = 978_307_200;
/// 2100-12-31T23:59:59Z.
pub const LATEST: i64 = 4_133_980_799;

/// A number is taken for milliseconds from here on; as seconds it would be past the year 5000.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// RFC 3339 with an offset, trimmed (Unicode White_Space). A space stands for `T` as well,
/// `t` and `z` for the capitals; a fraction may have any length; second 60 counts as 59.
///
/// Floored to whole seconds. `None`: not of that form, or outside the UTC years 2001 to 2100.
pub fn from_text(text: &str) -> Option<i64> {
    let s = text.trim().as_bytes();
    let (head, mut rest) = s.split_at_checked(19)?;
    let marks = [head[4], head[7], head[13], head[16]];
    if marks != *b"--::" || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = i16::try_from(number(&head[..4])?).ok()?;
    let [month, day, hour, minute, second] = [
        &head[5..7],
        &head[8..10],
        &head[11..13],
        &head[14..16],
        &head[17..],
    ]
    .map(number);
    let date = Date::new(year, small(month?)?, small(day?)?).ok()?;
    let (hour, minute, second) = (hour?, minute?, second?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|d| d.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let midnight = Offset::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .ok()?
        .as_second();
    let second = i64::from(second.min(59));
    in_range(midnight + i64::from(hour) * 3600 + i64::from(minute) * 60 + second - offset)
}

/// Seconds, or milliseconds from 1e11 on, floored to whole seconds.
///
/// `None`: outside the UTC years 2001 to 2100.
pub fn from_number(n: &Number) -> Option<i64> {
    let whole = match n {
        Number::Unsigned(n) => i64::try_from(*n).ok()?,
        Number::Negative(_) => return None,
        Number::Text(text) => whole(Decimal::parse(text)?)?,
    };
    in_range(if whole >= MILLISECONDS_FROM {
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
    Some((0..digits).fold(0, |whole, i| whole * 10 + i64::from(n.digit(i))))
}

fn in_range(seconds: i64) -> Option<i64> {
    (EARLIEST..=LATEST).contains(&seconds).then_some(seconds)
}

fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0, |n, d| {
        d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0'))
    })
}

fn small(n: u16) -> Option<i8> {
    i8::try_from(n).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_number(text: &str) -> Option<i64> {
        from_number(&Number::Text(text))
    }

    #[test]
    fn forms_of_text() {
        const AT: i64 = 1_704_164_645; // 2024-01-02T03:04:05Z
        for good in [
            "2024-01-02T03:04:05Z",
            "2024-01-02t03:04:05z",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04:05.999999999999999999999999Z",
            "2024-01-02T03:04:05.0Z",
            "\u{3000} 2024-01-02T03:04:05+00:00\n",
            "2024-01-02T03:04:05-00:00",
            "2024-01-02T08:34:05+05:30",
            "2024-01-01T15:04:05-12:00",
            "2024-01-03T03:03:05+23:59",
        ] {
            assert_eq!(from_text(good), Some(AT), "{good}");
        }
        assert_eq!(from_text("2024-01-02T03:04:60Z"), Some(AT + 54));
        assert_eq!(from_text("2024-01-02T03:04:60.7Z"), Some(AT + 54));
        assert!(from_text("2024-02-29T00:00:00Z").is_some());
        assert!(
            from_text("2000-12-31T23:59:59-00:01").is_some(),
            "in UTC it is 2001"
        );
        for bad in [
            "",
            "2024-01-02",
            "2024-01-02T03:04:05",
            "2024-01-02T03:04Z",
            "2024-01-02T03:04:05 Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05,5Z",
            "2024-01-02T03:04:05+0530",
            "2024-01-02T03:04:05+05",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05+05:60",
            "2024-01-02T03:04:05UTC",
            "2024-01-02T03:04:05Z[UTC]",
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
            "２024-01-02T03:04:05Z",
            "20240102T030405Z",
            "1704164645",
        ] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
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
            for at in [from_text(&text), from_text(&near)].into_iter().flatten() {
                prop_assert!((EARLIEST..=LATEST).contains(&at));
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
