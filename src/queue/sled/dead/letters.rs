//! Dead letters: stores of their own, by period, numbered by themselves.
//!
//! A period closes after a day or when it has grown large; its folder goes as a whole. Records
//! are packed like chunks: key = first number (u64), part (u16). They are written and synced
//! before the batch of `meta` that counts them: a record at or above `dead_next` was never
//! counted and is overwritten.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::clock::Millis;
use crate::queue::contract::{DeadReason, EntryId, IdMap, LetterNumber, LossKind, Number};
use crate::queue::ranges::RangeSet;
use crate::queue::record::dead_record::{self, Head, Record, body_hash, groups};
use crate::queue::sled::account::{Ledger, Mending, Period};
use crate::queue::sled::dead::period::{self, heads};
use crate::queue::sled::disk::{
    Batch, DEAD, Store, StoreError, create_private_dir, delete_folder, disk_usage, exchange,
    forget_copy, is_there, numbered, period_folder, period_name, retire, split_part, sweep,
};
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::record::Named;

const DAY: Millis = 86_400_000;

/// What dedup asks of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub number: LetterNumber,
    pub body_hash: u64,
    pub reason: DeadReason,
}

/// The right to open or delete a past period: whoever has it is the only one.
#[derive(Default)]
pub struct Opening(());

/// All periods; the current one is open.
pub struct DeadLetters {
    root: PathBuf,
    current: Option<(PeriodNumber, Arc<Store>)>,
    /// A past period that was read last.
    past: Option<(PeriodNumber, Arc<Store>)>,
    /// The ones before it that somebody may still read: a store cannot be opened twice.
    borrowed: Vec<(PeriodNumber, Weak<Store>)>,
    index: IdMap<Known>,
    /// The numbers of those that are queued again, by id: while one is, its id is known, however
    /// long ago its event was accepted.
    queued: IdMap<LetterNumber>,
    /// Purged letters of periods that stand, as met at open.
    purged: Vec<Named>,
    /// A period is closed beyond this size, so that purging the oldest frees a share only.
    roll_bytes: u64,
}

impl DeadLetters {
    /// Opens what the account knows of; folders it does not know hold nothing that was counted.
    /// Letters that cannot be read are set aside in it.
    pub fn open(mending: &mut Mending<'_>, roll_bytes: u64) -> Result<Self, StoreError> {
        let evidence = mending.evidence;
        let dir = evidence.root.join(DEAD);
        create_private_dir(&dir)?;
        sweep(&dir)?;
        for period in numbered::<PeriodNumber>(&dir)? {
            if mending.ledger.periods.contains_key(&period) {
                continue;
            }
            let path = period_folder(evidence.root, period);
            match mending.ledger.held_periods.contains(&period) {
                // It was on its way there.
                true => {
                    retire(evidence.root, &path)?;
                    mending.ledger.release_period(mending.batch, period);
                }
                false => delete_folder(&path)?,
            }
        }
        let mut letters = Self {
            root: evidence.root.to_owned(),
            current: None,
            past: None,
            borrowed: Vec::new(),
            index: IdMap::default(),
            queued: IdMap::default(),
            purged: Vec::new(),
            roll_bytes,
        };
        for (period, numbers) in mending.ledger.periods.clone() {
            let path = period_folder(evidence.root, period);
            match evidence.open(&path) {
                Ok(store) => letters.take_in(mending, period, numbers, store)?,
                Err(StoreError::Damaged { what, .. }) => {
                    let Mending {
                        ledger, batch, now, ..
                    } = mending;
                    let lost = set_period_aside(period, ledger, batch);
                    let object = period_name(period);
                    ledger.lose(batch, LossKind::DeadLetters, &object, lost, *now);
                    let kept = match is_there(&path)? {
                        true => period::keep(evidence, &path)?.display().to_string(),
                        false => "gone".into(),
                    };
                    let what = format!("{what}; {lost} dead letters are set aside");
                    evidence.found(&object, what, &format!("as it was: {kept}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(letters)
    }

    /// Indexes the letters of a period, and sets aside those that cannot be read.
    fn take_in(
        &mut self,
        mending: &mut Mending<'_>,
        period: PeriodNumber,
        mut numbers: Period,
        store: Store,
    ) -> Result<(), StoreError> {
        let Mending {
            evidence,
            ledger,
            batch,
            now,
        } = mending;
        let copy = evidence.copy(store.path())?;
        let mut missing = RangeSet::default();
        missing.insert(numbers.first..=numbers.last);
        let before: u64 = numbers.dead.iter().sum();
        numbers.dead = Default::default();
        for (number, head) in heads(&store)? {
            if !numbers.holds(number) {
                // What a crash left beyond the period: a later one has given that number again.
                continue;
            }
            missing.remove(number..=number);
            if ledger.dead_purged.contains(number) {
                self.purged.push((head.id_hash, number));
            }
            if ledger.dead_queued.contains(number) {
                self.queued.insert(head.id_hash, number);
            }
            if let (true, Some(reason)) = (ledger.is_dead(number), head.reason) {
                numbers.dead[reason.index()] += 1;
                self.index.insert(
                    head.id_hash,
                    Known {
                        number,
                        body_hash: head.body_hash,
                        reason,
                    },
                );
            }
        }
        missing.subtract(&ledger.dead_gone, numbers.first..=numbers.last);
        if missing.count() > 0 {
            let mut lost = before.saturating_sub(numbers.dead.iter().sum());
            for (first, last) in missing.iter() {
                for number in first.through(last) {
                    lost += u64::from(ledger.dead_queued.contains(number));
                    ledger.marks.remove(batch, EntryId::dead(number));
                    ledger.retire_letter(batch, number);
                }
            }
            ledger.state.set_aside += lost;
            ledger.put_period(batch, period, numbers);
            ledger.hold_period(batch, period);
            let object = period_name(period);
            ledger.lose(batch, LossKind::DeadLetters, &object, lost, *now);
            let next = match copy {
                Some(_) => format!(
                    "as it was: {}",
                    evidence.quarantine(store.path())?.display()
                ),
                None => "their bytes stay in it, and go to quarantine/ with it".into(),
            };
            let what = format!("{lost} dead letters cannot be read and are set aside");
            evidence.found(&object, what, &next);
        } else {
            evidence.discard_copy(copy)?;
        }
        if ledger.periods.keys().next_back() == Some(&period) {
            self.current = Some((period, Arc::new(store)));
        }
        Ok(())
    }

    /// The dead letter under this id, if it is one now.
    pub fn lookup(&self, id_hash: u128) -> Option<Known> {
        self.index.get(&id_hash).copied()
    }

    /// Takes a dead letter out by its number: its event is elsewhere. Gives why it was dead.
    pub fn take_out(&mut self, number: LetterNumber) -> Option<DeadReason> {
        let mut known = self.index.iter();
        let (id_hash, reason) = known
            .find(|(_, known)| known.number == number)
            .map(|(id_hash, known)| (*id_hash, known.reason))?;
        self.index.remove(&id_hash);
        Some(reason)
    }

    /// Whether a letter under this id is queued again.
    pub fn is_queued(&self, id_hash: u128) -> bool {
        self.queued.contains_key(&id_hash)
    }

    /// Whether there is any letter, dead or queued again.
    pub fn any(&self) -> bool {
        !(self.index.is_empty() && self.queued.is_empty())
    }

    /// A letter that was dead is queued again.
    pub fn queue(&mut self, id_hash: u128, number: LetterNumber) {
        self.forget(id_hash, number);
        self.queued.insert(id_hash, number);
    }

    /// A letter that was queued again cannot be read, and is gone.
    pub fn forget_queued(&mut self, number: LetterNumber) {
        self.queued.retain(|_, queued| *queued != number);
    }

    /// The letter is gone.
    pub fn forget(&mut self, id_hash: u128, number: LetterNumber) {
        if self.queued.get(&id_hash) == Some(&number) {
            self.queued.remove(&id_hash);
        }
        if self
            .index
            .get(&id_hash)
            .is_some_and(|known| known.number == number)
        {
            self.index.remove(&id_hash);
        }
    }

    /// Writes records from number `dead_next` on and syncs them. Counting them in
    /// `ledger` and `batch` is what makes them dead; that is the caller's next step.
    pub fn append(
        &mut self,
        records: &[Record],
        ledger: &mut Ledger,
        batch: &mut Batch,
        now: Millis,
    ) -> Result<(), StoreError> {
        let first = ledger.state.dead_next;
        let period = self.current_period(ledger, now)?;
        let Some((_, store)) = &self.current else {
            return Ok(());
        };
        let mut number = first;
        // Small groups: a claim of one letter unpacks its whole group.
        for group in groups(records) {
            let mut stored = Batch::default();
            stored.put_parts(&number.to_key(), &dead_record::encode(group));
            // What a crash left beyond this group's last part under the same number.
            let prefix = number.to_key();
            for row in store.scan(&prefix, &(number + group.len() as u64).to_key()) {
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
        ledger.state.dead_next = number;
        let mut numbers = ledger.periods.get(&period).copied().unwrap_or(Period {
            first,
            last: first,
            opened: now,
            newest: now,
            dead: Default::default(),
        });
        numbers.last = number - 1;
        numbers.newest = numbers.newest.max(now);
        for (number, record) in first.onward().zip(records) {
            if record.reason.is_none() {
                self.queued.insert(record.id_hash, number);
            }
            if let Some(reason) = record.reason {
                numbers.dead[reason.index()] += 1;
                let body_hash = body_hash(&record.body);
                let known = Known {
                    number,
                    body_hash,
                    reason,
                };
                self.index.insert(record.id_hash, known);
            }
        }
        ledger.put_period(batch, period, numbers);
        Ok(())
    }

    /// The period to write to; begins a new one after a day or when the current one is large.
    fn current_period(&mut self, ledger: &Ledger, now: Millis) -> Result<PeriodNumber, StoreError> {
        if let Some((period, store)) = &self.current {
            let begun = ledger
                .periods
                .get(period)
                .is_none_or(|p| now - p.opened < DAY)
                && disk_usage(store.path())? < self.roll_bytes;
            if begun {
                return Ok(*period);
            }
        }
        // Invariant: period numbers never go down, whatever the clock does.
        let next = ledger
            .periods
            .keys()
            .next_back()
            .map_or(PeriodNumber(1), |p| p.next());
        let store = Store::create(&period_folder(&self.root, next))?;
        let before = self.current.replace((next, Arc::new(store)));
        self.leave(before);
        Ok(next)
    }

    /// Closes a period's store, unless somebody reads it.
    fn leave(&mut self, open: Option<(PeriodNumber, Arc<Store>)>) {
        let borrowed = open
            .iter()
            .map(|(period, store)| (*period, Arc::downgrade(store)));
        self.borrowed.extend(borrowed);
        drop(open);
        self.borrowed.retain(|(_, store)| store.strong_count() > 0);
    }

    /// The store of a period, if it is open.
    pub fn opened(&mut self, period: PeriodNumber) -> Option<Arc<Store>> {
        for (open, store) in [&self.current, &self.past].into_iter().flatten() {
            if *open == period {
                return Some(store.clone());
            }
        }
        let mut borrowed = self
            .borrowed
            .iter()
            .filter(|(borrowed, _)| *borrowed == period);
        let store = borrowed.find_map(|(_, store)| store.upgrade())?;
        self.cache_open(period, store.clone());
        Some(store)
    }

    /// Keeps a past period open that was opened beside the committer.
    pub fn cache_opened(&mut self, _opening: &Opening, period: PeriodNumber, store: Arc<Store>) {
        self.cache_open(period, store);
    }

    /// Keeps a past period open until the next one is read.
    fn cache_open(&mut self, period: PeriodNumber, store: Arc<Store>) {
        let before = self.past.replace((period, store));
        self.leave(before);
    }

    /// The store of a period, opened if it is not.
    pub fn store(&mut self, period: PeriodNumber) -> Result<Arc<Store>, StoreError> {
        if let Some(store) = self.opened(period) {
            return Ok(store);
        }
        let before = self.past.take();
        self.leave(before);
        let path = period_folder(&self.root, period);
        let store = Arc::new(Store::open(&self.root, &path)?);
        // All of it was read at the start: what sled changes by opening it again is no evidence.
        forget_copy(&self.root, &path)?;
        self.cache_open(period, store.clone());
        Ok(store)
    }

    /// The heads of all letters that can be read, by number.
    pub fn all_heads(&mut self, ledger: &Ledger) -> Result<Vec<(LetterNumber, Head)>, StoreError> {
        let mut all = Vec::new();
        for (period, numbers) in &ledger.periods {
            let store = self.store(*period)?;
            let letters = heads(&store)?;
            all.extend(letters.into_iter().filter(|(n, _)| numbers.holds(*n)));
        }
        Ok(all)
    }

    /// Deletes a period's folder, or moves it to `quarantine/` where something in it could not be
    /// used; it must not be the current one.
    pub fn delete(
        &mut self,
        _opening: &Opening,
        period: PeriodNumber,
        is_held: bool,
    ) -> Result<(), StoreError> {
        self.borrowed.retain(|(borrowed, _)| *borrowed != period);
        if self.past.as_ref().is_some_and(|(p, _)| *p == period) {
            self.past = None;
        }
        if self.current.as_ref().is_some_and(|(p, _)| *p == period) {
            self.current = None;
        }
        let path = period_folder(&self.root, period);
        if is_held {
            return retire(&self.root, &path).map(drop);
        }
        forget_copy(&self.root, &path)?;
        delete_folder(&path)
    }

    /// Nothing more is written to the period, if it is the current one: the next letter begins
    /// another.
    pub fn close_current(&mut self, period: PeriodNumber) {
        if self.current.as_ref().is_some_and(|(p, _)| *p == period) {
            let before = self.current.take();
            self.leave(before);
        }
    }

    /// Puts a store in the place of a past period's, and the other in its place; false where the
    /// file system cannot, or if the period is written to. Who reads the old one goes on with it.
    pub fn exchange(
        &mut self,
        _opening: &Opening,
        period: PeriodNumber,
        successor: &Path,
    ) -> Result<bool, StoreError> {
        if self.current.as_ref().is_some_and(|(p, _)| *p == period) {
            return Ok(false);
        }
        self.borrowed.retain(|(borrowed, _)| *borrowed != period);
        if self.past.as_ref().is_some_and(|(p, _)| *p == period) {
            self.past = None;
        }
        exchange(&period_folder(&self.root, period), successor)
    }

    /// The dead letters of a period, by messageId and number.
    pub fn named(&self, numbers: &Period) -> Vec<Named> {
        let known = self.index.iter().map(|(id, known)| (*id, known.number));
        known.filter(|(_, n)| numbers.holds(*n)).collect()
    }

    /// The purged letters that were met at open.
    pub fn take_purged(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.purged)
    }

    /// The letters with these numbers are known no more.
    pub fn forget_all(&mut self, numbers: &Period) {
        self.index.retain(|_, known| !numbers.holds(known.number));
    }

    /// Bytes on disk of one period.
    pub fn usage(&self, period: PeriodNumber) -> Result<u64, StoreError> {
        disk_usage(&period_folder(&self.root, period))
    }

    /// An open store whose name no longer leads to it.
    pub fn displaced(&self) -> Result<Option<PathBuf>, StoreError> {
        for (_, store) in [&self.current, &self.past].into_iter().flatten() {
            if !store.is_in_place()? {
                return Ok(Some(store.path().to_owned()));
            }
        }
        Ok(None)
    }

    /// Closes the stores in order.
    pub fn close(&mut self) {
        self.current = None;
        self.past = None;
    }

    /// Leaves the stores without dropping them: after an I/O error a drop can hang.
    pub fn abandon(&mut self) {
        for (_, store) in [self.current.take(), self.past.take()]
            .into_iter()
            .flatten()
        {
            // Others may hold it too; none of them may be the last to drop it.
            std::mem::forget(store);
        }
    }
}

/// A period cannot be opened: its letters, dead or queued again, are set aside; how many.
fn set_period_aside(period: PeriodNumber, ledger: &mut Ledger, batch: &mut Batch) -> u64 {
    let Some(numbers) = ledger.periods.get(&period).copied() else {
        return 0;
    };
    let mut lost: u64 = numbers.dead.iter().sum();
    for number in numbers.first.through(numbers.last) {
        if ledger.dead_queued.contains(number) {
            lost += 1;
            ledger.marks.remove(batch, EntryId::dead(number));
        }
    }
    ledger.state.set_aside += lost;
    ledger.remove_period(batch, period);
    lost
}
