//! What becomes of the events of one group: pure, given what is known of their ids.

use std::collections::HashMap;

use bytes::Bytes;

use super::numbers::BLOCK;
use super::totals::Totals;
use crate::clock::Millis;
use crate::queue::block::{self, Block};
use crate::queue::contract::{DeadReason, IdSet, LetterNumber, Receipt, Seq};
use crate::queue::record::chunk::{AcceptTotals, Chunk};
use crate::queue::record::dead_record;

/// A block, or a part of one, that becomes one chunk at most.
pub struct Part {
    /// The numbers of its events begin with this one: each has one, also where it turns out to be
    /// a duplicate.
    pub first: Seq,
    pub accepted_at: Millis,
    pub takes_back: bool,
    pub ids: Vec<u128>,
    pub packed: Bytes,
    pub plain_len: usize,
}

/// What is known of ids that are not new.
#[derive(Default)]
pub struct Known {
    /// Those that are new; each once.
    pub new: IdSet,
    /// The dead letters of the others.
    pub dead: HashMap<u128, Dead>,
}

/// A dead letter, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Dead {
    pub number: LetterNumber,
    pub reason: DeadReason,
    pub body_hash: u64,
}

/// What became of a part.
pub struct Decided {
    pub receipts: Vec<Receipt>,
    pub chunk: Option<Chunk>,
    /// Ids of the line whose events were dead until now: their numbers are others.
    pub moved: Vec<(u128, Seq)>,
}

/// Splits a block whose events are more than a chunk may have.
pub fn parts(block: &Block) -> Vec<Part> {
    let part = |ids: &[u128], packed, plain_len| Part {
        first: Seq(0),
        accepted_at: block.accepted_at,
        takes_back: block.takes_back,
        ids: ids.to_vec(),
        packed,
        plain_len,
    };
    if block.ids.len() as u64 <= BLOCK {
        return vec![part(&block.ids, block.packed.clone(), block.plain_len)];
    }
    // Unwrap safety: packed in this process a moment ago.
    let items =
        block::unpack(&block.packed, block.ids.len(), block.plain_len).expect("a block of our own");
    let slices = (block.ids.chunks(BLOCK as usize)).zip(items.chunks(BLOCK as usize));
    slices
        .map(|(ids, items)| {
            let (packed, plain_len) = block::repack(items);
            part(ids, packed, plain_len)
        })
        .collect()
}

/// Decides about each event in its order. What is taken out of `known` here is met no more: the
/// next event of that id is a duplicate.
pub fn decide(part: Part, known: &mut Known, totals: &mut Totals) -> Decided {
    let mut receipts = Vec::with_capacity(part.ids.len());
    let (mut queued, mut ids, mut retried, mut moved) = (vec![], vec![], vec![], vec![]);
    let mut items = None;
    for (at, id) in (0u32..).zip(&part.ids) {
        let receipt = if known.new.remove(id) {
            totals.accepted += 1;
            Receipt::Queued
        } else if let Some(dead) = known.dead.get(id).copied()
            && (part.takes_back || differs(&part, at, dead.body_hash, &mut items))
        {
            known.dead.remove(id);
            totals.count_dead(dead.reason, -1);
            totals.retried += 1;
            retried.push(dead.number);
            moved.push((*id, part.first + u64::from(at)));
            Receipt::Retried
        } else {
            totals.duplicate += 1;
            Receipt::Duplicate
        };
        if receipt != Receipt::Duplicate {
            queued.push(at);
            ids.push(*id);
        }
        receipts.push(receipt);
    }
    totals.lined += ids.len() as i64;
    let chunk = (!ids.is_empty()).then(|| Chunk {
        first_seq: part.first,
        accepted_at: part.accepted_at,
        totals: AcceptTotals::default(),
        queued,
        packed_count: part.ids.len() as u32,
        ids,
        retried,
        plain_len: part.plain_len as u32,
        packed: part.packed,
    });
    Decided {
        receipts,
        chunk,
        moved,
    }
}

/// Whether the bytes of this event are others than those of the letter.
fn differs(part: &Part, at: u32, hash: u64, items: &mut Option<Vec<block::Item>>) -> bool {
    if items.is_none() {
        *items = block::unpack(&part.packed, part.ids.len(), part.plain_len).ok();
    }
    let item = items.as_ref().and_then(|items| items.get(at as usize));
    item.is_some_and(|item| dead_record::body_hash(&item.body) != hash)
}
