//! The input as chunks of whole lines.

use std::io::{self, Read};

use super::message_id;
use crate::event::{BYTE_ORDER_MARK, is_blank};

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
}

/// A line of a [`Chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Where it ends in the chunk's bytes, its line feed included.
    pub end: usize,
    /// Its number in the input, from 1, blank lines counted.
    pub number: u64,
}

impl Chunk {
    /// Where line `i` starts.
    pub fn start(&self, i: usize) -> usize {
        i.checked_sub(1).map_or(0, |before| self.lines[before].end)
    }

    /// Appends line `i` of another chunk.
    pub fn push_from(&mut self, other: &Self, i: usize) {
        let line = other.lines[i];
        self.bytes
            .extend_from_slice(&other.bytes[other.start(i)..line.end]);
        self.close(line.number);
    }

    fn close(&mut self, number: u64) {
        self.lines.push(Line {
            end: self.bytes.len(),
            number,
        });
    }
}

/// What an [`Input`] gives next.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The lines that are to be sent; blank ones are left out, for they get no answer.
    pub chunk: Chunk,
    /// The numbers of lines that are too long to be sent at all.
    pub too_long: Vec<u64>,
    /// Bytes of the input read for it.
    pub read: u64,
}

/// Reads lines.
pub struct Input<R> {
    source: R,
    assign_ids: bool,
    number: u64,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// Within a line that is too long.
    skipping: bool,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// `assign_ids`: lines without a messageId get one.
    pub fn new(source: R, assign_ids: bool) -> Self {
        Self {
            source,
            assign_ids,
            number: 0,
            rest: Vec::new(),
            skipping: false,
            buffer: vec![0; READ],
            ended: false,
        }
    }

    /// Whatever the source has ready, as whole lines; `None` at its end.
    ///
    /// # Errors
    /// The source's.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let n = loop {
            match self.source.read(&mut self.buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let mut piece = Piece {
            chunk: Chunk::default(),
            too_long: Vec::new(),
            read: n as u64,
        };
        if n == 0 {
            self.ended = true;
            if self.skipping || !self.rest.is_empty() {
                self.end_line(&[], &mut piece);
            }
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
        self.number += 1;
        let skipped = std::mem::take(&mut self.skipping);
        if skipped || self.rest.len() + tail.len() > MAX_LINE {
            self.rest = Vec::new();
            piece.too_long.push(self.number);
            return;
        }
        let whole = if self.rest.is_empty() {
            tail
        } else {
            self.rest.extend_from_slice(tail);
            &self.rest
        };
        let whole = match self.number {
            1 => whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole),
            _ => whole,
        };
        // What the socket does not answer must not be waited for.
        if !is_blank(whole) {
            let chunk = &mut piece.chunk;
            if self.assign_ids {
                message_id::assign(whole, &mut chunk.bytes, || uuid::Uuid::new_v4().to_string());
            } else {
                chunk.bytes.extend_from_slice(whole);
            }
            chunk.bytes.push(b'\n');
            chunk.close(self.number);
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
        let mut input = Input::new(Slow(text, step), false);
        let (mut all, mut too_long, mut read) = (Vec::new(), Vec::new(), 0);
        while let Some(piece) = input.next().expect("no error") {
            read += piece.read;
            too_long.extend(piece.too_long);
            for (i, line) in piece.chunk.lines.iter().enumerate() {
                let bytes = &piece.chunk.bytes[piece.chunk.start(i)..line.end];
                all.push((line.number, bytes.to_vec()));
            }
        }
        assert_eq!(read, text.len() as u64);
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
        let mut input = Input::new(&b"{}\n{}\n{\"messageId\":\"x\"}"[..], true);
        let mut text = Vec::new();
        while let Some(piece) = input.next().expect("no error") {
            text.extend(piece.chunk.bytes);
        }
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
}
