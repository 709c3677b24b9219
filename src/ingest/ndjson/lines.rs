//! Framing: lines out of what a socket gives, bounded whatever the client sends.

use bytes::{Buf, BytesMut};

use crate::event::BYTE_ORDER_MARK;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line without its line end (LF or CRLF).
    Line(BytesMut),
    /// A line over the limit; its rest is skipped as it comes.
    TooLong,
    /// More must be read first.
    Incomplete,
}

/// Splits a stream into lines of at most `limit` bytes.
pub struct Lines {
    limit: usize,
    /// How much of the buffer is known to hold no line feed.
    scanned: usize,
    /// Inside a line that was reported as too long.
    skipping: bool,
    /// Nothing of the stream was taken yet.
    at_start: bool,
}

impl Lines {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            scanned: 0,
            skipping: false,
            at_start: true,
        }
    }

    /// Takes the next line off the front of `buffer`. A byte-order mark before the first one is
    /// no part of it. At the end of the stream (`last`) what
    /// is left without a line feed is a line too.
    pub fn next(&mut self, buffer: &mut BytesMut, last: bool) -> Next {
        if self.at_start {
            if !last && buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(buffer)
            {
                return Next::Incomplete;
            }
            self.at_start = false;
            if buffer.starts_with(BYTE_ORDER_MARK) {
                buffer.advance(BYTE_ORDER_MARK.len());
            }
        }
        loop {
            let found = memchr::memchr(b'\n', &buffer[self.scanned..]).map(|at| at + self.scanned);
            if self.skipping {
                self.scanned = 0;
                match found {
                    Some(end) => {
                        buffer.advance(end + 1);
                        self.skipping = false;
                        continue;
                    }
                    None => {
                        buffer.clear();
                        return Next::Incomplete;
                    }
                }
            }
            let (mut line, whole) = match found {
                Some(end) => {
                    let line = buffer.split_to(end);
                    buffer.advance(1);
                    (line, true)
                }
                None if last && !buffer.is_empty() => (buffer.split(), true),
                None => {
                    self.scanned = buffer.len();
                    // One byte more, for the CR of a line end.
                    if buffer.len() <= self.limit + 1 {
                        return Next::Incomplete;
                    }
                    (buffer.split(), false)
                }
            };
            self.scanned = 0;
            self.skipping = !whole;
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if whole && line.len() <= self.limit {
                return Next::Line(line);
            }
            return Next::TooLong;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that comes out of `stream` when it arrives in these pieces.
    fn split(pieces: &[&[u8]], limit: usize) -> Vec<Option<Vec<u8>>> {
        let (mut lines, mut buffer, mut out) = (Lines::new(limit), BytesMut::new(), Vec::new());
        for (at, piece) in pieces.iter().chain([&&b""[..]]).enumerate() {
            buffer.extend_from_slice(piece);
            loop {
                match lines.next(&mut buffer, at == pieces.len()) {
                    Next::Line(line) => out.push(Some(line.to_vec())),
                    Next::TooLong => out.push(None),
                    Next::Incomplete => break,
                }
            }
            assert!(buffer.len() <= limit + 1, "held {} bytes", buffer.len());
        }
        out
    }

    #[test]
    fn line_ends_blank_lines_and_a_last_line_without_one() {
        let line = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            split(&[b"a\r\n\n", b"b", b"b\n\rc\nd"], 10),
            [line("a"), line(""), line("bb"), line("\rc"), line("d")]
        );
        assert_eq!(
            split(&[b"123456\n123456\r\n1234567\n1\n"], 6),
            [line("123456"), line("123456"), None, line("1")]
        );
        assert_eq!(split(&[b"1234567", b"89\n", b"1"], 6), [None, line("1")]);
        assert_eq!(split(&[b"12345678901234567890"], 6), [None]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_before_the_first_line_alone() {
        let line = |text: &str| Some(text.as_bytes().to_vec());
        let marked = "\u{feff}123456\n\u{feff}1\n".as_bytes();
        let expected = [line("123456"), line("\u{feff}1")];
        assert_eq!(split(&[marked], 6), expected);
        for cut in 0..5 {
            assert_eq!(
                split(&[&marked[..cut], &marked[cut..]], 6),
                expected,
                "{cut}"
            );
        }
        assert_eq!(split(&[b"\xef\xbb"], 6), [Some(b"\xef\xbb".to_vec())]);
        assert_eq!(split(&["\u{feff}".as_bytes()], 6), []);
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            text in "[ab\r\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&pieces, 8), split(&[bytes], 8));
        }
    }
}
