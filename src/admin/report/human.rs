//! Numbers and spans for people.

use crate::clock::Millis;

/// With a comma every three digits: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In the largest unit that leaves at least one: `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    // What would be rounded to 1024.0 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let shown = format!("{value:.1}");
    let shown = shown.strip_suffix(".0").unwrap_or(&shown);
    format!("{shown} {}", UNITS[unit])
}

/// Events a second.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 100.0 => count(rate.round() as u64),
        rate => format!("{rate:.1}"),
    }
}

/// Two units at most: `3 d 4 h`, `2 min 5 s`. Negative ones are 0 s.
pub fn duration(millis: Millis) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let seconds = millis.max(0) / 1000;
    let Some(at) = UNITS.iter().position(|(length, _)| seconds >= *length) else {
        return "0 s".to_owned();
    };
    let (length, unit) = UNITS[at];
    let mut text = format!("{} {unit}", seconds / length);
    if let Some((next, unit)) = UNITS.get(at + 1) {
        let rest = seconds % length / next;
        if rest > 0 {
            text.push_str(&format!(" {rest} {unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let counts = [0, 7, 999, 1000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "7", "999", "1,000", "1,234,567"]);
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 8 << 30].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "8 GiB"]
        );
        let rates = [0.0, 0.04, 9.96, 99.94, 1234.5].map(rate);
        assert_eq!(rates, ["0.0", "0.0", "10.0", "99.9", "1,235"]);
        let lengths = [-5, 999, 59_000, 60_000, 3_725_000, 86_400_000, 273_600_000].map(duration);
        assert_eq!(
            lengths,
            ["0 s", "0 s", "59 s", "1 min", "1 h 2 min", "1 d", "3 d 4 h"]
        );
    }
}
