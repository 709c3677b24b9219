//! What people are shown on a terminal.
//!
//! Invariant: every command writes through [`out`], [`streamed`] or [`say`], so no text of others
//! (ids, names and messages that come from events, or from Pinterest) steers a terminal, whoever
//! forgot of it; only what programs take byte for byte goes to `stdout` itself.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::screen::{self, Screen, colour};
use super::stdout::Stdout;
pub(super) use crate::text::printable;
use crate::text::steers;

/// How long stderr's reader may take to take what is said.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Stdout, for an answer: it goes into nothing once its reader has gone. For people a dot stands for
/// each character that a terminal obeys, apart from line feeds and tabs; for programs, in JSON, its
/// escape, which is the same value.
pub(super) fn out(is_json: bool) -> Out<Stdout> {
    Out::new(Stdout::of_an_answer(), is_json, Screen::of_stdout())
}

/// The same for what has no end, or a far one: once its reader has gone, writing fails.
pub(super) fn streamed(is_json: bool) -> Out<Stdout> {
    Out::new(Stdout::of_a_stream(), is_json, Screen::of_stdout())
}

/// The same for much of it.
pub(super) fn buffered(is_json: bool) -> Out<BufWriter<Stdout>> {
    let to = BufWriter::new(Stdout::of_a_stream());
    Out::new(to, is_json, Screen::of_stdout())
}

/// A writer that lets nothing through that steers. On a terminal lines are wrapped at words.
pub(super) struct Out<W: Write> {
    to: W,
    is_json: bool,
    /// None for programs.
    screen: Screen,
    /// The line that is being written, on a terminal.
    line: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn new(to: W, is_json: bool, screen: Screen) -> Self {
        Self {
            to,
            is_json,
            screen: if is_json { Screen::none() } else { screen },
            line: Vec::new(),
        }
    }

    /// Writes what is there of the line that is being written.
    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        match self.screen.columns() {
            Some(columns) if !screen::is_json(&text) => {
                let indent = text.len() - text.trim_start_matches(' ').len();
                self.pass(screen::wrap(&text, columns, indent + 2).as_bytes())
            }
            _ => self.pass(&line),
        }
    }

    /// Of what steers. A carriage return would have what follows written over what stood there.
    fn passes(&self, c: char) -> bool {
        is_layout(c) && (self.is_json || c != '\r')
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Mostly there is nothing to do, and no copy to make.
        if is_plain(bytes) {
            return self.to.write_all(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text)
                if !self.screen.is_ascii()
                    && !text.chars().any(|c| steers(c) && !self.passes(c)) =>
            {
                self.to.write_all(bytes)?;
            }
            _ => {
                let text = String::from_utf8_lossy(bytes);
                let mut shown = match self.is_json {
                    true => json(&text),
                    false => people(&text, self.screen.is_coloured()),
                };
                if self.screen.is_ascii() {
                    shown = in_ascii(&shown);
                }
                self.to.write_all(shown.as_bytes())?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Out<W> {
    /// What is written is text, and no call ends within a character.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.screen.columns().is_none() {
            self.pass(bytes)?;
            return Ok(bytes.len());
        }
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_line()?;
        self.to.flush()
    }
}

impl<W: Write> Drop for Out<W> {
    fn drop(&mut self) {
        // Whoever wants to know flushes.
        let _ = self.end_line();
    }
}

/// Says it on stderr, for people. Its reader may take nothing: then it goes on without.
pub(super) fn say(text: &str) {
    let screen = Screen::of_stderr();
    let mut text = screen.wrapped(&lines(text), 2);
    if screen.is_ascii() {
        text = in_ascii(&text);
    }
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

/// With a dot for what a terminal obeys, apart from line feeds and tabs.
fn shown(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        c if steers(c) => '·',
        c => c,
    }
}

/// In lines, each character [`shown`].
fn lines(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// What a terminal that shows nothing but ASCII is given; our own colours stay.
fn in_ascii(text: &str) -> String {
    let shown = |c| match c {
        '\u{1b}' => c,
        c => screen::ascii(c),
    };
    text.chars().map(shown).collect()
}

/// [`lines`], with colours where they are marked and shown.
fn people(text: &str, is_coloured: bool) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match colour(c).filter(|_| is_coloured) {
            Some(sequence) => out.push_str(sequence),
            None => out.push(shown(c)),
        }
    }
    out
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
            let mut out = Out::new(Vec::new(), is_json, Screen::none());
            writeln!(out, "{NASTY}\tc").unwrap();
            out.write_all(&[0xff, b'\n']).unwrap();
            String::from_utf8(std::mem::take(&mut out.to)).unwrap()
        };
        assert_eq!(shown(false), "a·[2J·31m··b\tc\n\u{fffd}\n");
        assert!(shown(true).starts_with("a\\u001b[2J\\u009b31m\\u007f\\u202eb\tc\n"));
    }

    #[test]
    fn colours_get_out_where_they_are_shown_and_nothing_else_does() {
        let shown = |screen| {
            let mut out = Out::new(Vec::new(), false, screen);
            writeln!(out, "\u{fdd0}ok\u{fdd3} {NASTY}").unwrap();
            String::from_utf8(std::mem::take(&mut out.to)).unwrap()
        };
        let screen = Screen::sized(80, 24);
        assert_eq!(
            shown(screen.coloured()),
            "\u{1b}[32mok\u{1b}[0m a·[2J·31m··b\n"
        );
        assert_eq!(shown(screen), "·ok· a·[2J·31m··b\n");
        assert_eq!(shown(Screen::none()), "·ok· a·[2J·31m··b\n");
    }

    #[test]
    fn on_a_terminal_lines_are_wrapped_at_words_and_json_is_not() {
        let mut out = Out::new(Vec::new(), false, Screen::sized(40, 24).coloured());
        write!(out, "  a line that is ").unwrap();
        writeln!(out, "longer than \u{fdd2}forty\u{fdd3} columns").unwrap();
        writeln!(
            out,
            "  {{\"an\": \"event that is longer than forty columns\"}}"
        )
        .unwrap();
        write!(out, "asks: ").unwrap();
        out.flush().unwrap();
        let text = String::from_utf8(std::mem::take(&mut out.to)).unwrap();
        assert_eq!(
            text,
            "  a line that is longer than \u{1b}[1;31mforty\u{1b}[0m\n    columns\n  \
             {\"an\": \"event that is longer than forty columns\"}\nasks: "
        );
    }

    #[test]
    fn json_stays_the_same_value() {
        let line = serde_json::to_string(NASTY).unwrap();
        let shown = json(&line);
        assert!(!shown.chars().any(steers), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), NASTY);
        assert_eq!(json("{\n\t\"a\": 1}\r\n"), "{\n\t\"a\": 1}\r\n");
    }
}
