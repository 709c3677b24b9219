//! What people are shown on a terminal.
//!
//! Invariant: every command writes through [`out`] or [`say`], so no text of others (ids, names and
//! messages that come from events, or from Pinterest) steers a terminal, whoever forgot of it.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

pub(super) use crate::text::printable;
use crate::text::steers;

/// How long stderr's reader may take to take what is said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Stdout. For people a dot stands for each character that a terminal obeys, apart from line feeds
/// and tabs; for programs, in JSON, its escape, which is the same value.
pub(super) fn out(is_json: bool) -> Out<io::StdoutLock<'static>> {
    Out::new(io::stdout().lock(), is_json)
}

/// The same for much of it.
pub(super) fn buffered(is_json: bool) -> Out<BufWriter<io::StdoutLock<'static>>> {
    Out::new(BufWriter::new(io::stdout().lock()), is_json)
}

/// A writer that lets nothing through that steers.
pub(super) struct Out<W> {
    to: W,
    is_json: bool,
}

impl<W: Write> Out<W> {
    fn new(to: W, is_json: bool) -> Self {
        Self { to, is_json }
    }

    /// Of what steers. A carriage return would have what follows written over what stood there.
    fn passes(&self, c: char) -> bool {
        is_layout(c) && (self.is_json || c != '\r')
    }
}

impl<W: Write> Write for Out<W> {
    /// What is written is text, and no call ends within a character.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Mostly there is nothing to do, and no copy to make.
        if is_plain(bytes) {
            self.to.write_all(bytes)?;
            return Ok(bytes.len());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(|c| steers(c) && !self.passes(c)) => {
                self.to.write_all(bytes)?;
            }
            _ => {
                let text = String::from_utf8_lossy(bytes);
                let shown = if self.is_json {
                    json(&text)
                } else {
                    lines(&text)
                };
                self.to.write_all(shown.as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Says it on stderr, for people. Its reader may take nothing: then it goes on without.
pub(super) fn say(text: &str) {
    let text = lines(text);
    let (said, is_said) = channel();
    std::thread::spawn(move || {
        // A closed stderr is no reason to end otherwise.
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = said.send(());
    });
    let _ = is_said.recv_timeout(LAST_WORDS);
}

/// What lays out text rather than steers.
fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t')
}

/// Whether it is nothing but what ASCII shows, in lines: of every byte, for a loop without an early
/// end runs many at once, and nearly all that is written is so.
fn is_plain(bytes: &[u8]) -> bool {
    let shows = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\t');
    bytes.iter().fold(true, |all, b| all & shows(b))
}

/// In lines, with a dot for each character that a terminal obeys.
fn lines(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if steers(c) => '·',
        c => c,
    };
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
        match steers(c) && !is_layout(c) {
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
    fn nothing_that_a_terminal_obeys_gets_out() {
        let shown = |is_json| {
            let mut out = Out::new(Vec::new(), is_json);
            writeln!(out, "{NASTY}\tc").unwrap();
            out.write_all(&[0xff, b'\n']).unwrap();
            String::from_utf8(out.to).unwrap()
        };
        assert_eq!(shown(false), "a·[2J·31m··b\tc\n\u{fffd}\n");
        assert!(shown(true).starts_with("a\\u001b[2J\\u009b31m\\u007f\\u202eb\tc\n"));
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
