//! Which events may have been sent, and under which names: the marks of `meta`, in memory as
//! stored. Key: `m` + mark + part.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::EntryId;
use crate::queue::record::{codec::DecodeError, mark};
use crate::queue::sled::account::rows::{Row, number};
use crate::queue::sled::disk::{Batch, Store, StoreError, part_key, parts, split_part};

/// An event that left, or is about to.
#[derive(Clone)]
pub struct Marked {
    /// The name it goes out under, now and later.
    pub name: Arc<str>,
    /// When it first left.
    pub at: Millis,
    /// Its last outcome is unknown.
    pub in_doubt: bool,
    mark: u64,
}

/// All marks.
#[derive(Clone, Default)]
pub struct Marks {
    events: HashMap<EntryId, Marked>,
    /// Of each stored mark: events left under it, its parts, when it was laid.
    stored: HashMap<u64, (u32, u16, Millis)>,
    last: u64,
    in_doubt: u64,
}

impl Marks {
    /// Reads them; every event that is still open is in doubt.
    pub fn load(meta: &Store, is_open: impl Fn(EntryId) -> bool) -> Result<Self, StoreError> {
        let bad = |bad| StoreError::bad(meta.path(), "a mark", bad);
        let mut bytes: BTreeMap<u64, (u16, Vec<u8>)> = BTreeMap::new();
        for row in Row::Mark.all(meta) {
            let (key, value) = row?;
            let (prefix, part) = split_part(&key).ok_or_else(|| bad(DecodeError::Value))?;
            let entry = bytes.entry(number(prefix).map_err(bad)?).or_default();
            if entry.0 != part {
                return Err(bad(DecodeError::Short));
            }
            entry.0 += 1;
            entry.1.extend(value.map_err(bad)?);
        }
        let mut marks = Self::default();
        for (mark, (parts, bytes)) in bytes {
            let (at, events) = mark::decode(&bytes).map_err(bad)?;
            marks.last = mark;
            marks.stored.insert(mark, (0, parts, at));
            for (id, name) in events {
                if !is_open(id) {
                    continue;
                }
                // A later mark of the same event repeats its name.
                let at = marks.leave(id).map_or(at, |older| older.at);
                marks.enter(id, name, at, mark);
                marks.doubt(id);
            }
        }
        Ok(marks)
    }

    fn enter(&mut self, id: EntryId, name: Arc<str>, at: Millis, mark: u64) {
        let marked = Marked {
            name,
            at,
            in_doubt: false,
            mark,
        };
        self.events.insert(id, marked);
        if let Some((left, ..)) = self.stored.get_mut(&mark) {
            *left += 1;
        }
    }

    /// Takes an event out of its mark in memory.
    fn leave(&mut self, id: EntryId) -> Option<Marked> {
        let marked = self.events.remove(&id)?;
        self.in_doubt -= u64::from(marked.in_doubt);
        if let Some((left, ..)) = self.stored.get_mut(&marked.mark) {
            *left -= 1;
        }
        Some(marked)
    }

    pub fn get(&self, id: EntryId) -> Option<&Marked> {
        self.events.get(&id)
    }

    pub fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// How many of them are in doubt.
    pub fn in_doubt(&self) -> u64 {
        self.in_doubt
    }

    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Marked)> {
        self.events.iter().map(|(id, marked)| (*id, marked))
    }

    /// The name that each goes out under.
    pub fn names(&self) -> HashMap<EntryId, Arc<str>> {
        let marked = self.iter();
        marked
            .map(|(id, marked)| (id, marked.name.clone()))
            .collect()
    }

    /// The outcome of this event's last attempt is unknown.
    pub fn doubt(&mut self, id: EntryId) {
        if let Some(marked) = self.events.get_mut(&id) {
            self.in_doubt += u64::from(!marked.in_doubt);
            marked.in_doubt = true;
        }
    }

    /// Lays one mark for events that have none.
    pub fn lay(&mut self, batch: &mut Batch, events: &[(EntryId, Arc<str>)], at: Millis) {
        if events.is_empty() {
            return;
        }
        self.last += 1;
        let bytes = mark::encode(at, events);
        batch.put_parts(&Row::Mark.numbered(self.last), &bytes);
        self.stored
            .insert(self.last, (0, parts(bytes.len()) as u16, at));
        for (id, name) in events {
            self.enter(*id, name.clone(), at, self.last);
        }
    }

    /// Takes an event out of its mark; the last one takes the mark away.
    pub fn remove(&mut self, batch: &mut Batch, id: EntryId) -> Option<Marked> {
        let marked = self.leave(id)?;
        if let Some((0, parts, _)) = self.stored.get(&marked.mark) {
            for part in 0..*parts {
                batch.remove(&part_key(&Row::Mark.numbered(marked.mark), part));
            }
            self.stored.remove(&marked.mark);
        }
        Some(marked)
    }

    /// Pinterest took none of these: they leave their marks, unless an earlier attempt is in
    /// doubt. A mark that has other events is written again without them, since they stay open
    /// and a crash must not take them for sent.
    pub fn release(&mut self, batch: &mut Batch, ids: &[EntryId]) {
        let mut touched = BTreeSet::new();
        for id in ids {
            if let Some(marked) = self.events.get(id).filter(|marked| !marked.in_doubt) {
                touched.insert(marked.mark);
                self.remove(batch, *id);
            }
        }
        for mark in touched {
            let Some((left, parts_before, at)) = self.stored.get(&mark).copied() else {
                continue;
            };
            let kept = self.events.iter().filter(|(_, marked)| marked.mark == mark);
            let mut kept: Vec<_> = kept
                .map(|(id, marked)| (*id, marked.name.clone()))
                .collect();
            kept.sort_unstable_by_key(|(id, _)| *id);
            let bytes = mark::encode(at, &kept);
            batch.put_parts(&Row::Mark.numbered(mark), &bytes);
            let fewer = parts(bytes.len()) as u16;
            for part in fewer..parts_before {
                batch.remove(&part_key(&Row::Mark.numbered(mark), part));
            }
            self.stored.insert(mark, (left, fewer, at));
        }
    }
}
