//! What holds of the framing whatever is read, in whatever pieces; and what HTTP makes of a body.

use bytes::BytesMut;

use super::http::{Beside, Call, Shape};
use super::ndjson::lines::{Lines, Next};
use crate::event::BYTE_ORDER_MARK;

/// A line, or `None` in the place of one that is too long.
type Framed = Vec<Option<Vec<u8>>>;

/// Framing loses no line, joins none, numbers all (a line that is too long still is one), and
/// never holds more than the limit and a CR.
///
/// The first byte is the limit, the second how many bytes give the lengths of the pieces in
/// which the rest arrives; the last length goes on to the end.
pub fn lines(data: &[u8]) {
    let [limit, pieces, rest @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit);
    let (lengths, stream) = rest.split_at(usize::from(*pieces).min(rest.len()));
    let expected = model(stream, limit);
    assert_eq!(framed(stream, lengths, limit), expected, "in pieces");
    assert_eq!(framed(stream, &[], limit), expected, "at once");
}

/// The rule as a whole: lines end at LF, one CR before it is not theirs, a last line needs no
/// end, and a byte-order mark before the first is no part of it.
fn model(stream: &[u8], limit: usize) -> Framed {
    let stream = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let without_cr = |line| <[u8]>::strip_suffix(line, b"\r").unwrap_or(line);
    lines
        .into_iter()
        .map(|line| Some(without_cr(line).to_vec()).filter(|line| line.len() <= limit))
        .collect()
}

fn framed(mut stream: &[u8], lengths: &[u8], limit: usize) -> Framed {
    let (mut lines, mut buffer, mut out) = (Lines::new(limit), BytesMut::new(), Vec::new());
    let mut lengths = lengths.iter();
    loop {
        let length = lengths.next().map_or(stream.len(), |n| usize::from(*n));
        let (piece, later) = stream.split_at(length.min(stream.len()));
        buffer.extend_from_slice(piece);
        stream = later;
        let last = stream.is_empty() && lengths.len() == 0;
        loop {
            match lines.next(&mut buffer, last) {
                Next::Line(line) => out.push(Some(line.to_vec())),
                Next::TooLong => out.push(None),
                Next::Incomplete => break,
            }
        }
        assert!(buffer.len() <= limit + 1, "held {} bytes", buffer.len());
        if last {
            assert!(buffer.is_empty(), "{} bytes were left", buffer.len());
            return out;
        }
    }
}

/// What a request's body becomes: each event as it was written, and its line; nothing where the
/// request is refused whole. `is_batch`: it came by a path for batches.
pub fn by_http(body: &[u8], is_batch: bool, received_at: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let shape = match is_batch {
        true => Shape::Batch,
        false => Shape::One,
    };
    let Ok(call) = Call::read(body, shape, body.len() * 4) else {
        return Vec::new();
    };
    let beside = Beside {
        kind: None,
        received_at,
        ip: None,
        user_agent: None,
    };
    let pair = |event: &&[u8]| {
        let mut line = Vec::new();
        call.line(event, &beside, || "made".to_owned(), &mut line);
        (event.to_vec(), line)
    };
    call.events.iter().map(pair).collect()
}
