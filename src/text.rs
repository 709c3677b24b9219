//! Text of others: ids, names and messages that come from events, from Pinterest, or from whatever
//! stands between, on its way to people.
//!
//! Invariant: it steers nothing. What a terminal would obey, or a chat would take for markup, is
//! shown as something harmless. All that people are shown passes through here: on terminals by
//! `cli/text`, in notifications by [`plain`].

/// Whether a terminal obeys this character instead of showing it: control characters, C1
/// included, those that turn the direction of what stands around them, and those that are none.
pub fn steers(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    // Characters that are none: nobody writes them, and `cli` marks colours with some.
    let is_none = matches!(c, '\u{fdd0}'..='\u{fdef}');
    turns || is_none || c.is_control()
}

/// In one line, with a dot for each character that a terminal obeys.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if steers(c) { '·' } else { c };
    text.chars().map(shown).collect()
}

/// [`printable`], and without what chats take for markup, mentions or links: a message that quotes
/// someone must not call a whole channel. Each such character becomes one that looks like it.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        c if steers(c) => '·',
        '<' => '‹',
        '>' => '›',
        '@' => '＠',
        '&' => '＆',
        '[' => '(',
        ']' => ')',
        '|' => '¦',
        '`' => '\'',
        '*' | '~' | '#' | '\\' => '·',
        c => c,
    };
    text.replace("://", ":/").chars().map(shown).collect()
}

/// The longest message of somebody else's that is kept or shown, bytes.
const LONGEST_MESSAGE: usize = 1 << 10;

/// A message of somebody else's, of bounded length: whoever sends it chooses how long it is, and it
/// is kept with each event that it is about.
pub fn message(text: &str) -> String {
    cut(text, LONGEST_MESSAGE)
}

/// At most `most` bytes of it, cut on a character, and the cut is said within them: what was cut once
/// is not cut again.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let note = format!("… (cut, {} bytes in all)", text.len());
    let room = most.saturating_sub(note.len());
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at));
    format!("{}{note}", &text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(
            printable("a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b\u{fdd2}"),
            "a·[2J·31m··b·"
        );
        assert_eq!(printable("注文 é 🎉"), "注文 é 🎉");
    }

    #[test]
    fn nothing_that_a_chat_obeys_gets_through() {
        assert_eq!(
            plain("<!channel> @here <https://evil.example|ok> [a](http://b) `c` *d* &amp;\u{7}"),
            "‹!channel› ＠here ‹https:/evil.example¦ok› (a)(http:/b) 'c' ·d· ＆amp;·"
        );
        assert_eq!(plain("event_name: 3 of 5"), "event_name: 3 of 5");
    }

    #[test]
    fn a_cut_is_on_a_character_and_is_said() {
        assert_eq!(cut("short", 5), "short");
        let long = "🎉".repeat(20);
        let once = cut(&long, 40);
        assert_eq!(once, "🎉🎉🎉… (cut, 80 bytes in all)");
        assert_eq!(cut(&once, 40), once);
        assert_eq!(
            message(&message(&"é".repeat(5000))),
            message(&"é".repeat(5000))
        );
    }
}
