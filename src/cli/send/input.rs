//! The input as chunks of whole lines.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use super::message_id;
use crate::event::is_blank;

/// Asked of the input at once.
const READ: usize = 256 << 10;

/// A line longer than this is rejected here, without being held: the daemon's own limit is
/// lower still.
const MAX_LINE: usize = 16 << 20;

/// Whole lines, each with a line feed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// What goes over the socket.
    pub bytes: Vec<u8>,
    /// One per line of `bytes`.
    pub lines: Vec<Line>,
    /// Lines that are sent otherwise than they came, as they came, by their place in `lines`.
    came: BTreeMap<usize, Vec<u8>>,
}

/// A line of a [`Chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Where it ends in the chunk's bytes, its line feed included.
    pub end: usize,
    /// Where it stands in the input.
    pub at: LineAt,
}

/// Where a line stands in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineAt {
    /// Which of the sources, from 0.
    pub source: usize,
    /// Its number in it, from 1, blank lines counted.
    pub number: u64,
}

impl Chunk {
    /// Where line `i` starts.
    pub fn start(&self, i: usize) -> usize {
        i.checked_sub(1).map_or(0, |before| self.lines[before].end)
    }

    /// Line `i` as it is sent, with its line feed.
    pub fn line(&self, i: usize) -> &[u8] {
        &self.bytes[self.start(i)..self.lines[i].end]
    }

    /// Line `i` as it came, with a line feed.
    pub fn as_it_came(&self, i: usize) -> &[u8] {
        self.came.get(&i).map_or(self.line(i), Vec::as_slice)
    }

    /// Appends line `i` of another chunk.
    pub fn push_from(&mut self, other: &Self, i: usize) {
        if let Some(came) = other.came.get(&i) {
            self.came.insert(self.lines.len(), came.clone());
        }
        self.bytes.extend_from_slice(other.line(i));
        self.close(other.lines[i].at);
    }

    /// Appends a line that came without its line feed.
    fn push(&mut self, came: &[u8], at: LineAt, assign_id: bool) {
        if assign_id {
            let start = self.bytes.len();
            message_id::assign(came, &mut self.bytes, || uuid::Uuid::new_v4().to_string());
            if self.bytes[start..] != *came {
                let came = [came, b"\n"].concat();
                self.came.insert(self.lines.len(), came);
            }
        } else {
            self.bytes.extend_from_slice(came);
        }
        self.bytes.push(b'\n');
        self.close(at);
    }

    fn close(&mut self, at: LineAt) {
        self.lines.push(Line {
            end: self.bytes.len(),
            at,
        });
    }
}

/// What an [`Input`] gives next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The lines that are to be sent; blank ones are left out, for they get no answer.
    pub chunk: Chunk,
    /// The lines that are too long to be sent at all.
    pub too_long: Vec<LineAt>,
}

/// What ended the input early.
#[derive(Debug)]
pub struct ReadError {
    /// Which of the sources could not be read, from 0; those behind it were not.
    pub source: usize,
    /// Whole lines that had been read of it.
    pub lines: u64,
    /// Why.
    pub error: io::Error,
}

/// Reads the lines of several sources, one after the other.
pub struct Input<R> {
    sources: VecDeque<R>,
    assign_ids: bool,
    at: LineAt,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// Within a line that is too long.
    skipping: bool,
    buffer: Vec<u8>,
}

impl<R: Read> Input<R> {
    /// `assign_ids`: lines without a messageId get one.
    pub fn new(sources: Vec<R>, assign_ids: bool) -> Self {
        Self {
            sources: sources.into(),
            assign_ids,
            at: LineAt {
                source: 0,
                number: 0,
            },
            rest: Vec::new(),
            skipping: false,
            buffer: vec![0; READ],
        }
    }

    /// Whatever the source has ready, as whole lines; `None` at the end of the last.
    ///
    /// # Errors
    /// The source's.
    pub fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        let Some(source) = self.sources.front_mut() else {
            return Ok(None);
        };
        let n = loop {
            match source.read(&mut self.buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) => break n,
                Err(error) => {
                    return Err(ReadError {
                        source: self.at.source,
                        lines: self.at.number,
                        error,
                    });
                }
            }
        };
        let mut piece = Piece::default();
        if n == 0 {
            if self.skipping || !self.rest.is_empty() {
                self.end_line(&[], &mut piece);
            }
            self.sources.pop_front();
            self.at = LineAt {
                source: self.at.source + 1,
                number: 0,
            };
            return Ok(Some(piece));
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[..n]) {
            self.end_line(&buffer[start..end], &mut piece);
            start = end + 1;
        }
        let tail = &buffer[start..n];
        if self.skipping || self.rest.len() + tail.len() > MAX_LINE {
            self.skipping = true;
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(tail);
        }
        self.buffer = buffer;
        Ok(Some(piece))
    }

    /// Takes a line, whose last part is `tail`.
    fn end_line(&mut self, tail: &[u8], piece: &mut Piece) {
        self.at.number += 1;
        let skipped = std::mem::take(&mut self.skipping);
        if skipped || self.rest.len() + tail.len() > MAX_LINE {
            self.rest = Vec::new();
            piece.too_long.push(self.at);
            return;
        }
        let whole = if self.rest.is_empty() {
            tail
        } else {
            self.rest.extend_from_slice(tail);
            &self.rest
        };
        // What the socket does not answer must not be waited for.
        if !is_blank(whole) {
            piece.chunk.push(whole, self.at, self.assign_ids);
        }
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of `step`.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn lines(text: &[u8], step: usize) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let mut input = Input::new(vec![Slow(text, step)], false);
        let (mut all, mut too_long) = (Vec::new(), Vec::new());
        while let Some(piece) = input.next().expect("no error") {
            too_long.extend(piece.too_long.iter().map(|at| at.number));
            for (i, line) in piece.chunk.lines.iter().enumerate() {
                all.push((line.at.number, piece.chunk.line(i).to_vec()));
            }
        }
        (all, too_long)
    }

    #[test]
    fn lines_are_kept_byte_for_byte_and_numbered_with_the_blank_ones() {
        let text = b"\n{\"a\":1}\r\n  \t\r\n\xff x \n\nlast";
        let expected: Vec<(u64, Vec<u8>)> = vec![
            (2, b"{\"a\":1}\r\n".to_vec()),
            (4, b"\xff x \n".to_vec()),
            (6, b"last\n".to_vec()),
        ];
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(
                lines(text, step),
                (expected.clone(), vec![]),
                "in steps of {step}"
            );
        }
        assert_eq!(lines(b"", 1), (vec![], vec![]));
        assert_eq!(lines(b"\n\n", 1), (vec![], vec![]));
    }

    #[test]
    fn a_line_without_an_end_is_not_held() {
        let mut text = b"a\n".to_vec();
        text.resize(text.len() + MAX_LINE, b'x');
        text.extend_from_slice(b"\nb\n");
        text.resize(text.len() + MAX_LINE + 1, b'y');
        text.extend_from_slice(b"\n\nc\n");
        text.resize(text.len() + MAX_LINE + 1, b'z');
        let (sent, too_long) = lines(&text, READ);
        let numbers: Vec<u64> = sent.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 6]);
        assert_eq!(sent[1].1.len(), MAX_LINE + 1);
        assert_eq!(too_long, [4, 7]);
    }

    #[test]
    fn assigned_ids_differ() {
        let mut input = Input::new(vec![&b"{}\n{}\n{\"messageId\":\"x\"}"[..]], true);
        let (mut text, mut came) = (Vec::new(), Vec::new());
        while let Some(piece) = input.next().expect("no error") {
            let mut again = Chunk::default();
            for i in 0..piece.chunk.lines.len() {
                again.push_from(&piece.chunk, i);
                came.extend_from_slice(again.as_it_came(i));
            }
            text.extend(piece.chunk.bytes);
        }
        assert_eq!(came, b"{}\n{}\n{\"messageId\":\"x\"}\n");
        let ids: Vec<String> = String::from_utf8(text)
            .expect("UTF-8")
            .lines()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
                event["messageId"].as_str().expect("an id").to_owned()
            })
            .collect();
        assert_eq!(ids[2], "x");
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].len(), 36);
    }

    #[test]
    fn each_source_has_lines_of_its_own() {
        let mut input = Input::new(vec![&b"a\nb"[..], b"", b"\nc\n"], false);
        let mut places = Vec::new();
        while let Some(piece) = input.next().expect("no error") {
            places.extend(piece.chunk.lines.iter().map(|l| (l.at.source, l.at.number)));
        }
        assert_eq!(places, [(0, 1), (0, 2), (2, 2)]);
    }
}
