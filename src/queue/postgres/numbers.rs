//! Numbers of the line: each chunk has a block of them, which the database's sequence gives.

use crate::queue::contract::{Number, Seq};

/// Numbers in a block, and so the most events in a chunk.
pub const BLOCK: u64 = 1024;

/// First and last number of the block that this one is in.
pub fn block_of(number: Seq) -> (Seq, Seq) {
    let first = number.value() / BLOCK * BLOCK;
    (Seq::of(first), Seq::of(first + BLOCK - 1))
}
