//! The accept side of the committer: which events are new, and the instant of commitment.

use std::sync::Arc;
use std::time::Instant;

use crate::queue::block;
use crate::queue::block::Block;
use crate::queue::contract::{LetterNumber, Receipt};
use crate::queue::lock::lock;
use crate::queue::record::{
    chunk::{self, Chunk},
    dead_record,
};
use crate::queue::sled::dead::{DeadLetters, Known};
use crate::queue::sled::disk::{At, Batch, StoreError};
use crate::queue::sled::ids::Horizon;
use crate::queue::sled::runtime::Arrival;
use crate::queue::sled::threads::committer::Committer;

/// Where a letter is.
#[derive(Clone, Copy)]
pub enum Place {
    Dead(Known),
    Queued,
}

impl Committer {
    pub(super) fn accept(&mut self, arrivals: Vec<Arrival>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut chunks = Vec::new();
        let mut answers = Vec::with_capacity(arrivals.len());
        let mut retried = Vec::new();
        let horizon = self.horizon();
        for Arrival { block, reply, room } in arrivals {
            let (receipts, chunk) = self.decide(block, horizon, &mut retried)?;
            if let Some(chunk) = chunk {
                let bytes = chunk.encode();
                self.head.bytes += bytes.len() as u64;
                batch.put_parts(&chunk::key(chunk.first_seq), &bytes);
                chunks.push(Arc::new(chunk));
            }
            answers.push((reply, receipts, room));
        }
        if !chunks.is_empty() {
            // The instant of commitment: when this returns, the group is on disk and synced.
            let begun = Instant::now();
            self.head.store.commit(batch)?;
            let meters = self.shared.options.observer.meters();
            meters.synced(begun.elapsed());
        }
        self.write_high(false)?;
        self.publish_census();
        if self.shared.stopped.get().is_some() {
            // Invariant: no receipt after the latch. The anchor counts this group already.
            let source = std::io::Error::other("another part of the queue has failed");
            return Err(source).at(&self.shared.options.path);
        }
        for (reply, receipts, room) in answers {
            drop(room);
            // The client may be gone; what it sent is stored all the same.
            let _ = reply.send(Ok(receipts));
        }
        let mut tail = lock(&self.shared.tail);
        chunks.into_iter().for_each(|chunk| tail.publish(chunk));
        drop(tail);
        if !retried.is_empty() {
            // The chunk names them too, so the next start completes this after a crash.
            let mut batch = Batch::default();
            for number in retried {
                if self.ledger.is_purged(number) {
                    self.ledger.unpurge(&mut batch, number);
                    continue;
                }
                self.ledger.put_period_of(&mut batch, number);
                self.ledger.retire_letter(&mut batch, number);
            }
            self.write_meta(batch)?;
        }
        Ok(())
    }

    /// Which events of the block are new; the chunk holds those.
    pub(super) fn decide(
        &mut self,
        block: Block,
        horizon: Horizon,
        retried: &mut Vec<LetterNumber>,
    ) -> Result<(Vec<Receipt>, Option<Chunk>), StoreError> {
        let first_seq = self.ledger.state.last_seq + 1;
        let totals = &mut self.ledger.state.totals;
        totals.ignored += u64::from(block.ignored);
        totals.rejected += u64::from(block.rejected);
        let mut receipts = Vec::with_capacity(block.ids.len());
        let mut queued = Vec::with_capacity(block.ids.len());
        let mut ids = Vec::with_capacity(block.ids.len());
        let mut replaced = Vec::new();
        let mut items = None;
        // Invariant: an id whose letter is there is known, however long ago its event was
        // accepted, so that it never has two lives. Locked once for the block, and
        // let go at once where there are no letters, which is the rule.
        let shared = self.shared.clone();
        let mut letters = Some(lock(&shared.dead)).filter(|letters| letters.any());
        for (at, id) in block.ids.iter().enumerate() {
            let letter = (letters.as_ref()).and_then(|letters| self.letter(letters, *id));
            let known = letter.is_some() || self.is_remembered(*id, horizon)?;
            let replaces = match (&mut letters, letter) {
                (Some(letters), Some(Place::Dead(dead))) => {
                    self.replaces(letters, (*id, dead), &block, at, &mut items)
                }
                _ => None,
            };
            let receipt = if let Some(number) = replaces {
                replaced.push(number);
                self.ledger.state.totals.retried += 1;
                Receipt::Retried
            } else if !known {
                self.ledger.state.totals.accepted += 1;
                if let Some(number) = self.purged.number(*id) {
                    // Its first event was purged, and must not be imported beside this one.
                    self.purged.forget(*id);
                    replaced.push(number);
                }
                Receipt::Queued
            } else {
                self.ledger.state.totals.duplicate += 1;
                Receipt::Duplicate
            };
            if receipt != Receipt::Duplicate {
                // A failed commit ends the process, and with it this entry.
                self.dedup.insert(self.head.generation, *id);
                queued.push(at as u32);
                ids.push(*id);
            }
            receipts.push(receipt);
        }
        if ids.is_empty() {
            return Ok((receipts, None));
        }
        self.ledger.state.last_seq += ids.len() as u64;
        if self.head.first_seq.is_none() {
            self.head.first_seq = Some(first_seq);
            self.head.begun_at = self.shared.trust.stamp();
        }
        self.head.ids.extend_from_slice(&ids);
        retried.extend_from_slice(&replaced);
        // What is taken back keeps the time of its first life.
        let accepted_at = match block.takes_back {
            true => block.accepted_at,
            false => block.accepted_at + self.shared.trust.lag(),
        };
        let came_in = match block.takes_back {
            true => self.shared.trust.stamp(),
            false => accepted_at,
        };
        self.head.newest = self.head.newest.max(came_in);
        let chunk = Chunk {
            first_seq,
            accepted_at,
            totals: self.ledger.state.totals,
            queued,
            packed_count: block.ids.len() as u32,
            ids,
            retried: replaced,
            plain_len: block.plain_len as u32,
            packed: block.packed,
        };
        Ok((receipts, Some(chunk)))
    }

    /// Whether an event of this id was accepted, or a letter of it delivered, within the window.
    pub(super) fn is_remembered(&self, id: u128, horizon: Horizon) -> Result<bool, StoreError> {
        Ok(self.delivered.delivered_at(id, horizon.at).is_some()
            || (self.dedup).contains(id, horizon, self.ledger.cursor.low_water())?)
    }

    /// The letter of this id, dead or queued again.
    pub(super) fn letter(&self, letters: &DeadLetters, id: u128) -> Option<Place> {
        let dead = letters.lookup(id);
        let dead = dead.filter(|known| self.ledger.is_dead(known.number));
        let queued = || letters.is_queued(id).then_some(Place::Queued);
        dead.map(Place::Dead).or_else(queued)
    }

    /// The dead letter that event `at` of `block` replaces: same id, other bytes unless the block
    /// takes it back. It stops counting as dead at once, so that a second such event of the group
    /// is a duplicate.
    fn replaces(
        &mut self,
        letters: &mut DeadLetters,
        (id, known): (u128, Known),
        block: &Block,
        at: usize,
        items: &mut Option<Vec<block::Item>>,
    ) -> Option<LetterNumber> {
        if items.is_none() {
            // Packed in this process a moment ago.
            *items = block::unpack(&block.packed, block.ids.len(), block.plain_len).ok();
        }
        let body = &items.as_ref()?.get(at)?.body;
        if !block.takes_back && dead_record::body_hash(body) == known.body_hash {
            return None;
        }
        letters.forget(id, known.number);
        self.ledger.uncount_dead(known.number, known.reason);
        Some(known.number)
    }
}
