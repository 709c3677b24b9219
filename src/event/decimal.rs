//! Sign, digits and exponent of a decimal number, as written.

/// A decimal number of any magnitude, borrowed from its text: `0.d₀d₁d₂… × 10^point`.
///
/// Leading and trailing zeros are out of the way; zero has no digits.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    negative: bool,
    /// Digits before and after the written point.
    parts: (&'a [u8], &'a [u8]),
    /// The first significant digit's index in the two parts together.
    first: usize,
    /// How many significant digits there are.
    len: usize,
    point: i64,
}

/// An exponent beyond this is out of any use; clamping keeps the sums within `i64`.
const EXPONENT_CLAMP: i64 = 1 << 40;

/// A number of so many digits fits a `u64`, whichever they are.
const MAX_LEADING: usize = 19;

impl<'a> Decimal<'a> {
    /// Reads `[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`, of which JSON's own grammar
    /// is a part. No white space, separators or signs of currency.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = sign(text.as_bytes());
        let (integer, rest) = digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&rest[..0], rest),
        };
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => {
                let (minus, rest) = sign(rest);
                let (power, end) = digits(rest);
                if power.is_empty() || !end.is_empty() {
                    return None;
                }
                let power = power.iter().fold(0i64, |n, d| {
                    (n * 10 + i64::from(d - b'0')).min(EXPONENT_CLAMP)
                });
                if minus { -power } else { power }
            }
            _ => return None,
        };
        Some(Self::new(negative, (integer, fraction), exponent))
    }

    /// An integer from its ASCII digits.
    pub(super) fn integer(negative: bool, digits: &'a [u8]) -> Self {
        Self::new(negative, (digits, b""), 0)
    }

    fn new(negative: bool, parts: (&'a [u8], &'a [u8]), exponent: i64) -> Self {
        let (integer, fraction) = parts;
        let zeros = |s: &[u8]| s.iter().take_while(|&&d| d == b'0').count();
        let zeros_behind = |s: &[u8]| s.iter().rev().take_while(|&&d| d == b'0').count();
        let total = integer.len() + fraction.len();
        let mut first = zeros(integer);
        if first == integer.len() {
            first += zeros(fraction);
        }
        let mut behind = zeros_behind(fraction);
        if behind == fraction.len() {
            behind += zeros_behind(integer);
        }
        Self {
            negative,
            parts,
            first,
            len: total.saturating_sub(first + behind),
            point: integer.len() as i64 - first as i64 + exponent,
        }
    }

    /// Whether a minus sign was written; also before a zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Whether the value is 0.
    pub fn is_zero(&self) -> bool {
        self.len == 0
    }

    /// How many significant digits there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no significant digit: another word for 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the decimal point stands: before digit 0 when 0, behind it when 1, and so on.
    /// For a value that is not 0, `10^(point-1) ≤ |value| < 10^point`.
    pub fn point(&self) -> i64 {
        self.point
    }

    /// The first `count` significant digits as one number, with a 0 for each behind the last;
    /// `None` where that may be more than a `u64` holds.
    pub fn leading(&self, count: usize) -> Option<u64> {
        if count > MAX_LEADING {
            return None;
        }
        let (integer, fraction) = self.parts;
        let written = count.min(self.len);
        let digits = integer
            .iter()
            .chain(fraction)
            .skip(self.first)
            .take(written);
        let number = digits.fold(0, |number, d| number * 10 + u64::from(d - b'0'));
        // Fits: neither has more than 19 digits.
        Some(number * 10u64.pow((count - written) as u32))
    }

    /// Significant digit number `i`, 0 to 9; 0 behind the last.
    pub fn digit(&self, i: usize) -> u8 {
        if i >= self.len {
            return 0;
        }
        let i = self.first + i;
        let (integer, fraction) = self.parts;
        match integer.get(i) {
            Some(d) => d - b'0',
            None => fraction[i - integer.len()] - b'0',
        }
    }
}

fn sign(s: &[u8]) -> (bool, &[u8]) {
    match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    }
}

fn digits(s: &[u8]) -> (&[u8], &[u8]) {
    s.split_at(s.iter().take_while(|d| d.is_ascii_digit()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> Option<(bool, String, i64)> {
        Decimal::parse(text).map(|d| {
            let digits = (0..d.len()).map(|i| (b'0' + d.digit(i)) as char).collect();
            (d.is_negative(), digits, d.point())
        })
    }

    #[test]
    fn leading_digits_are_one_number() {
        for (text, count, expected) in [
            ("12.50", 0, Some(0)),
            ("12.50", 2, Some(12)),
            ("12.50", 3, Some(125)),
            ("0012.50", 5, Some(12500)),
            ("-0.00045", 1, Some(4)),
            ("100.001", 4, Some(1000)),
            ("0", 19, Some(0)),
            ("7e30", 19, Some(7_000_000_000_000_000_000)),
            (
                "9999999999.99999999999999",
                19,
                Some(9_999_999_999_999_999_999),
            ),
            ("1", 20, None),
        ] {
            let decimal = Decimal::parse(text).expect("a number");
            assert_eq!(decimal.leading(count), expected, "{text}, {count}");
        }
    }

    #[test]
    fn reads_the_grammar_and_nothing_else() {
        let some = |negative, digits: &str, point| Some((negative, digits.to_owned(), point));
        assert_eq!(show("12.50"), some(false, "125", 2));
        assert_eq!(show("+5."), some(false, "5", 1));
        assert_eq!(show("-.05e-2"), some(true, "5", -3));
        assert_eq!(show("00120"), some(false, "12", 3));
        assert_eq!(show("1E+3"), some(false, "1", 4));
        assert_eq!(show("100.001"), some(false, "100001", 3));
        for zero in ["0", "000", "0.00", ".0", "0e5"] {
            assert!(Decimal::parse(zero).is_some_and(|d| d.is_zero()), "{zero}");
        }
        let huge = show("1e99999999999999999999999").map(|d| d.2);
        assert_eq!(huge, Some(EXPONENT_CLAMP + 1));
        for bad in [
            "", ".", "+", "-", "e5", ".e5", "1e", "1e+", "1.2.3", "1,000", "$1", " 1", "1 ", "0x1",
            "NaN", "Infinity", "١", "--1", "1e5.0", "1_0",
        ] {
            assert_eq!(show(bad), None, "{bad:?}");
        }
    }
}
