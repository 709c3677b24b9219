//! Amounts and counts by decimal arithmetic: no double ever touches them.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use crate::event::{Decimal, Node};

/// Millionths in one.
const ONE: i128 = 1_000_000;
/// The digits before the point that a magnitude below 1e12 has.
const INTEGER_DIGITS: i64 = 12;
/// The digits kept behind the point.
const DECIMALS: i64 = 6;
/// A sum from here on is absent.
const SUM_LIMIT: i128 = 1_000_000_000_000 * ONE;
/// The largest integer that Pinterest's schema is given.
const MAX_INTEGER: i128 = 2_147_483_647;

/// A decimal number in millionths; at most 1e12 (what was given was below, rounding may reach
/// it). Serialized as a string without exponent or trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(i128);

impl Micros {
    pub(super) const ONE: Self = Self(ONE);

    /// Rounds half-even to 6 decimals. `None` from a magnitude of 1e12 on, judged as given.
    fn new(n: Decimal<'_>) -> Option<Self> {
        if n.is_zero() {
            return Some(Self(0));
        }
        if n.point() > INTEGER_DIGITS {
            return None;
        }
        let Ok(kept) = usize::try_from(n.point() + DECIMALS) else {
            return Some(Self(0)); // below a tenth of a millionth
        };
        let whole = (0..kept).fold(0i128, |whole, i| whole * 10 + i128::from(n.digit(i)));
        let up = match n.digit(kept) {
            0..=4 => false,
            5 => n.len() > kept + 1 || whole % 2 == 1,
            _ => true,
        };
        let magnitude = whole + i128::from(up);
        Some(Self(if n.is_negative() {
            -magnitude
        } else {
            magnitude
        }))
    }
}

/// A *number*: a JSON number, or a string that is one.
fn number(node: &Node<'_>) -> Option<Micros> {
    match node {
        Node::Number(n) => n.with_decimal(Micros::new),
        Node::String(s) => Decimal::parse(s.trim()).and_then(Micros::new),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => None,
    }
}

/// An *amount*: a number that is not negative after rounding.
pub(super) fn amount(node: &Node<'_>) -> Option<Micros> {
    number(node).filter(|n| n.0 >= 0)
}

/// An *integer*: a number that is whole after rounding, from 0 to 2147483647.
pub(super) fn integer(node: &Node<'_>) -> Option<u32> {
    number(node)
        .filter(|n| n.0 % ONE == 0 && (0..=MAX_INTEGER).contains(&(n.0 / ONE)))
        .and_then(|n| u32::try_from(n.0 / ONE).ok())
}

/// The sum of the products of each pair (no pairs: absent), exact until it is rounded at the
/// end. `None` from 1e12 on.
pub(super) fn sum_of_products(pairs: impl Iterator<Item = (Micros, Micros)>) -> Option<Micros> {
    // Each product is at most 1e36, in units of 1e-12. All are amounts, so a sum that would
    // leave i128 stays at its end, far beyond the limit.
    let sum = pairs
        .map(|(price, quantity)| price.0 * quantity.0)
        .reduce(i128::saturating_add)?;
    let (whole, rest) = (sum / ONE, sum % ONE);
    let up = rest * 2 > ONE || (rest * 2 == ONE && whole % 2 == 1);
    let rounded = whole + i128::from(up);
    (rounded < SUM_LIMIT).then_some(Micros(rounded))
}

/// The sum of integers (none: absent). `None` above 2147483647.
pub(super) fn sum_of_integers(integers: impl Iterator<Item = u32>) -> Option<u32> {
    integers
        .map(u64::from)
        .reduce(u64::saturating_add)
        .filter(|sum| i128::from(*sum) <= MAX_INTEGER)
        .and_then(|sum| u32::try_from(sum).ok())
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        // Fits: the magnitude is at most 1e18.
        let magnitude = self.0.unsigned_abs() as u64;
        let (whole, mut fraction) = (magnitude / 1_000_000, magnitude % 1_000_000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let mut width = DECIMALS as usize;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        write!(f, "{whole}.{fraction:0width$}")
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};
    use proptest::prelude::*;

    fn read<T>(json: &str, f: impl Fn(&Node<'_>) -> Option<T>) -> Option<T> {
        parse(&Arena::default(), json.as_bytes())
            .ok()
            .and_then(|node| f(&node))
    }

    fn shown(json: &str) -> Option<String> {
        let a = read(json, number).map(|n| n.to_string());
        // A string of the same characters is the same number.
        assert_eq!(
            a,
            read(&format!("\" {json}\\u2003\""), number).map(|n| n.to_string())
        );
        a
    }

    #[test]
    fn rounds_half_even_to_six_decimals() {
        for (json, expected) in [
            ("48.0", "48"),
            ("-0", "0"),
            ("1e2", "100"),
            ("19.990000000000002", "19.99"),
            ("19.989999999999998", "19.99"),
            ("0.0000005", "0"),
            ("0.0000015", "0.000002"),
            ("0.0000025", "0.000002"),
            ("0.00000250000000000000001", "0.000003"),
            ("0.00000050000000000000001", "0.000001"),
            ("0.00000005", "0"),
            ("0.0000009", "0.000001"),
            ("-0.0000004", "0"),
            ("-0.0000006", "-0.000001"),
            ("1.9999995", "2"),
            ("1.9999985", "1.999998"),
            ("0.1", "0.1"),
            ("10.050", "10.05"),
            ("999999999999", "999999999999"),
            ("999999999999.9999999", "1000000000000"),
            ("9999999999990e-1", "999999999999"),
            ("1e-400", "0"),
            ("0e400", "0"),
            ("0.000000000000000000000000000000000000001e39", "1"),
        ] {
            assert_eq!(shown(json).as_deref(), Some(expected), "{json}");
        }
        for json in [
            "1e12",
            "1000000000000",
            "-1e12",
            "1e400",
            "1e99999999999999999999",
        ] {
            assert_eq!(shown(json), None, "{json}");
        }
    }

    #[test]
    fn strings_follow_the_pattern() {
        for (text, expected) in [
            ("+5", "5"),
            ("5.", "5"),
            (".5", "0.5"),
            ("007", "7"),
            ("1E2", "100"),
            ("\\u00a05\\n", "5"),
        ] {
            let json = format!("\"{text}\"");
            assert_eq!(
                read(&json, number).map(|n| n.to_string()).as_deref(),
                Some(expected)
            );
        }
        for text in [
            "", " ", "$12", "1,000", "12 USD", "NaN", "Infinity", "1 2", "٣", "0x10", "1e",
        ] {
            let json = format!("\"{text}\"");
            assert_eq!(read(&json, number), None, "{text}");
        }
        for json in ["null", "true", "[1]", r#"{"a":1}"#] {
            assert_eq!(read(json, number), None, "{json}");
        }
    }

    #[test]
    fn sign_and_wholeness_are_judged_after_rounding() {
        assert_eq!(read("-0.0000001", amount), Some(Micros(0)));
        assert_eq!(read("-0.000001", amount), None);
        assert_eq!(read("-1", amount), None);
        for (json, expected) in [
            ("2", Some(2)),
            (r#""2""#, Some(2)),
            ("4.0", Some(4)),
            ("2.0000001", Some(2)),
            ("1.9999999", Some(2)),
            ("1e3", Some(1000)),
            ("-0", Some(0)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("2147483647.5", None),
            ("1.5", None),
            ("-1", None),
            ("1e400", None),
        ] {
            assert_eq!(read(json, integer), expected, "{json}");
        }
    }

    #[test]
    fn sums() {
        let m = |json: &str| read(json, amount).unwrap();
        let sum = |pairs: &[(&str, &str)]| {
            sum_of_products(pairs.iter().map(|(p, q)| (m(p), m(q)))).map(|n| n.to_string())
        };
        assert_eq!(sum(&[]), None);
        assert_eq!(sum(&[("10.5", "2"), ("4", "1")]).as_deref(), Some("25"));
        assert_eq!(sum(&[("10.5", "0")]).as_deref(), Some("0"));
        assert_eq!(sum(&[("0.1", "0.2")]).as_deref(), Some("0.02"));
        // Rounded once, at the end: three times half a millionth is one and a half.
        let half = ("0.000001", "0.5");
        assert_eq!(sum(&[half; 3]).as_deref(), Some("0.000002"));
        assert_eq!(sum(&[half]).as_deref(), Some("0"));
        assert_eq!(
            sum(&[("999999999999", "1")]).as_deref(),
            Some("999999999999")
        );
        assert_eq!(sum(&[("999999999999", "1"), ("1", "1")]), None);
        let huge = ("999999999999", "999999999999");
        assert_eq!(sum(&[huge; 400]), None);

        assert_eq!(sum_of_integers([].into_iter()), None);
        assert_eq!(sum_of_integers([0, 0].into_iter()), Some(0));
        assert_eq!(
            sum_of_integers([2_147_483_646, 1].into_iter()),
            Some(2_147_483_647)
        );
        assert_eq!(sum_of_integers([2_147_483_647, 1].into_iter()), None);
        assert_eq!(sum_of_integers([2_147_483_647; 3].into_iter()), None);
    }

    proptest! {
        #[test]
        fn millionths_survive_the_round_trip(n in -999_999_999_999_999_999i64..=999_999_999_999_999_999) {
            let micros = Micros(i128::from(n));
            let text = micros.to_string();
            prop_assert!(!text.contains('e'));
            prop_assert!(!text.contains('.') || !text.ends_with('0'));
            prop_assert_eq!(read(&text, number), Some(micros));
            prop_assert_eq!(read(&format!("{n}e-6"), number), Some(micros));
            prop_assert_eq!(read(&format!("{n}.000e-6"), number), Some(micros));
        }
    }
}
