//! Giving up what is of one person. Each slice is one batch of `meta` together with its counters,
//! so a crash in between leaves the rest as it was.
//!
//! What is being sent is noted, durably, and given up when its answer has come, unless that says
//! that it was delivered; where no answer comes, by a crash or a lost turn, it is given up then, and
//! not sent again. What is claimed and has not left is given up at once: whoever has it in hand is
//! told when it is marked.

use std::sync::atomic::Ordering;

use crate::queue::contract::{EntryId, Forgotten, Origin, Seq};
use crate::queue::lock::lock;
use crate::queue::sled::disk::{Batch, StoreError};
use crate::queue::sled::runtime::Theirs;
use crate::queue::sled::threads::committer::Committer;

/// Events of one batch: each may touch a neighbour on either side, and a mark.
const EVENTS: usize = 80;

impl Committer {
    /// Gives up what of `theirs` is not settled; how many.
    pub(super) fn forget(&mut self, theirs: Theirs) -> Result<Forgotten, StoreError> {
        let mut events = theirs.events;
        events.sort_unstable_by_key(|(id, _)| *id);
        events.dedup_by_key(|(id, _)| *id);
        events.retain(|(id, _)| self.ledger.is_open(*id));
        let marks = &self.ledger.marks;
        let is_sending = |id: &EntryId| marks.get(*id).is_some_and(|mark| !mark.in_doubt);
        let (sending, waiting): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|(id, _)| is_sending(id));
        let forgotten = Forgotten {
            queued: waiting.len() as u64,
            dead: 0,
            in_flight: sending.len() as u64,
        };
        if theirs.is_dry_run {
            return Ok(forgotten);
        }
        for sending in sending.chunks(EVENTS) {
            let mut batch = Batch::default();
            for (id, id_hash) in sending {
                self.ledger.forget_after_answer(&mut batch, *id, *id_hash);
            }
            self.write_meta(batch)?;
        }
        for waiting in waiting.chunks(EVENTS) {
            let mut batch = Batch::default();
            self.give_up(&mut batch, waiting);
            self.write_meta(batch)?;
        }
        for generation in theirs.generations {
            let is_sealed = self.ledger.generations.contains_key(&generation);
            self.to_erase.want_events(generation, is_sealed);
            if generation == self.head.generation && self.head.first_seq.is_some() {
                self.roll_soon();
            }
        }
        self.publish_gone();
        Ok(forgotten)
    }

    /// These are gone for good, and counted as purged. Their ids stay known for a window.
    pub(super) fn give_up(&mut self, batch: &mut Batch, events: &[(EntryId, u128)]) {
        let mut line: Vec<Seq> = Vec::new();
        for (id, id_hash) in events {
            self.ledger.marks.remove(batch, *id);
            match id.origin() {
                Origin::Line(seq) => {
                    self.ledger.settle_line(batch, seq, seq);
                    line.push(seq);
                }
                Origin::Dead(number) => {
                    lock(&self.shared.dead).forget(*id_hash, number);
                    self.ledger.retire_letter(batch, number);
                    lock(&self.shared.deferred).retain(|letter| letter.number != number);
                }
            }
        }
        self.ledger.state.purged += events.len() as u64;
        let ids: Vec<u128> = events.iter().map(|(_, id_hash)| *id_hash).collect();
        self.delivered
            .insert(batch, self.shared.trust.stamp(), &ids);
        if !line.is_empty() {
            lock(&self.shared.claims).pass_over(&line);
        }
    }

    /// The request of these is over, and they were not delivered: what of them is forgotten goes.
    pub(super) fn give_up_undelivered(&mut self, batch: &mut Batch, ids: &[EntryId]) {
        if self.ledger.forgetting.is_empty() {
            return;
        }
        for id in ids {
            if let Some(id_hash) = self.ledger.forgets(batch, *id)
                && self.ledger.is_open(*id)
            {
                self.give_up(batch, &[(*id, id_hash)]);
            }
        }
    }

    /// No answer will come any more to what was being sent when it was forgotten.
    pub(super) fn finish_forgetting(&mut self) -> Result<(), StoreError> {
        let ids: Vec<EntryId> = self.ledger.forgetting.keys().copied().collect();
        for ids in ids.chunks(EVENTS) {
            let mut batch = Batch::default();
            self.give_up_undelivered(&mut batch, ids);
            self.write_meta(batch)?;
        }
        if !ids.is_empty() {
            self.publish_gone();
        }
        Ok(())
    }

    fn publish_gone(&self) {
        let low_water = self.ledger.cursor.low_water().0;
        self.shared.low_water.store(low_water, Ordering::Release);
        self.publish_census();
    }
}
