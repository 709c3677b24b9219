//! How a JSON value is read where Pinterest wants a text ("Words used below" of `mapping.md`).

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use super::notes::{At, Fault, Notes, Place, Read};
use crate::event::{Decimal, Node, Number};
use crate::note::Word;

/// A text on its way from the event to Pinterest, borrowed if nothing had to change.
pub(super) type Text<'t> = Cow<'t, str>;

/// Several; one alone, as most are, takes no room of its own.
pub(super) type Texts<'t> = SmallVec<[Text<'t>; 1]>;

/// A number of more digits than this is no text.
const MAX_DIGITS: i64 = 40;

const NO_TEXT: Fault = Fault::unreadable("is neither a text nor a number of up to 40 digits");
const PLACEHOLDER: Fault = Fault::new(Word::Placeholder, "is only a word for nothing");

/// The value at a dot path; null for what is not there.
pub(super) fn value_at<'t>(root: &'t Node<'t>, path: &str) -> &'t Node<'t> {
    path.split('.').fold(root, |node, key| node.at(key))
}

/// A string, trimmed, not empty; or a number in plain notation.
pub(super) fn scalar_text<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match node {
        Node::String(s) => Ok(trimmed(s).map(Cow::Borrowed)),
        Node::Number(Number::Unsigned(n)) => Ok(Some(Cow::Owned(n.to_string()))),
        Node::Number(n) => match n.with_decimal(plain) {
            Some(text) => Ok(Some(Cow::Owned(text))),
            None => Err(NO_TEXT),
        },
        node if node.is_missing() => Ok(None),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => Err(NO_TEXT),
    }
}

/// [`scalar_text`] that is no placeholder.
pub(super) fn id_text<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match scalar_text(node)? {
        Some(text) => real(text).map(Some),
        None => Ok(None),
    }
}

/// The text, unless it is a placeholder. Numbers are none.
pub(super) fn real(text: Text<'_>) -> Result<Text<'_>, Fault> {
    match is_placeholder(&text) {
        true => Err(PLACEHOLDER),
        false => Ok(text),
    }
}

/// Whether a trimmed text is only a word for nothing: a producer's slip.
pub(super) fn is_placeholder(text: &str) -> bool {
    // The only letter beyond ASCII that is lowered into it is the Kelvin sign, and none has a k.
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match text.len() {
        3 => is("nan") || is("n/a"),
        4 => is("null") || is("none"),
        9 => is("undefined"),
        15 => is("[object object]"),
        _ => false,
    }
}

/// Any text.
pub(super) fn any(text: Text<'_>) -> Result<Text<'_>, Fault> {
    Ok(text)
}

/// One scalar text, or those in an array, in order, each as `rule` takes it. What it does not take
/// is noted; nothing left is absent.
pub(super) fn text_list<'t>(
    node: &'t Node<'_>,
    rule: fn(Text<'t>) -> Result<Text<'t>, Fault>,
    notes: &Notes,
    field: &'static str,
    place: Place<'_>,
) -> Option<Texts<'t>> {
    let read = |node: &'t Node<'_>| match scalar_text(node) {
        Ok(Some(text)) => rule(text).map(Some),
        other => other,
    };
    match node {
        Node::Null => None,
        Node::Array(elements) => {
            let mut texts = Texts::new();
            for (i, element) in elements.iter().enumerate() {
                let place = place.element(At::Index(i));
                texts.extend(notes.take(field, place, read(element)));
            }
            (!texts.is_empty()).then_some(texts)
        }
        node => (notes.take(field, place, read(node))).map(|text| smallvec![text]),
    }
}

/// Every scalar text in a value, whatever field it is for.
pub(super) fn texts_in<'t>(node: &'t Node<'_>) -> impl Iterator<Item = Text<'t>> {
    let elements = match node {
        Node::Array(elements) => elements,
        node => std::slice::from_ref(node),
    };
    let texts = elements.iter().map(scalar_text);
    texts.filter_map(|read| read.ok().flatten())
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
        scalar_text(&node).ok().flatten().map(Cow::into_owned)
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
    fn more_than_40_digits_is_unreadable() {
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
    fn strings_are_trimmed_and_what_is_missing_is_not_unreadable() {
        assert_eq!(text(r#""\u3000 a b\u00a0\n""#).as_deref(), Some("a b"));
        assert_eq!(
            text(r#""1e2""#).as_deref(),
            Some("1e2"),
            "a string stays as it is"
        );
        let read = |json: &str| {
            let arena = Arena::default();
            let node = parse(&arena, json.as_bytes()).ok().unwrap();
            scalar_text(&node).map(|text| text.is_some())
        };
        for json in [r#""""#, r#"" \t""#, "null", "[]", "{}"] {
            assert_eq!(read(json), Ok(false), "{json}");
        }
        for json in ["true", "false", r#"["a"]"#, "[null]", r#"{"a":1}"#, "1e400"] {
            assert_eq!(read(json), Err(NO_TEXT), "{json}");
        }
    }

    #[test]
    fn lists() {
        let list = |json: &str| {
            let arena = Arena::default();
            let notes = Notes::default();
            let node = parse(&arena, json.as_bytes()).ok().unwrap();
            let texts = text_list(&node, real, &notes, "em", Place::at("a.b"));
            let texts = texts.map(|l| l.iter().map(|t| t.to_string()).collect::<Vec<_>>());
            let told = |note: crate::note::Note| (note.path.to_string(), note.word);
            let notes = notes.finish().into_iter().map(told).collect::<Vec<_>>();
            (texts, notes)
        };
        let some = |texts: &[&str]| Some(texts.iter().map(|t| t.to_string()).collect());
        assert_eq!(list(r#"" a ""#), (some(&["a"]), vec![]));
        assert_eq!(list("7.0"), (some(&["7"]), vec![]));
        let unreadable = |path: &str| (path.to_owned(), Word::Unreadable);
        assert_eq!(
            list(r#"[" b","a",null,"",7,"a",true,["x"],{"y":1},1e400,[],"N/A"]"#),
            (
                some(&["b", "a", "7", "a"]),
                vec![
                    unreadable("a.b.6"),
                    unreadable("a.b.7"),
                    unreadable("a.b.8"),
                    unreadable("a.b.9"),
                    ("a.b.11".to_owned(), Word::Placeholder),
                ]
            )
        );
        for json in ["[]", "[null]", r#"[" "]"#, "null", "{}", "[[],{}]"] {
            assert_eq!(list(json), (None, vec![]), "{json}");
        }
        for json in ["true", r#"{"a":1}"#] {
            assert_eq!(list(json), (None, vec![unreadable("a.b")]), "{json}");
        }
        assert_eq!(list(r#"[["a"]]"#), (None, vec![unreadable("a.b.0")]));
    }

    #[test]
    fn words_for_nothing() {
        for word in ["null", "Undefined", "NONE", "NaN", "n/a", "[object Object]"] {
            assert!(is_placeholder(word), "{word}");
        }
        for word in [
            "",
            "nul",
            "null ",
            "na",
            "nil",
            "-",
            "[object Array]",
            "0",
            "нет",
        ] {
            assert!(!is_placeholder(word), "{word}");
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
