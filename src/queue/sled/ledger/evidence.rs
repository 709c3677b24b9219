//! What the account knows of the files beside the stores, of damage, and of losses.

use super::{Ledger, ranged};
use crate::clock::Millis;
use crate::queue::loss::{Loss, LossKind};
use crate::queue::sled::batch::Batch;
use crate::queue::sled::codec::{Bad, Reader, Writer};
use crate::queue::sled::seen::Coverage;

/// So many losses are told apart; what is found beyond them is counted together.
const LOSSES: usize = 100;
/// What stands in place of an object then.
const OTHERS: &str = "other places";

/// A file of remembered ids as it was written. It is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue::sled) struct IdFile {
    /// Its length in bytes.
    pub(in crate::queue::sled) len: u64,
    /// Of its header and index, which a start reads anyway. The index is made of all ids.
    pub(in crate::queue::sled) sum: u64,
    pub(in crate::queue::sled) coverage: Coverage,
    /// Its deletion has begun: it may be there or not.
    pub(in crate::queue::sled) is_leaving: bool,
    /// That something in it cannot be read was told.
    pub(in crate::queue::sled) is_harmed: bool,
}

impl IdFile {
    /// Whether `other` is the same file, whatever is known of it.
    pub(in crate::queue::sled) fn is(&self, other: &Self) -> bool {
        (self.len, self.sum, self.coverage) == (other.len, other.sum, other.coverage)
    }
}

impl Ledger {
    /// A store in which something could not be used is not to be deleted.
    pub(in crate::queue::sled) fn hold_generation(&mut self, batch: &mut Batch, generation: u64) {
        if self.held_generations.insert(generation) {
            batch.put(&ranged(b'h', generation), Writer::versioned().0);
        }
    }

    /// The store is in `quarantine/`; whether it was to go there.
    pub(in crate::queue::sled) fn release_generation(
        &mut self,
        batch: &mut Batch,
        generation: u64,
    ) {
        if self.held_generations.remove(&generation) {
            batch.remove(&ranged(b'h', generation));
        }
    }

    /// As [`Ledger::hold_generation`].
    pub(in crate::queue::sled) fn hold_period(&mut self, batch: &mut Batch, period: u64) {
        if self.held_periods.insert(period) {
            batch.put(&ranged(b'j', period), Writer::versioned().0);
        }
    }

    /// As [`Ledger::release_generation`].
    pub(in crate::queue::sled) fn release_period(&mut self, batch: &mut Batch, period: u64) {
        if self.held_periods.remove(&period) {
            batch.remove(&ranged(b'j', period));
        }
    }

    /// This file of ids must be there from now on, or may be gone.
    pub(in crate::queue::sled) fn put_file(&mut self, batch: &mut Batch, name: &str, file: IdFile) {
        let mut w = Writer::versioned();
        w.u64(file.len);
        w.u64(file.sum);
        file.coverage.write(&mut w);
        w.u8(u8::from(file.is_leaving) | u8::from(file.is_harmed) << 1);
        batch.put(&[b"f", name.as_bytes()].concat(), w.0);
        self.files.insert(name.into(), file);
    }

    pub(in crate::queue::sled) fn remove_file(&mut self, batch: &mut Batch, name: &str) {
        if self.files.remove(name).is_some() {
            batch.remove(&[b"f", name.as_bytes()].concat());
        }
    }

    /// Notes a loss until the operator acknowledges it; one of the same kind and object is added
    /// to. Nothing is noted of nothing.
    pub(in crate::queue::sled) fn lose(
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
    pub(in crate::queue::sled) fn lose_until(
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
        let mut w = Writer::versioned();
        w.u64(loss.count);
        w.i64(loss.at);
        w.i64(loss.until.unwrap_or(Millis::MIN));
        batch.put(&loss_key(kind, object), w.0);
    }

    /// The operator knows of the losses; gives them.
    pub(in crate::queue::sled) fn acknowledge_losses(&mut self, batch: &mut Batch) -> Vec<Loss> {
        let losses = std::mem::take(&mut self.losses);
        for (kind, object) in losses.keys() {
            batch.remove(&loss_key(*kind, object));
        }
        by_age(losses.into_values())
    }

    /// The losses, oldest first.
    pub(in crate::queue::sled) fn losses(&self) -> Vec<Loss> {
        by_age(self.losses.values().cloned())
    }
}

fn by_age(losses: impl Iterator<Item = Loss>) -> Vec<Loss> {
    let mut losses: Vec<_> = losses.collect();
    losses.sort_by_key(|loss| loss.at);
    losses
}

fn loss_key(kind: LossKind, object: &str) -> Vec<u8> {
    [&[b'n', kind.index()], object.as_bytes()].concat()
}

pub(super) fn read_file(key: &[u8], value: &[u8]) -> Result<(String, IdFile), Bad> {
    let mut r = Reader::versioned(value)?;
    let (len, sum, coverage) = (r.u64()?, r.u64()?, Coverage::read(&mut r)?);
    let flags = r.u8()?;
    let file = IdFile {
        len,
        sum,
        coverage,
        is_leaving: flags & 1 != 0,
        is_harmed: flags & 2 != 0,
    };
    Ok((text(key.get(1..))?, file))
}

pub(super) fn read_loss(key: &[u8], value: &[u8]) -> Result<Loss, Bad> {
    let kind = LossKind::ALL.into_iter();
    let mut kind = kind.filter(|kind| key.get(1) == Some(&kind.index()));
    let mut r = Reader::versioned(value)?;
    Ok(Loss {
        kind: kind.next().ok_or(Bad::Value)?,
        object: text(key.get(2..))?,
        count: r.u64()?,
        at: r.i64()?,
        until: Some(r.i64()?).filter(|until| *until != Millis::MIN),
    })
}

fn text(bytes: Option<&[u8]>) -> Result<String, Bad> {
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    text.ok_or(Bad::Value)
}
