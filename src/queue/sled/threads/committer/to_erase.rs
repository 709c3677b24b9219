//! Which stores hold bytes of what is gone beside what stays, and are to be written anew.
//!
//! Invariant: what was delivered is off the disk within two days of its acceptance, whatever waits
//! beside it. A generation takes events for a day at most, rests for a quarter of one in case that
//! all of it goes, and is looked at four times a day. What a last life did not get to is not known,
//! and is looked at after each start: no age is that of a process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::clock::Millis;
use crate::queue::sled::numbers::{Generation, PeriodNumber};

/// Between two looks at all stores; and how long a generation that was sealed is left alone.
const QUARTER_DAY: Millis = 21_600_000;

/// A store that holds such bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    Generation(Generation),
    Period(PeriodNumber),
}

/// What is to be written anew.
#[derive(Default)]
pub struct ToErase {
    pub todo: VecDeque<Piece>,
    /// The housekeeper is at one.
    pub is_busy: bool,
    looked_at: Option<Millis>,
    /// Wanted, and not sealed yet.
    once_sealed: BTreeSet<Generation>,
    /// When this life sealed each generation.
    pub sealed_at: BTreeMap<Generation, Millis>,
    /// How many events were settled in each generation, and letters gone in each period, when it
    /// was last asked for.
    pub settled: BTreeMap<Generation, u64>,
    pub gone: BTreeMap<PeriodNumber, u64>,
}

impl ToErase {
    /// Bytes in it are to go without waiting for the next look.
    pub fn want(&mut self, piece: Piece) {
        if !self.todo.contains(&piece) {
            self.todo.push_back(piece);
        }
    }

    /// The same of a generation, which may still have to be sealed.
    pub fn want_events(&mut self, generation: Generation, is_sealed: bool) {
        match is_sealed {
            true => self.want(Piece::Generation(generation)),
            false => drop(self.once_sealed.insert(generation)),
        }
    }

    pub fn sealed(&mut self, generation: Generation, now: Millis) {
        self.sealed_at.insert(generation, now);
        if self.once_sealed.remove(&generation) {
            self.want(Piece::Generation(generation));
        }
    }

    /// The housekeeper is done with one.
    pub fn done(&mut self) {
        self.is_busy = false;
    }

    /// Whether it is time to look at all stores again.
    pub fn is_look_due(&mut self, now: Millis) -> bool {
        let is_due = (self.looked_at).is_none_or(|at| now.abs_diff(at) >= QUARTER_DAY as u64);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Whether it was sealed so lately that all of it may go by itself.
    pub fn rests(&self, generation: Generation, now: Millis) -> bool {
        let sealed_at = self.sealed_at.get(&generation);
        sealed_at.is_some_and(|at| now.abs_diff(*at) < QUARTER_DAY as u64)
    }
}
