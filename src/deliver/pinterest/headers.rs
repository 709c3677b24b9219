//! What the headers of Pinterest's answers say.

use std::time::Duration;

use crate::clock::Millis;
use crate::deliver::destination::Signals;

/// From here on a number is a moment in Unix seconds (2001), and in milliseconds (likewise).
const SECONDS: u64 = 1_000_000_000;
const MILLIS: u64 = 1_000_000_000_000;

/// Reads what can be read; a header that makes no sense is as good as none.
///
/// `now`: the wall clock of this machine, which moments are measured from where the answer does not
/// say what time it is there.
pub fn signals<'a>(now: Millis, header: impl Fn(&str) -> Option<&'a str>) -> Signals {
    let date = header("date").and_then(http_date);
    let until = |moment: Millis| {
        let wait = moment.saturating_sub(date.unwrap_or(now));
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    };
    let retry_after = header("retry-after")
        .and_then(|text| wait(text, until).or_else(|| http_date(text).map(until)));
    Signals {
        date,
        retry_after,
        per_minute: header("x-ratelimit-limit").and_then(per_minute),
        remaining: header("x-ratelimit-remaining").and_then(leading_number),
        reset: header("x-ratelimit-reset").and_then(|text| wait(text, until)),
    }
}

/// The number in front: `120000` of `120000, 120000;w=60;name="…"`.
fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// The limit whose window is a minute, as Pinterest's are: `120000` of
/// `120000, 120000;w=60;name="…"`. Where only other windows are told, the least of them brought to a
/// minute; without any the number in front, taken for a minute's.
fn per_minute(text: &str) -> Option<u32> {
    let limit = |policy: &str| {
        let mut parts = policy.split(';').map(str::trim);
        let calls = leading_number(parts.next()?)?;
        let window = parts.find_map(|part| part.strip_prefix("w=").and_then(leading_number));
        Some((calls, window.filter(|window| *window > 0)))
    };
    let limits: Vec<_> = unquoted(text).split(',').filter_map(limit).collect();
    let in_windows = || {
        limits
            .iter()
            .filter_map(|(calls, window)| Some((*calls, (*window)?)))
    };
    let of_a_minute = in_windows().find(|(_, window)| *window == 60);
    let brought = in_windows().map(|(calls, window)| (calls.saturating_mul(60) / window).max(1));
    let calls = of_a_minute
        .map(|(calls, _)| calls)
        .or_else(|| brought.min())
        .or_else(|| limits.first().map(|(calls, _)| *calls))?;
    // None at all is said by what remains; as a limit it would end delivery for good.
    u32::try_from(calls).ok().filter(|calls| *calls > 0)
}

/// A header without what stands in quotes: a name may hold any sign.
fn unquoted(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

/// Seconds to wait, or a moment in Unix seconds or milliseconds: which of these is told by its size.
fn wait(text: &str, until: impl Fn(Millis) -> Duration) -> Option<Duration> {
    let number = leading_number(text)?;
    Some(match (number, i64::try_from(number)) {
        (MILLIS.., Ok(moment)) => until(moment),
        (SECONDS..MILLIS, Ok(moment)) => until(moment.saturating_mul(1000)),
        _ => Duration::from_secs(number),
    })
}

fn http_date(text: &str) -> Option<Millis> {
    let stamp = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text.trim())
        .ok()?;
    Some(stamp.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &'static str)]) -> Signals {
        signals(784_111_777_000, |name| {
            let found = headers.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn the_live_headers_are_read() {
        let signals = read(&[
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("x-ratelimit-remaining", "119999, 7;w=60"),
            ("x-ratelimit-reset", "42"),
            ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
        ]);
        assert_eq!(signals.date, Some(784_111_777_000));
        assert_eq!(signals.remaining, Some(119_999));
        assert_eq!(signals.per_minute, None);
        assert_eq!(signals.reset, Some(Duration::from_secs(42)));
        assert_eq!(signals.retry_after, Some(Duration::from_secs(30)));
        let plain = read(&[("retry-after", "7")]);
        assert_eq!(plain.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_limit_is_brought_to_a_minute() {
        for (text, calls) in [
            (
                "120000, 120000;w=60;name=\"ads_conversions_ad_account_id\"",
                Some(120_000),
            ),
            ("5000", Some(5000)),
            ("100, 100;w=1", Some(6000)),
            ("10, 10;w=1;name=\"a\", 300;w=60", Some(300)),
            ("1000, 1;w=1;name=\"s\", 1000;w=60", Some(1000)),
            ("120000;w=60;name=\"a, 5;w=3600\"", Some(120_000)),
            ("30;w=3600, 100;w=1", Some(1)),
            ("7, 36000;name=\"x\"; w=3600", Some(600)),
            ("99999999999, 99999999999;w=60", None),
            ("0, 0;w=60", None),
            ("3, 3;w=0", Some(3)),
            ("many", None),
        ] {
            let read = signals(0, |name| (name == "x-ratelimit-limit").then_some(text));
            assert_eq!(read.per_minute, calls, "{text}");
        }
    }

    /// A moment was taken for a wait of half a century, and delivery stopped for an hour each time.
    #[test]
    fn a_moment_is_understood_as_one() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (reset, seconds) in [
            ("784111807", 784_111_807),
            ("1790000030", 30),
            ("1790000030000", 30),
            ("1789999970", 0),
            ("600", 600),
        ] {
            let wall = 1_790_000_000_000;
            let read = signals(wall, |name| (name == "x-ratelimit-reset").then_some(reset));
            let dateless = Some(Duration::from_secs(seconds));
            assert_eq!(read.reset, dateless, "{reset}");
        }
        let dated = read(&[date, ("x-ratelimit-reset", "1784111807")]);
        assert_eq!(dated.reset, Some(Duration::from_secs(1_000_000_030)));
        let later = read(&[date, ("retry-after", "1784111807")]);
        assert_eq!(later.retry_after, dated.reset);
    }

    #[test]
    fn nonsense_is_as_good_as_none() {
        let signals = read(&[
            ("date", "yesterday"),
            ("x-ratelimit-remaining", "-"),
            ("x-ratelimit-reset", "99999999999999999999999"),
            ("retry-after", "soon"),
        ]);
        assert_eq!(signals, Signals::default());
    }
}
