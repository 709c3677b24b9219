//! The chunks that this writer committed last, for whoever delivers here: nothing is read back from
//! the database while delivery keeps up.

use std::collections::VecDeque;
use std::sync::Arc;

use super::wave::Place;
use crate::queue::record::chunk::Chunk;

/// Packed bytes that are kept; what comes beyond is read from the database.
const KEPT: usize = 8 << 20;

struct Kept {
    /// The chunk of this writer before it.
    behind: Place,
    place: Place,
    generation: i32,
    chunk: Arc<Chunk>,
}

/// See the file's page.
#[derive(Default)]
pub struct Tail {
    writer: u32,
    last: Place,
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Tail {
    /// Of this writer, which has committed nothing yet.
    pub fn of(writer: u32) -> Self {
        Self {
            writer,
            ..Self::default()
        }
    }

    pub fn writer(&self) -> u32 {
        self.writer
    }

    /// The last chunk that was committed.
    pub fn last(&self) -> Place {
        self.last
    }

    pub fn push(&mut self, generation: i32, chunks: Vec<(Place, Arc<Chunk>)>) {
        for (place, chunk) in chunks {
            let behind = std::mem::replace(&mut self.last, place);
            if self.bytes < KEPT {
                self.bytes += chunk.packed.len();
                self.kept.push_back(Kept {
                    behind,
                    place,
                    generation,
                    chunk,
                });
            }
        }
    }

    /// The chunk that follows on this place, if it is kept; what is not behind it is let go.
    pub fn next(&mut self, after: Place) -> Option<(Place, i32, Arc<Chunk>)> {
        while let Some(kept) = self.kept.front() {
            if kept.place > after && kept.behind > after {
                return None;
            }
            let kept = self.kept.pop_front()?;
            self.bytes -= kept.chunk.packed.len();
            if kept.place > after {
                return Some((kept.place, kept.generation, kept.chunk));
            }
        }
        None
    }

    /// What was given comes first again.
    pub fn put_back(&mut self, place: Place, generation: i32, chunk: Arc<Chunk>) {
        self.bytes += chunk.packed.len();
        self.kept.push_front(Kept {
            behind: Place::default(),
            place,
            generation,
            chunk,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::queue::contract::Seq;
    use crate::queue::record::chunk::AcceptTotals;

    fn chunk(bytes: usize) -> Arc<Chunk> {
        Arc::new(Chunk {
            first_seq: Seq(1024),
            accepted_at: 0,
            totals: AcceptTotals::default(),
            queued: vec![0],
            packed_count: 1,
            ids: vec![1],
            retried: vec![],
            plain_len: 1,
            packed: Bytes::from(vec![0; bytes]),
        })
    }

    #[test]
    fn it_gives_what_follows_and_nothing_behind_a_gap() {
        let place = |group| Place { group, part: 0 };
        let mut tail = Tail::of(1);
        // Group 2 had no events.
        for group in [1, 3, 4] {
            tail.push(1, vec![(place(group), chunk(10))]);
        }
        assert_eq!(tail.next(place(0)).map(|(at, ..)| at), Some(place(1)));
        assert_eq!(tail.next(place(1)).map(|(at, ..)| at), Some(place(3)));
        // It was read from the database meanwhile.
        assert!(tail.next(place(4)).is_none());
        tail.push(1, vec![(place(5), chunk(KEPT)), (place(6), chunk(1))]);
        assert_eq!(tail.next(place(4)).map(|(at, ..)| at), Some(place(5)));
        // There was no room for the sixth.
        tail.push(1, vec![(place(7), chunk(1))]);
        assert!(tail.next(place(5)).is_none());
        assert_eq!(tail.last(), place(7));
        assert_eq!(tail.next(place(6)).map(|(at, ..)| at), Some(place(7)));
    }
}
