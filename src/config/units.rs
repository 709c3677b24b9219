//! Durations (`"7d"`, `"200ms"`) and sizes (`"8GiB"`, `262144`) as the config writes them.

use std::time::Duration;

const DURATIONS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A whole number and a unit.
///
/// # Errors
/// What is expected instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a whole number with one of ms, s, m, h, d, w, like \"200ms\"".to_owned();
    let (number, unit) = split(text).ok_or_else(expected)?;
    let (_, factor) = DURATIONS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(expected)?;
    let millis = number.checked_mul(*factor).ok_or_else(expected)?;
    Ok(Duration::from_millis(millis))
}

/// A whole number of bytes, or one with a binary unit.
///
/// # Errors
/// What is expected instead.
pub fn size(text: &str) -> Result<u64, String> {
    let expected =
        || "a whole number of bytes, or one with KiB, MiB, GiB or TiB, like \"2MiB\"".to_owned();
    let (number, unit) = split(text).ok_or_else(expected)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, factor) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(expected)?;
    number.checked_mul(*factor).ok_or_else(expected)
}

/// The digits in front as a number, and what follows them, without blanks between.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

/// A duration in the largest unit that is whole.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &DURATIONS, "0s")
}

/// A size in the largest unit that is whole.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "0")
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    units
        .iter()
        // Weeks are read, but days are what one thinks in.
        .filter(|(unit, _)| *unit != "w")
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .map_or_else(
            || zero.to_owned(),
            |(unit, factor)| format!("{}{unit}", value / factor),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [
            ("7d", 7 * 86_400_000),
            ("200ms", 200),
            ("5m", 300_000),
            ("0s", 0),
            (" 1 h ", 3_600_000),
            ("2w", 14 * 86_400_000),
        ];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "7",
            "d",
            "-1s",
            "1.5h",
            "1h30m",
            "7D",
            "7 days",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣s",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        let good = [
            ("262144", 262_144),
            ("8GiB", 8 << 30),
            ("256 MiB", 256 << 20),
            ("0", 0),
            ("7B", 7),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "8GB", "8gib", "1.5MiB", "-1", "16777216TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_as_they_are_read() {
        for text in ["7d", "200ms", "90s", "36h", "0s"] {
            assert_eq!(duration(text).map(show_duration), Ok(text.into()));
        }
        for text in ["8GiB", "1MiB", "1025B", "0"] {
            assert_eq!(size(text).map(show_size), Ok(text.into()));
        }
    }
}
