//! What the headers of Pinterest's answers say.

use std::time::Duration;

use crate::clock::Millis;
use crate::deliver::destination::Signals;

/// Reads what can be read; a header that makes no sense is as good as none.
pub fn signals<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Signals {
    let date = header("date").and_then(http_date);
    let retry_after = header("retry-after").and_then(|text| {
        seconds(text).or_else(|| {
            let wait = http_date(text)?.saturating_sub(date?);
            Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
        })
    });
    Signals {
        date,
        retry_after,
        remaining: header("x-ratelimit-remaining").and_then(leading_number),
        reset: header("x-ratelimit-reset").and_then(seconds),
    }
}

/// The number in front: `120000` of `120000, 120000;w=60;name="…"`.
fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

fn seconds(text: &str) -> Option<Duration> {
    leading_number(text).map(Duration::from_secs)
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
        signals(|name| {
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
        assert_eq!(signals.reset, Some(Duration::from_secs(42)));
        assert_eq!(signals.retry_after, Some(Duration::from_secs(30)));
        let plain = read(&[("retry-after", "7")]);
        assert_eq!(plain.retry_after, Some(Duration::from_secs(7)));
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
