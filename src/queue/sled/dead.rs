//! Dead letters: stores of their own, by period, numbered by themselves.
//!
//! A period closes after a day or when it has grown large; its folder goes as a whole. Records
//! are packed like chunks: key = first number (u64), part (u16). They are written and synced
//! before the batch of `meta` that counts them: a record at or above `dead_next` was never
//! counted and is overwritten.
//!
//! Layout: version u8 · count u32 · per record: id hash u128, hash of the bytes u64, reason u8
//! (255: set apart) · unpacked length u32 · packed records, each: failures u32, accepted_at,
//! event_time, died_at i64, message, body.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::codec::{self, Bad, Reader, Writer};
use super::ledger::{Ledger, Period};
use super::store::{
    Batch, Store, StoreError, create_private_dir, delete_folder, disk_usage, part_key, split_part,
    sweep,
};
use crate::queue::block;
use crate::queue::entry::{DeadReason, Entry, EntryId, Millis};

const DAY: Millis = 86_400_000;

/// One dead letter as it is stored.
pub(super) struct Record {
    pub(super) id_hash: u128,
    /// `None`: set apart, and queued again from here.
    pub(super) reason: Option<DeadReason>,
    pub(super) failures: u32,
    pub(super) accepted_at: Millis,
    pub(super) event_time: i64,
    pub(super) died_at: Millis,
    pub(super) message: String,
    pub(super) body: Bytes,
}

/// What dedup asks of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) body_hash: u64,
    pub(super) reason: Option<DeadReason>,
}

/// All periods; the current one is open.
pub(super) struct DeadLetters {
    dir: PathBuf,
    current: Option<(u64, Store)>,
    /// A past period that was read last.
    past: Option<(u64, Store)>,
    index: HashMap<u128, Known>,
    /// A period is closed beyond this size, so that purging the oldest frees a share only.
    roll_bytes: u64,
}

/// The hash by which "the same bytes" is decided.
pub(super) fn body_hash(body: &[u8]) -> u64 {
    codec::checksum(b"dead letter", body)
}

fn folder(dir: &Path, period: u64) -> PathBuf {
    dir.join(format!("{period:010}"))
}

impl DeadLetters {
    /// Opens what `ledger` knows of; folders it does not know hold nothing that was counted.
    pub(super) fn open(dir: &Path, ledger: &Ledger, roll_bytes: u64) -> Result<Self, StoreError> {
        create_private_dir(dir)?;
        sweep(dir)?;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let period = name.to_str().and_then(|n| n.parse::<u64>().ok());
            if period.is_some_and(|p| !ledger.periods.contains_key(&p)) {
                delete_folder(&entry.path())?;
            }
        }
        let mut letters = Self {
            dir: dir.into(),
            current: None,
            past: None,
            index: HashMap::new(),
            roll_bytes,
        };
        let last = ledger.periods.keys().next_back().copied();
        for (period, numbers) in &ledger.periods {
            let store = Store::open(&folder(dir, *period))?;
            for (number, known) in columns(&store, numbers.first..numbers.last + 1)? {
                if ledger.is_dead(number) {
                    letters.index.insert(known.0, known.1);
                }
            }
            if Some(*period) == last {
                letters.current = Some((*period, store));
            }
        }
        Ok(letters)
    }

    /// The folder of the period that is written to, if there is one.
    pub(super) fn current_folder(dir: &Path, ledger: &Ledger) -> Option<PathBuf> {
        ledger
            .periods
            .keys()
            .next_back()
            .map(|period| folder(dir, *period))
    }

    /// The dead letter under this id, if it is one now.
    pub(super) fn lookup(&self, id_hash: u128) -> Option<Known> {
        self.index.get(&id_hash).copied()
    }

    /// Why this letter is dead, if it is one now.
    pub(super) fn reason(&self, number: u64) -> Option<DeadReason> {
        self.index
            .values()
            .find(|known| known.number == number)
            .and_then(|known| known.reason)
    }

    /// The letter is queued again or gone.
    pub(super) fn forget(&mut self, id_hash: u128, number: u64) {
        if self
            .index
            .get(&id_hash)
            .is_some_and(|known| known.number == number)
        {
            self.index.remove(&id_hash);
        }
    }

    /// Writes records from number `ledger.dead_next` on and syncs them. Counting them in
    /// `ledger` and `batch` is what makes them dead; that is the caller's next step.
    pub(super) fn append(
        &mut self,
        records: &[Record],
        ledger: &mut Ledger,
        batch: &mut Batch,
        now: Millis,
    ) -> Result<(), StoreError> {
        let first = ledger.dead_next;
        let period = self.current_period(ledger, now)?;
        let Some((_, store)) = &self.current else {
            return Ok(());
        };
        let mut number = first;
        // Small groups: a claim of one letter unpacks its whole group.
        for group in groups(records) {
            let mut stored = Batch::default();
            stored.put_parts(&number.to_be_bytes(), &encode(group));
            // What a crash left beyond this group's last part under the same number.
            let prefix = number.to_be_bytes();
            for row in store.scan(&prefix, &(number + group.len() as u64).to_be_bytes()) {
                let (key, _) = row?;
                let kept = split_part(&key)
                    .is_some_and(|(p, part)| p == prefix && usize::from(part) < stored.len());
                if !kept {
                    stored.remove(&key);
                }
            }
            store.commit(stored)?;
            number += group.len() as u64;
        }
        ledger.dead_next = number;
        let known = ledger.periods.get(&period);
        let numbers = Period {
            first: known.map_or(first, |p| p.first),
            last: number - 1,
            opened: known.map_or(now, |p| p.opened),
            newest: known.map_or(now, |p| p.newest.max(now)),
        };
        ledger.put_period(batch, period, numbers);
        for (number, record) in (first..).zip(records) {
            if record.reason.is_some() {
                let body_hash = body_hash(&record.body);
                let known = Known {
                    number,
                    body_hash,
                    reason: record.reason,
                };
                self.index.insert(record.id_hash, known);
            }
        }
        Ok(())
    }

    /// The period to write to; begins a new one after a day or when the current one is large.
    fn current_period(&mut self, ledger: &Ledger, now: Millis) -> Result<u64, StoreError> {
        if let Some((period, store)) = &self.current {
            let begun = ledger
                .periods
                .get(period)
                .is_none_or(|p| now - p.opened < DAY)
                && disk_usage(store.path()) < self.roll_bytes;
            if begun {
                return Ok(*period);
            }
        }
        // Invariant: period numbers never go down, whatever the clock does.
        let next = ledger.periods.keys().next_back().map_or(1, |p| p + 1);
        self.current = Some((next, Store::create(&folder(&self.dir, next))?));
        Ok(next)
    }

    /// A letter that is queued again, as a claim.
    pub(super) fn read(&mut self, period: u64, number: u64) -> Result<Option<Entry>, StoreError> {
        let store = self.store(period)?;
        let Some(first) = store.key_at_or_below(&part_key(&number.to_be_bytes(), u16::MAX))? else {
            return Ok(None);
        };
        let Some((prefix, _)) = split_part(&first) else {
            return Ok(None);
        };
        let start = prefix
            .first_chunk::<8>()
            .map_or(0, |p| u64::from_be_bytes(*p));
        let mut bytes = Vec::new();
        for row in store.scan(prefix, &(start + 1).to_be_bytes()) {
            bytes.extend(
                row?.1
                    .map_err(|bad| StoreError::bad(store.path(), "a record", bad))?,
            );
        }
        let records =
            decode(&bytes).map_err(|bad| StoreError::bad(store.path(), "a record", bad))?;
        let record = records.into_iter().nth((number - start) as usize);
        Ok(record.map(|record| Entry {
            id: EntryId::dead(number),
            id_hash: record.id_hash,
            accepted_at: record.accepted_at,
            event_time: record.event_time,
            body: record.body,
            sent_as: None,
            failures: record.failures,
        }))
    }

    fn store(&mut self, period: u64) -> Result<&Store, StoreError> {
        let is = |open: &Option<(u64, Store)>| open.as_ref().is_some_and(|(p, _)| *p == period);
        if !is(&self.current) && !is(&self.past) {
            self.past = None;
            self.past = Some((period, Store::open(&folder(&self.dir, period))?));
        }
        let open = if is(&self.current) {
            &self.current
        } else {
            &self.past
        };
        // Unwrap safety: one of the two was just found or made to be this period.
        Ok(&open.as_ref().expect("an open period").1)
    }

    /// The letters of a period that are dead now, and their reasons.
    pub(super) fn dead_in(
        &mut self,
        period: u64,
        ledger: &Ledger,
    ) -> Result<Vec<(u64, u128, Option<DeadReason>)>, StoreError> {
        let Some(numbers) = ledger.periods.get(&period).copied() else {
            return Ok(Vec::new());
        };
        let columns = columns(self.store(period)?, numbers.first..numbers.last + 1)?;
        let dead = columns
            .into_iter()
            .filter(|(number, _)| ledger.is_dead(*number));
        Ok(dead
            .map(|(number, (id, known))| (number, id, known.reason))
            .collect())
    }

    /// Deletes a period's folder; it must not be the current one.
    pub(super) fn delete(&mut self, period: u64) -> Result<(), StoreError> {
        if self.past.as_ref().is_some_and(|(p, _)| *p == period) {
            self.past = None;
        }
        if self.current.as_ref().is_some_and(|(p, _)| *p == period) {
            self.current = None;
        }
        delete_folder(&folder(&self.dir, period))
    }

    /// Bytes on disk of one period.
    pub(super) fn usage(&self, period: u64) -> u64 {
        disk_usage(&folder(&self.dir, period))
    }

    /// Closes the stores in order.
    pub(super) fn close(&mut self) {
        self.current = None;
        self.past = None;
    }

    /// Leaves the stores without dropping them: after an I/O error a drop can hang.
    pub(super) fn abandon(&mut self) {
        for (_, store) in [self.current.take(), self.past.take()]
            .into_iter()
            .flatten()
        {
            store.abandon();
        }
    }
}

/// At most 64 records and about 256 KiB, so that reading one letter stays cheap.
fn groups(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |r: &Record| {
            bytes += r.body.len();
            bytes <= 256 << 10
        };
        let len = rest
            .iter()
            .take(64)
            .take_while({
                let mut fits = fits;
                move |r| fits(r)
            })
            .count();
        if rest.is_empty() {
            return None;
        }
        let (group, tail) = rest.split_at(len.max(1));
        rest = tail;
        Some(group)
    })
}

type Column = (u64, (u128, Known));

/// Ids, hashes and reasons of a store's records of these numbers, without unpacking any. The
/// numbers are those of its period: what a crash left beyond them may bear numbers that a later
/// period has given to others.
fn columns(store: &Store, numbers: std::ops::Range<u64>) -> Result<Vec<Column>, StoreError> {
    let bad = |bad| StoreError::bad(store.path(), "a record", bad);
    let mut found = Vec::new();
    let mut group: Option<(u64, Vec<u8>)> = None;
    let mut take = |group: Option<(u64, Vec<u8>)>| -> Result<(), Bad> {
        let Some((first, bytes)) = group else {
            return Ok(());
        };
        let mut r = Reader::versioned(&bytes)?;
        for number in first..first + u64::from(r.u32()?) {
            let (id, body_hash) = (r.u128()?, r.u64()?);
            let reason = DeadReason::from_index(r.u8()?.into());
            if numbers.contains(&number) {
                found.push((
                    number,
                    (
                        id,
                        Known {
                            number,
                            body_hash,
                            reason,
                        },
                    ),
                ));
            }
        }
        Ok(())
    };
    for row in store.scan(&[], &[0xff; 11]) {
        let (key, value) = row?;
        let Some((prefix, part)) = split_part(&key) else {
            continue;
        };
        let Some(first) = prefix.try_into().ok().map(u64::from_be_bytes) else {
            continue;
        };
        if !numbers.contains(&first) {
            continue;
        }
        let value = value.map_err(bad)?;
        if part == 0 {
            take(group.replace((first, value))).map_err(bad)?;
        } else if let Some((_, bytes)) = &mut group {
            bytes.extend(value);
        }
    }
    take(group).map_err(bad)?;
    Ok(found)
}

pub(super) fn encode(records: &[Record]) -> Vec<u8> {
    let mut plain = Writer::default();
    for record in records {
        plain.u32(record.failures);
        plain.i64(record.accepted_at);
        plain.i64(record.event_time);
        plain.i64(record.died_at);
        plain.bytes(record.message.as_bytes());
        plain.bytes(&record.body);
    }
    let mut w = Writer::versioned();
    w.u32(records.len() as u32);
    for record in records {
        w.u128(record.id_hash);
        w.u64(body_hash(&record.body));
        w.u8(record.reason.map_or(u8::MAX, |reason| reason.index() as u8));
    }
    w.u32(plain.0.len() as u32);
    w.bytes(&block::pack(&plain.0));
    w.0
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Record>, Bad> {
    let mut r = Reader::versioned(bytes)?;
    let count = r.u32()?;
    let mut heads = Vec::new();
    for _ in 0..count {
        let (id_hash, _) = (r.u128()?, r.u64()?);
        heads.push((id_hash, DeadReason::from_index(r.u8()?.into())));
    }
    let plain_len = r.u32()? as usize;
    let plain = block::unpack_bytes(r.bytes()?, plain_len).map_err(|_| Bad::Value)?;
    let mut r = Reader(&plain);
    heads
        .into_iter()
        .map(|(id_hash, reason)| {
            Ok(Record {
                id_hash,
                reason,
                failures: r.u32()?,
                accepted_at: r.i64()?,
                event_time: r.i64()?,
                died_at: r.i64()?,
                message: String::from_utf8_lossy(r.bytes()?).into_owned(),
                body: Bytes::copy_from_slice(r.bytes()?),
            })
        })
        .collect()
}
