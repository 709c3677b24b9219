//! How a JSON value is read where Pinterest wants a text ("Words used below" of `mapping.md`).
//! `None` is *absent*: the next source has its turn.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use crate::event::{Decimal, Node, Number};

/// A text on its way from the event to Pinterest, borrowed if nothing had to change.
pub(super) type Text<'t> = Cow<'t, str>;

/// Several; one alone, as most are, takes no room of its own.
pub(super) type Texts<'t> = SmallVec<[Text<'t>; 1]>;

/// A number of more digits than this is no text.
const MAX_DIGITS: i64 = 40;

/// A string, trimmed, not empty; or a number in plain notation.
pub(super) fn scalar_text<'t>(node: &'t Node<'_>) -> Option<Text<'t>> {
    match node {
        Node::String(s) => trimmed(s).map(Cow::Borrowed),
        Node::Number(Number::Unsigned(n)) => Some(Cow::Owned(n.to_string())),
        Node::Number(n) => n.with_decimal(plain).map(Cow::Owned),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => None,
    }
}

/// One scalar text, or those in an array, in order.
pub(super) fn text_list<'t>(node: &'t Node<'_>) -> Option<Texts<'t>> {
    match node {
        Node::Array(elements) => {
            let texts: Texts<'t> = elements.iter().filter_map(scalar_text).collect();
            (!texts.is_empty()).then_some(texts)
        }
        _ => scalar_text(node).map(|text| smallvec![text]),
    }
}

/// A string that is not only white space, without what surrounds it.
pub(super) fn trimmed(s: &str) -> Option<&str> {
    Some(s.trim()).filter(|s| !s.is_empty())
}

/// [`trimmed`] for a text that may be owned.
pub(super) fn trimmed_cow(s: Cow<'_, str>) -> Option<Text<'_>> {
    match s {
        Cow::Borrowed(s) => trimmed(s).map(Cow::Borrowed),
        Cow::Owned(s) => trimmed(&s).map(|s| Cow::Owned(s.to_owned())),
    }
}

/// Whether two texts are equal after trimming `text`, compared by Unicode lower case.
/// `lower` is in lower case already.
pub(super) fn same_without_case(text: &str, lower: &str) -> bool {
    let text = text.trim();
    if text.is_ascii() {
        text.eq_ignore_ascii_case(lower)
    } else {
        text.to_lowercase() == lower
    }
}

/// Sign and digits without exponent, without trailing zeros of a fraction; zero has no sign.
fn plain(n: Decimal<'_>) -> Option<String> {
    if n.is_zero() {
        return Some("0".to_owned());
    }
    let (len, point) = (i64::try_from(n.len()).ok()?, n.point());
    // Written: `point` digits before the point, or one 0; behind it what is left.
    let (integer, fraction) = (point.max(1), (len - point).max(0));
    if integer + fraction > MAX_DIGITS {
        return None;
    }
    let mut text = String::with_capacity(MAX_DIGITS as usize + 2);
    if n.is_negative() {
        text.push('-');
    }
    // Position 0 is the first significant digit; before it there are only zeros.
    for position in (point - integer)..(point + fraction) {
        if position == point {
            text.push('.');
        }
        let digit = usize::try_from(position).map_or(0, |i| n.digit(i));
        text.push(char::from(b'0' + digit));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};

    fn text(json: &str) -> Option<String> {
        let arena = Arena::default();
        let Ok(node) = parse(&arena, json.as_bytes()) else {
            panic!("{json}")
        };
        scalar_text(&node).map(Cow::into_owned)
    }

    #[test]
    fn numbers_are_written_plainly() {
        for (json, expected) in [
            ("991", "991"),
            ("991.0", "991"),
            ("991.50", "991.5"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("0e999999999999999999999", "0"),
            ("-12.340", "-12.34"),
            ("1e21", "1000000000000000000000"),
            ("1E+2", "100"),
            ("1.50e1", "15"),
            ("1.05e1", "10.5"),
            ("125e-2", "1.25"),
            ("125e-5", "0.00125"),
            ("-1e-1", "-0.1"),
            ("19.990000000000002", "19.990000000000002"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551616", "18446744073709551616"),
            ("-9223372036854775809", "-9223372036854775809"),
        ] {
            assert_eq!(text(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn more_than_40_digits_is_absent() {
        let forty = "1234567890".repeat(4);
        assert_eq!(text(&forty), Some(forty.clone()));
        assert_eq!(text(&format!("-{forty}")), Some(format!("-{forty}")));
        assert_eq!(text(&format!("1{forty}")), None);
        assert_eq!(
            text(&format!("1.{}", "1".repeat(39))).map(|t| t.len()),
            Some(41)
        );
        assert_eq!(text(&format!("1.{}", "1".repeat(40))), None);
        assert_eq!(
            text(&format!("1.{}", "0".repeat(100))).as_deref(),
            Some("1")
        );
        assert_eq!(text("1e39").map(|t| t.len()), Some(40));
        assert_eq!(text("1e40"), None);
        assert_eq!(text("1e-39").map(|t| t.len()), Some(41), "0. and 39 digits");
        assert_eq!(text("1e-40"), None);
        assert_eq!(text("1e400"), None);
        assert_eq!(text("1e-400"), None);
        assert_eq!(text("1e99999999999999999999"), None);
    }

    #[test]
    fn strings_are_trimmed_and_other_kinds_absent() {
        assert_eq!(text(r#""\u3000 a b\u00a0\n""#).as_deref(), Some("a b"));
        assert_eq!(
            text(r#""1e2""#).as_deref(),
            Some("1e2"),
            "a string stays as it is"
        );
        for json in [
            r#""""#, r#"" \t""#, "null", "true", "false", "[]", r#"["a"]"#, "{}",
        ] {
            assert_eq!(text(json), None, "{json}");
        }
    }

    #[test]
    fn lists() {
        let list = |json: &str| {
            let arena = Arena::default();
            let node = parse(&arena, json.as_bytes()).ok().unwrap();
            text_list(&node).map(|l| l.iter().map(|t| t.to_string()).collect::<Vec<_>>())
        };
        let some = |texts: &[&str]| Some(texts.iter().map(|t| t.to_string()).collect());
        assert_eq!(list(r#"" a ""#), some(&["a"]));
        assert_eq!(list("7.0"), some(&["7"]));
        assert_eq!(
            list(r#"[" b","a",null,"",7,"a",true,["x"],{"y":1},1e400]"#),
            some(&["b", "a", "7", "a"])
        );
        for json in [
            "[]",
            "[null]",
            r#"[" "]"#,
            r#"[["a"]]"#,
            "null",
            "{}",
            "true",
        ] {
            assert_eq!(list(json), None, "{json}");
        }
    }

    #[test]
    fn case_is_unicode_lower_case_not_folding() {
        assert!(same_without_case(
            " Order COMPLETED\u{2003}",
            "order completed"
        ));
        // The Kelvin sign's lower case is k.
        assert!(same_without_case(
            "Chec\u{212a}out Started",
            "checkout started"
        ));
        // The long s folds to s, but is lower case already.
        assert!(!same_without_case(
            "product\u{17f} searched",
            "products searched"
        ));
        assert!(!same_without_case("order  completed", "order completed"));
    }
}
