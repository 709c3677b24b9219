//! Lines that leave in one request.

use std::sync::Arc;

use super::super::input::{Chunk, LineAt};

/// Lines that leave together.
#[derive(Default)]
pub(super) struct Load {
    /// Each as a line of a chunk.
    pub lines: Vec<(Arc<Chunk>, usize)>,
    /// The request's body.
    pub body: Vec<u8>,
}

impl Load {
    /// Where its first line stands.
    pub fn first(&self) -> LineAt {
        let first = self.lines.first().map(|(chunk, i)| chunk.lines[*i].at);
        first.unwrap_or(LineAt {
            source: 0,
            number: 0,
        })
    }

    /// Appends line `i` of a chunk; `is_batch`: to an object with an array `batch`.
    pub fn push(&mut self, chunk: &Arc<Chunk>, i: usize, is_batch: bool) {
        if is_batch {
            let before: &[u8] = if self.lines.is_empty() {
                b"{\"batch\":["
            } else {
                b","
            };
            self.body.extend_from_slice(before);
        }
        self.body.extend_from_slice(chunk.line(i).trim_ascii());
        self.lines.push((chunk.clone(), i));
    }

    /// With the end of that object.
    pub fn closed(mut self, is_batch: bool) -> Self {
        if is_batch {
            self.body.extend_from_slice(b"]}");
        }
        self
    }
}
