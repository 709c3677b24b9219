//! Text of others on a terminal: ids, names and messages that come from events, or from
//! Pinterest, and must not steer it.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// Whether a terminal obeys this character instead of showing it: control characters, C1
/// included, and those that turn the direction of what stands around them.
fn steers(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || c.is_control()
}

/// In one line, with a dot for each character that a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if steers(c) { '·' } else { c };
    text.chars().map(shown).collect()
}

/// [`printable`], cut to at most `width` columns.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = printable(text);
    let columns = |c: char| c.width().unwrap_or(0);
    if text.chars().map(columns).sum::<usize>() <= width {
        return text;
    }
    let mut left = width.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    });
    kept.chain(['…']).collect()
}

/// The same JSON with such characters of its strings escaped. JSON has none but line breaks and
/// tabs outside of them, which stay.
pub(super) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) && !matches!(c, '\n' | '\r' | '\t') {
            // All of them are in the first plane, so one unit of UTF-16 is enough.
            true => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b";

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(printable(NASTY), "a·[2J·31m··b");
        assert_eq!(printable("注文 é 🎉"), "注文 é 🎉");
    }

    #[test]
    fn json_stays_the_same_value() {
        let line = serde_json::to_string(NASTY).unwrap();
        let shown = json(&line);
        assert!(!shown.chars().any(steers), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), NASTY);
        assert_eq!(json("{\n\t\"a\": 1}\r\n"), "{\n\t\"a\": 1}\r\n");
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("注文注", 6), "注文注");
        assert_eq!(fit("注文注文", 6), "注文…");
        assert_eq!(fit("a注文注", 6), "a注文…");
        assert_eq!(fit("abc", 0), "…");
    }
}
