//! What the account knows of the files beside the stores, of damage, and of losses.

use crate::clock::Millis;
use crate::queue::contract::{Loss, LossKind};
use crate::queue::record::codec::Writer;
use crate::queue::sled::account::{
    ledger::Ledger,
    rows::{self, Row},
};
use crate::queue::sled::disk::Batch;
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::record::IdFile;

/// So many losses are told apart; what is found beyond them is counted together.
const LOSSES: usize = 100;
/// What stands in place of an object then.
const OTHERS: &str = "other places";

impl Ledger {
    /// A store in which something could not be used is not to be deleted.
    pub fn hold_generation(&mut self, batch: &mut Batch, generation: Generation) {
        if self.held_generations.insert(generation) {
            batch.put(
                &Row::HeldGeneration.numbered(generation),
                Writer::versioned().0,
            );
        }
    }

    /// The store is in `quarantine/`; whether it was to go there.
    pub fn release_generation(&mut self, batch: &mut Batch, generation: Generation) {
        if self.held_generations.remove(&generation) {
            batch.remove(&Row::HeldGeneration.numbered(generation));
        }
    }

    /// As [`Ledger::hold_generation`].
    pub fn hold_period(&mut self, batch: &mut Batch, period: PeriodNumber) {
        if self.held_periods.insert(period) {
            batch.put(&Row::HeldPeriod.numbered(period), Writer::versioned().0);
        }
    }

    /// As [`Ledger::release_generation`].
    pub fn release_period(&mut self, batch: &mut Batch, period: PeriodNumber) {
        if self.held_periods.remove(&period) {
            batch.remove(&Row::HeldPeriod.numbered(period));
        }
    }

    /// This file of ids must be there from now on, or may be gone.
    pub fn put_file(&mut self, batch: &mut Batch, name: &str, file: IdFile) {
        rows::put_id_file(batch, name, &file);
        self.files.insert(name.into(), file);
    }

    pub fn remove_file(&mut self, batch: &mut Batch, name: &str) {
        if self.files.remove(name).is_some() {
            batch.remove(&Row::IdFile.named(name.as_bytes()));
        }
    }

    /// Notes a loss until the operator acknowledges it; one of the same kind and object is added
    /// to. Nothing is noted of nothing.
    pub fn lose(
        &mut self,
        batch: &mut Batch,
        kind: LossKind,
        object: &str,
        count: u64,
        at: Millis,
    ) {
        self.lose_until(batch, kind, object, count, at, None);
    }

    /// [`Ledger::lose`] of what matters until then only.
    pub fn lose_until(
        &mut self,
        batch: &mut Batch,
        kind: LossKind,
        object: &str,
        count: u64,
        at: Millis,
        until: Option<Millis>,
    ) {
        if count == 0 {
            return;
        }
        let is_known = self.losses.contains_key(&(kind, object.into()));
        let object = match is_known || self.losses.len() < LOSSES {
            true => object,
            false => OTHERS,
        };
        let loss = self.losses.entry((kind, object.into())).or_insert(Loss {
            kind,
            object: object.into(),
            count: 0,
            at,
            until,
        });
        loss.count = match kind {
            // The same ids, found again by each start.
            LossKind::MessageIds => loss.count.max(count),
            _ => loss.count + count,
        };
        loss.at = at;
        loss.until = loss.until.max(until);
        rows::put_loss(batch, loss);
    }

    /// The operator knows of the losses; gives them.
    pub fn acknowledge_losses(&mut self, batch: &mut Batch) -> Vec<Loss> {
        let losses = std::mem::take(&mut self.losses);
        for (kind, object) in losses.keys() {
            batch.remove(&rows::loss_key(*kind, object));
        }
        by_age(losses.into_values())
    }

    /// The losses, oldest first.
    pub fn losses(&self) -> Vec<Loss> {
        by_age(self.losses.values().cloned())
    }
}

fn by_age(losses: impl Iterator<Item = Loss>) -> Vec<Loss> {
    let mut losses: Vec<_> = losses.collect();
    losses.sort_by_key(|loss| loss.at);
    losses
}
