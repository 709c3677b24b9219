//! What the terminal is like that people look at: its size, and whether it shows colours.
//!
//! Invariant: without a terminal nothing is cut, wrapped or coloured for one, and colour says
//! nothing that words do not.

use std::io::{IsTerminal, stderr, stdout};

use unicode_width::UnicodeWidthChar;

/// Of a terminal that does not say how large it is.
const USUAL: (usize, usize) = (80, 24);
/// Below it lines are longer than the terminal is wide: words have a length.
const NARROWEST: usize = 40;

/// Where people look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns and rows; `None`: a file or a pipe.
    size: Option<(usize, usize)>,
    /// Whether colours are shown.
    is_coloured: bool,
    /// Whether it shows nothing but ASCII.
    is_ascii: bool,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Somebody may look.
    Warning,
    /// Somebody has to do something.
    Alarm,
}

impl Tone {
    /// Of a state of the daemon, or of an event that passes.
    pub fn of_state(state: &str) -> Option<Self> {
        match state {
            "delivering" | "delivered" | "open" => Some(Self::Good),
            "queued" | "revived" | "duplicate" | "ignored" | "sending" => None,
            "parked" | "dead" | "rejected" => Some(Self::Alarm),
            _ => Some(Self::Warning),
        }
    }

    /// What stands before a word of this tone, until it is written to a terminal. A character that is
    /// none: what others write has it as little as an escape.
    const fn mark(self) -> char {
        match self {
            Self::Good => '\u{fdd0}',
            Self::Warning => '\u{fdd1}',
            Self::Alarm => '\u{fdd2}',
        }
    }
}

/// What stands behind it.
const END: char = '\u{fdd3}';

/// What a terminal obeys, in place of a mark; `None` for every other character.
pub fn colour(mark: char) -> Option<&'static str> {
    match mark {
        '\u{fdd0}' => Some("\u{1b}[32m"),
        '\u{fdd1}' => Some("\u{1b}[33m"),
        '\u{fdd2}' => Some("\u{1b}[1;31m"),
        END => Some("\u{1b}[0m"),
        _ => None,
    }
}

impl Screen {
    /// That of stdout. `COLUMNS` and `LINES` go before what the terminal says; `NO_COLOR`, where it
    /// says anything, and `TERM=dumb` mean none.
    pub fn of_stdout() -> Self {
        Self::seen(stdout().is_terminal())
    }

    /// That of stderr.
    pub fn of_stderr() -> Self {
        Self::seen(stderr().is_terminal())
    }

    fn seen(is_terminal: bool) -> Self {
        match is_terminal {
            true => Self {
                size: Some(size()),
                is_coloured: is_coloured(|name| std::env::var_os(name)),
                is_ascii: is_ascii(|name| std::env::var_os(name)),
            },
            false => Self::none(),
        }
    }

    /// Without a terminal.
    pub const fn none() -> Self {
        Self {
            size: None,
            is_coloured: false,
            is_ascii: false,
        }
    }

    /// Of this size, without colours.
    #[cfg(test)]
    pub const fn sized(columns: usize, rows: usize) -> Self {
        Self {
            size: Some((columns, rows)),
            is_coloured: false,
            is_ascii: false,
        }
    }

    /// The same with colours.
    #[cfg(test)]
    pub const fn coloured(self) -> Self {
        Self {
            is_coloured: true,
            ..self
        }
    }

    /// Its columns, if it is one.
    pub fn columns(self) -> Option<usize> {
        self.size.map(|(columns, _)| columns)
    }

    /// Its columns and rows; without a terminal those of a usual one.
    pub fn size_or_usual(self) -> (usize, usize) {
        self.size.unwrap_or(USUAL)
    }

    /// Whether colours are shown.
    pub const fn is_coloured(self) -> bool {
        self.is_coloured
    }

    /// Whether it shows nothing but ASCII.
    pub const fn is_ascii(self) -> bool {
        self.is_ascii
    }

    /// The text with this word of it marked for a colour, where it stands first and colours are
    /// shown. For [`super::text::out`], behind all that measures the text.
    pub fn toned(self, text: &str, word: &str, tone: Option<Tone>) -> String {
        let Some(tone) = tone.filter(|_| self.is_coloured && !word.is_empty()) else {
            return text.to_owned();
        };
        match text.split_once(word) {
            Some((before, behind)) => {
                format!("{before}{}{word}{END}{behind}", tone.mark())
            }
            None => text.to_owned(),
        }
    }

    /// The text, wrapped at words where a line is wider than the screen; what goes on below is
    /// indented by `hang` columns.
    pub fn wrapped(self, text: &str, hang: usize) -> String {
        let Some(columns) = self.columns() else {
            return text.to_owned();
        };
        let lines = text.split('\n').map(|line| wrap(line, columns, hang));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn size() -> (usize, usize) {
    let said = |name: &str| -> Option<usize> {
        let number = std::env::var(name).ok()?.parse().ok()?;
        (number > 0).then_some(number)
    };
    let (columns, rows) = match crossterm::terminal::size() {
        // Some that are no real ones say 0.
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => USUAL,
    };
    let columns = said("COLUMNS").unwrap_or(columns).max(NARROWEST);
    (columns, said("LINES").unwrap_or(rows))
}

fn is_coloured(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let is_refused = env("NO_COLOR").is_some_and(|said| !said.is_empty());
    !is_refused && env("TERM").is_some_and(|term| term != "dumb")
}

/// What is not for people word by word: an event or a payload, which stays as it is to be copied.
pub fn is_json(line: &str) -> bool {
    line.trim_start().starts_with(['{', '[', '"'])
}

/// The columns that it takes; marks take none.
pub fn width(text: &str) -> usize {
    let shown = text.chars().filter(|c| colour(*c).is_none());
    shown.map(|c| c.width().unwrap_or(0)).sum()
}

/// The text, filled up to so many columns: a character may take two.
pub fn padded(text: &str, columns: usize) -> String {
    let fill = columns.saturating_sub(width(text));
    format!("{text}{:fill$}", "")
}

/// Whether the locale is one without UTF-8 that somebody chose. One that nobody chose says nothing
/// of the terminal; systemd's tools read it so as well.
fn is_ascii(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let mut named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env);
    let locale = named.find(|locale| !locale.is_empty());
    let locale = locale.map(|locale| locale.to_string_lossy().to_lowercase());
    locale.is_some_and(|locale| !locale.contains("utf-8") && !locale.contains("utf8"))
}

/// What stands for a character where nothing but ASCII is shown, of the same width where it is one
/// of ours.
pub fn ascii(c: char) -> char {
    match c {
        ' '..='~' | '\n' | '\t' => c,
        '…' => '~',
        '·' | '▁' => '.',
        '→' => '>',
        '–' | '—' | '─' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' => '+',
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        '▂' => ':',
        '▃' | '▄' => '=',
        '▅' | '▆' | '▇' => '*',
        '█' => '#',
        _ => '?',
    }
}

/// One line as several, none wider than `columns` unless a single word is.
pub fn wrap(line: &str, columns: usize, hang: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let hang = hang.min(columns / 2);
    let mut out = String::with_capacity(line.len() + 16);
    let (mut at, mut is_first) = (0, true);
    // Runs of spaces, as in a table's row, stay as long as the words around them fit.
    for piece in line.split_inclusive(' ') {
        let word = piece.trim_end_matches(' ');
        if !is_first && at + width(word) > columns {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', hang));
            at = hang;
        }
        out.push_str(piece);
        at += width(piece);
        is_first &= word.is_empty();
    }
    out
}

/// At most `lines` lines of `columns` columns, wrapped at words; what finds no room is left out, and
/// that is shown.
pub fn fit(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let mut word = word;
        loop {
            if let Some(last) = all.last_mut()
                && width(last) + 1 + width(word) <= columns
            {
                last.push(' ');
                last.push_str(word);
                break;
            }
            let (begin, rest) = split(word, columns);
            all.push(begin.to_owned());
            if rest.is_empty() {
                break;
            }
            word = rest;
        }
    }
    if all.len() > lines {
        all.truncate(lines);
        if let Some(last) = all.last_mut() {
            while width(last) + 1 > columns {
                last.pop();
            }
            last.push('…');
        }
    }
    all
}

/// What of a word goes into so many columns, and the rest.
fn split(word: &str, columns: usize) -> (&str, &str) {
    let mut at = 0;
    for (place, c) in word.char_indices() {
        at += c.width().unwrap_or(0);
        if at > columns && place > 0 {
            return word.split_at(place);
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words_and_indented() {
        let screen = Screen::sized(20, 24);
        let text = "wrong   the socket is not there\nok      fine";
        assert_eq!(
            screen.wrapped(text, 8),
            "wrong   the socket\n        is not there\nok      fine"
        );
        assert_eq!(Screen::none().wrapped(text, 8), text);
        let long = "/a/path/that/is/longer/than/a/line and more";
        assert_eq!(
            screen.wrapped(long, 2),
            "/a/path/that/is/longer/than/a/line\n  and more"
        );
        // Wide characters take two columns.
        assert_eq!(wrap("注文 注文 注文", 10, 0), "注文 注文\n注文");
    }

    #[test]
    fn what_finds_no_room_is_said_to_be_left_out() {
        let text = "one two three four five";
        assert_eq!(fit(text, 9, 9), ["one two", "three", "four five"]);
        assert_eq!(fit(text, 9, 2), ["one two", "three…"]);
        assert_eq!(fit("abcdefghij", 4, 9), ["abcd", "efgh", "ij"]);
        assert_eq!(fit("abcdefghij", 4, 2), ["abcd", "efg…"]);
        assert_eq!(fit("注文注文", 5, 1), ["注文…"]);
        assert_eq!(fit("", 5, 1), [""]);
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let env = |no: Option<&str>, term: Option<&str>| {
            let (no, term) = (no.map(Into::into), term.map(Into::into));
            is_coloured(move |name| match name {
                "NO_COLOR" => no.clone(),
                _ => term.clone(),
            })
        };
        assert!(env(None, Some("xterm")));
        assert!(env(Some(""), Some("xterm")));
        assert!(!env(Some("1"), Some("xterm")));
        assert!(!env(None, Some("dumb")));
        assert!(!env(None, None));
        let of = |values: [&str; 3]| {
            is_ascii(move |name| {
                let names = ["LC_ALL", "LC_CTYPE", "LANG"];
                let at = names.iter().position(|known| *known == name)?;
                Some(values[at].into())
            })
        };
        assert!(of(["", "", "C"]) && of(["C", "", "de_DE.UTF-8"]));
        assert!(!of(["", "", ""]) && !of(["", "C.utf8", "C"]) && !of(["", "", "de_DE.UTF-8"]));
        let screen = Screen::sized(80, 24);
        let bad = Some(Tone::Alarm);
        assert_eq!(screen.toned("is parked", "parked", bad), "is parked");
        let screen = screen.coloured();
        assert_eq!(
            screen.toned("is parked, parked", "parked", bad),
            "is \u{fdd2}parked\u{fdd3}, parked"
        );
        assert_eq!(screen.toned("is parked", "parked", None), "is parked");
        assert_eq!(screen.toned("is parked", "dead", bad), "is parked");
    }
}
