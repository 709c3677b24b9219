//! The events of the generations: each chunk is whole, none is stored twice, and every number
//! that is not settled is in some store.

use crate::queue::contract::{LetterNumber, Seq};
use crate::queue::ranges::RangeSet;
use crate::queue::record::chunk::AcceptTotals;
use crate::queue::sled::account::Sealed;
use crate::queue::sled::disk::{Store, StoreError, generation_name};
use crate::queue::sled::line::read_chunk;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::verify::walk::{Piece, Stores, Walk};

/// What one generation holds.
#[derive(Default)]
struct Held {
    chunks: Vec<(Seq, Seq)>,
    ids: Vec<u128>,
    /// First number and fault of each chunk that cannot be used.
    faults: Vec<(Seq, String)>,
    retried: Vec<LetterNumber>,
    totals: AcceptTotals,
    /// What was met where keys cannot be reached; the events there show as missing.
    met: Option<String>,
}

impl Walk<'_> {
    /// Reads a generation whole; gives the ids of its events.
    pub fn generation(
        &mut self,
        generation: Generation,
        stores: &mut dyn Stores,
        is_live: bool,
    ) -> Result<Vec<u128>, StoreError> {
        let object = generation_name(generation);
        let sealed = self.ledger.generations.get(&generation).copied();
        let mut held = Held::default();
        let mut newer = None;
        let looked = stores.generation(generation, &mut |store| {
            newer = read_generation(store, &mut held).err();
        });
        match looked {
            Ok(()) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                self.unopened(generation, object, sealed, &error);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        }
        if let Some(error) = newer {
            return Err(error);
        }
        self.verdict.checked.generations += 1;
        if let Some(met) = held.met.take() {
            self.verdict.notes.push(format!("{object}: {met}"));
        }
        for (first, last) in &held.chunks {
            if self.held.count_within(*first..=*last) > 0 {
                let what = format!("events {first} to {last} are stored a second time");
                self.find(Piece::None, object.clone(), what);
            }
            self.held.insert(*first..=*last);
            self.verdict.checked.events += *last + 1 - *first;
            if !is_live {
                self.last_seq = self.last_seq.max(*last);
            }
        }
        let faults = std::mem::take(&mut held.faults).into_iter();
        self.faults
            .extend(faults.map(|(first, fault)| (generation, first, fault)));
        if !is_live {
            self.totals = self.totals.max(&held.totals);
            self.retried.append(&mut held.retried);
        }
        Ok(held.ids)
    }

    /// Chunks that cannot be used. Each reaches to the next event that some store holds, at most
    /// to the end of its generation: known only when all were read.
    pub fn faulty_lines(&mut self) {
        for (generation, first, fault) in std::mem::take(&mut self.faults) {
            let sealed = self.ledger.generations.get(&generation);
            let end = sealed.map_or(self.last_seq, |s| s.last_seq);
            let after = self.held.iter().map(|(f, _)| f).find(|f| *f > first);
            let last = after.map_or(end, |after| end.min(after - 1)).max(first);
            let piece = Piece::Lines {
                generation: Some(generation),
                first,
                last,
            };
            self.told.insert(first..=last);
            let object = generation_name(generation);
            match self.open_within(first, last) {
                0 => self.harmless(piece, object, fault),
                open => {
                    let cost = format!("{open} events from {first} to {last} cannot be delivered");
                    self.find(piece, object, format!("{fault}; {cost}"));
                }
            }
        }
    }

    fn unopened(
        &mut self,
        generation: Generation,
        object: String,
        sealed: Option<Sealed>,
        error: &StoreError,
    ) {
        let Some(Sealed {
            first_seq: first,
            last_seq: last,
        }) = sealed
        else {
            return self.find(Piece::AtOpen, object, error.to_string());
        };
        self.told.insert(first..=last);
        let piece = Piece::Lines {
            generation: Some(generation),
            first,
            last,
        };
        match self.open_within(first, last) {
            0 => self.harmless(piece, object, error.to_string()),
            open => {
                let cost = format!("{open} events from {first} to {last} cannot be delivered");
                self.find(piece, object, format!("{error}; {cost}"));
            }
        }
    }

    /// How many of these numbers are not settled.
    fn open_within(&self, first: Seq, last: Seq) -> u64 {
        let cursor = &self.ledger.cursor;
        cursor.unsettled(last) - cursor.unsettled(first - 1)
    }

    /// Numbers that are neither settled nor stored.
    pub fn missing_lines(&mut self) {
        let mut missing = RangeSet::default();
        let (low, last) = (self.ledger.cursor.low_water(), self.last_seq);
        if low <= last {
            missing.insert(low..=last);
        }
        let above = self.ledger.cursor.above();
        for (first, last) in above.iter().chain(self.held.iter()).chain(self.told.iter()) {
            missing.remove(first..=last);
        }
        for (first, last) in missing.iter().collect::<Vec<_>>() {
            self.find(
                Piece::Lines {
                    generation: None,
                    first,
                    last,
                },
                format!("events {first} to {last}"),
                format!(
                    "{} events were acknowledged, are not settled, and are in no store",
                    last - first + 1
                ),
            );
        }
    }
}

fn read_generation(store: &Store, held: &mut Held) -> Result<(), StoreError> {
    let (firsts, met) = store.firsts()?;
    for first in firsts {
        let chunk = read_chunk(store, first).and_then(|chunk| {
            let unpacked = chunk.entries();
            unpacked.map_err(|bad| StoreError::bad(store.path(), "its events", bad))?;
            Ok(chunk)
        });
        match chunk {
            Ok(chunk) => {
                held.chunks.push((first, chunk.last_seq()));
                held.totals = held.totals.max(&chunk.totals);
                held.ids.extend(chunk.ids);
                held.retried.extend(chunk.retried);
            }
            Err(error @ StoreError::Damaged { .. }) => held.faults.push((first, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    held.met = met.map(|error| error.to_string());
    Ok(())
}
