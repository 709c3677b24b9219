//! Amounts and counts by decimal arithmetic: no double ever touches them.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use super::notes::{Fault, Read};
use crate::event::{Decimal, Node, Number};
use crate::note::Word;

/// Millionths in one.
const ONE: i64 = 1_000_000;
const WIDE_ONE: i128 = ONE as i128;
/// The digits before the point that a magnitude below 1e12 has.
const INTEGER_DIGITS: i64 = 12;
/// The digits kept behind the point.
const DECIMALS: i64 = 6;
/// A magnitude from here on is unreadable.
const LIMIT: i64 = 10i64.pow(INTEGER_DIGITS as u32);
/// Likewise of a sum, in millionths.
const SUM_LIMIT: i128 = LIMIT as i128 * WIDE_ONE;
/// The largest integer that Pinterest's schema is given.
const MAX_INTEGER: i64 = 2_147_483_647;

/// A decimal number in millionths; at most 1e12 (what was given was below, rounding may reach
/// it). Serialized as a string without exponent or trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(i64);

impl Micros {
    pub(super) const ONE: Self = Self(ONE);

    pub(super) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `None` from 1e12 on.
    fn whole(n: u64) -> Option<Self> {
        let whole = i64::try_from(n).ok().filter(|n| *n < LIMIT)?;
        Some(Self(whole * ONE))
    }

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
        // At most 18 digits.
        let whole = i64::try_from(n.leading(kept)?).ok()?;
        let up = match n.digit(kept) {
            0..=4 => false,
            5 => n.len() > kept + 1 || whole % 2 == 1,
            _ => true,
        };
        let magnitude = whole + i64::from(up);
        Some(Self(if n.is_negative() {
            -magnitude
        } else {
            magnitude
        }))
    }
}

const NO_NUMBER: Fault = Fault::unreadable("is no number of a magnitude below 1e12");
const NO_AMOUNT: Fault =
    Fault::unreadable("is no number from 0 to below 1e12, nor a text that is one");
const NO_INTEGER: Fault = Fault::unreadable("is no whole number from 0 to 2147483647");
const NEGATIVE: Fault = Fault::new(Word::Negative, "is below zero");
const NEGATIVE_SUM: Fault = Fault::new(Word::Negative, "adds up to less than zero");
const HUGE_SUM: Fault = Fault::unreadable("adds up to 1e12 or more");
const MANY: Fault = Fault::unreadable("adds up to more than 2147483647");

/// A *number*: a JSON number, or a string that is one.
pub(super) fn number(node: &Node<'_>) -> Read<Micros> {
    let number = match node {
        // As most are written, and no different from what its digits come to.
        Node::Number(Number::Unsigned(n)) => Micros::whole(*n),
        Node::Number(n) => n.with_decimal(Micros::new),
        node if node.is_missing() => return Ok(None),
        Node::String(s) => Decimal::parse(s.trim()).and_then(Micros::new),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => None,
    };
    number.map(Some).ok_or(NO_NUMBER)
}

/// An *amount*: a number that is not negative after rounding.
pub(super) fn amount(node: &Node<'_>) -> Read<Micros> {
    match number(node) {
        Ok(Some(n)) if n.0 < 0 => Err(NEGATIVE),
        Ok(found) => Ok(found),
        Err(_) => Err(NO_AMOUNT),
    }
}

/// An *integer*: a number that is whole after rounding, from 0 to 2147483647.
pub(super) fn integer(node: &Node<'_>) -> Read<u32> {
    let Some(n) = number(node).map_err(|_| NO_INTEGER)? else {
        return Ok(None);
    };
    match (n.0 % ONE, n.0 / ONE) {
        (0, ..0) => Err(NEGATIVE),
        (0, whole @ ..=MAX_INTEGER) => u32::try_from(whole).map(Some).map_err(|_| NO_INTEGER),
        _ => Err(NO_INTEGER),
    }
}

/// The sum of price × quantity, of either sign; exact until it is rounded at the end.
#[derive(Default)]
pub(super) struct Sum {
    /// In units of 1, and of 1e-12 beside them: apart, neither leaves i128 for any line that can be
    /// held in memory.
    whole: i128,
    rest: i128,
}

impl Sum {
    /// Adds one product of two.
    pub(super) fn add(&mut self, price: Micros, quantity: Micros) {
        // At most 1e36, in units of 1e-12.
        let product = i128::from(price.0) * i128::from(quantity.0);
        self.whole += product.div_euclid(WIDE_ONE * WIDE_ONE);
        self.rest += product.rem_euclid(WIDE_ONE * WIDE_ONE);
    }

    /// The sum, rounded half-even to 6 decimals, if it is an amount.
    pub(super) fn amount(self) -> Result<Micros, Fault> {
        let floor = self.whole * WIDE_ONE + self.rest.div_euclid(WIDE_ONE);
        let rest = self.rest.rem_euclid(WIDE_ONE);
        let is_odd = floor.rem_euclid(2) == 1;
        let up = rest * 2 > WIDE_ONE || (rest * 2 == WIDE_ONE && is_odd);
        match floor + i128::from(up) {
            ..0 => Err(NEGATIVE_SUM),
            SUM_LIMIT.. => Err(HUGE_SUM),
            sum => i64::try_from(sum).map(Micros).map_err(|_| HUGE_SUM),
        }
    }
}

/// The sum of integers (none: absent).
pub(super) fn sum_of_integers(integers: impl Iterator<Item = u32>) -> Read<u32> {
    let Some(sum) = integers.map(u64::from).reduce(u64::saturating_add) else {
        return Ok(None);
    };
    match u32::try_from(sum) {
        Ok(sum) if i64::from(sum) <= MAX_INTEGER => Ok(Some(sum)),
        _ => Err(MANY),
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let magnitude = self.0.unsigned_abs();
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

    fn word<T>(json: &str, f: impl Fn(&Node<'_>) -> Read<T>) -> Result<Option<T>, Word> {
        let arena = Arena::default();
        let Ok(node) = parse(&arena, json.as_bytes()) else {
            panic!("{json}")
        };
        f(&node).map_err(|fault| fault.word)
    }

    fn read<T>(json: &str, f: impl Fn(&Node<'_>) -> Read<T>) -> Option<T> {
        word(json, f).ok().flatten()
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
        assert_eq!(word("-0.000001", amount), Err(Word::Negative));
        assert_eq!(word("-1", amount), Err(Word::Negative));
        for (json, expected) in [
            ("-1e12", Word::Unreadable),
            (r#""EUR 5""#, Word::Unreadable),
            (r#""null""#, Word::Unreadable),
            ("[5]", Word::Unreadable),
            ("false", Word::Unreadable),
        ] {
            assert_eq!(word(json, amount), Err(expected), "{json}");
            assert_eq!(word(json, integer), Err(expected), "{json}");
        }
        for json in ["null", r#"" ""#, "[]", "{}"] {
            assert_eq!(word(json, amount), Ok(None), "{json}");
            assert_eq!(word(json, integer), Ok(None), "{json}");
        }
        assert_eq!(word("-1", integer), Err(Word::Negative));
        assert_eq!(word("-3000000000", integer), Err(Word::Negative));
        assert_eq!(word("-1.5", integer), Err(Word::Unreadable));
        assert_eq!(word("2147483648", integer), Err(Word::Unreadable));
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
        let m = |json: &str| read(json, number).unwrap();
        let sum = |pairs: &[(&str, &str)]| {
            let mut sum = Sum::default();
            pairs.iter().for_each(|(p, q)| sum.add(m(p), m(q)));
            let sum = sum.amount().map(|n| n.to_string());
            sum.map_err(|fault| fault.word)
        };
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(sum(&[("10.5", "2"), ("4", "1")]), is("25"));
        assert_eq!(sum(&[("10.5", "0")]), is("0"));
        assert_eq!(sum(&[("0.1", "0.2")]), is("0.02"));
        assert_eq!(sum(&[("50", "1"), ("20", "-1"), ("-5", "1")]), is("25"));
        assert_eq!(sum(&[("-5", "-1")]), is("5"));
        // Rounded once, at the end: three times half a millionth is one and a half.
        let half = ("0.000001", "0.5");
        assert_eq!(sum(&[half; 3]), is("0.000002"));
        assert_eq!(sum(&[half]), is("0"));
        assert_eq!(sum(&[("-0.000001", "0.5")]), is("0"));
        assert_eq!(sum(&[("-0.000001", "0.6")]), Err(Word::Negative));
        assert_eq!(sum(&[("1", "1"), ("-0.000001", "1.5")]), is("0.999998"));
        assert_eq!(sum(&[("1", "1"), ("-2", "1")]), Err(Word::Negative));
        assert_eq!(sum(&[("999999999999", "1")]), is("999999999999"));
        let over = [("999999999999", "1"), ("1", "1")];
        assert_eq!(sum(&over), Err(Word::Unreadable));
        assert_eq!(
            sum(&[over[0], over[1], ("-1", "0.5")]),
            is("999999999999.5")
        );
        // What was taken away is given back, however much it was.
        let (huge, back) = (
            ("999999999999", "999999999999"),
            ("-999999999999", "999999999999"),
        );
        assert_eq!(sum(&[huge; 400]), Err(Word::Unreadable));
        let mut both = vec![huge; 400];
        both.extend([back; 400]);
        both.push(("7", "1"));
        assert_eq!(sum(&both), is("7"));

        let integers =
            |all: &[u32]| sum_of_integers(all.iter().copied()).map_err(|fault| fault.word);
        assert_eq!(integers(&[]), Ok(None));
        assert_eq!(integers(&[0, 0]), Ok(Some(0)));
        assert_eq!(integers(&[2_147_483_646, 1]), Ok(Some(2_147_483_647)));
        assert_eq!(integers(&[2_147_483_647, 1]), Err(Word::Unreadable));
        assert_eq!(integers(&[2_147_483_647; 3]), Err(Word::Unreadable));
    }

    proptest! {
        #[test]
        fn millionths_survive_the_round_trip(n in -999_999_999_999_999_999i64..=999_999_999_999_999_999) {
            let micros = Micros(n);
            let text = micros.to_string();
            prop_assert!(!text.contains('e'));
            prop_assert!(!text.contains('.') || !text.ends_with('0'));
            prop_assert_eq!(read(&text, number), Some(micros));
            prop_assert_eq!(read(&format!("{n}e-6"), number), Some(micros));
            prop_assert_eq!(read(&format!("{n}.000e-6"), number), Some(micros));
        }
    }
}
