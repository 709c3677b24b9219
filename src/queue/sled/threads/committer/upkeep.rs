//! The committer's upkeep: when a generation rolls, seals and goes, when ids are merged and
//! forgotten, when dead letters are purged. The housekeeper does the slow part.

use crate::clock::{Millis, millis};
use crate::queue::contract::LossKind;
use crate::queue::lock::lock;
use crate::queue::sled::disk::{At, Batch, StoreError, is_there, seen_name};
use crate::queue::sled::ids::{Horizon, mergeable};
use crate::queue::sled::line::{Head, Readable, is_of_age};
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::record::IdFile;
use crate::queue::sled::runtime::{Done, Job, Pressure};
use crate::queue::sled::threads::committer::Committer;

/// Rows of delivered letters that one look forgets.
const FORGOTTEN: usize = 100;
/// While nothing else is written, the reading of both clocks is written again at this age, so that
/// a power cut of an idle machine does not look like a long stop. Not on a full disk, where this
/// would be the write that fails.
const NOTE_CLOCKS_IDLE: Millis = 300_000;

impl Committer {
    /// Asks the housekeeper, which works beside this thread, to open, seal and delete what is due.
    pub(super) fn keep_house(&mut self) {
        let halves = self.head.halves(&self.shared.options);
        if halves >= 1 {
            self.prepare_next();
        }
        if halves >= 2 || self.rolls_soon {
            self.roll();
        }
        let mark = self.ledger.cursor.low_water();
        let spent: Vec<Generation> = (self.ledger.generations.iter())
            .filter(|(g, sealed)| sealed.last_seq < mark && !self.deleting.contains(g))
            .map(|(g, _)| *g)
            .collect();
        for generation in spent {
            self.deleting.push(generation);
            let is_held = self.ledger.held_generations.contains(&generation);
            self.ask(Job::Delete {
                generation,
                is_held,
            });
        }
    }

    pub(super) fn ask(&self, job: Job) {
        // The housekeeper ends only after this thread, or with a failure that it has told.
        let _ = self.jobs.send(job);
    }

    /// Has the store for the next generation made, unless it is or was asked for.
    fn prepare_next(&mut self) {
        if !self.next_asked && self.next.is_none() {
            self.next_asked = true;
            self.ask(Job::Prepare(self.head.generation.next()));
        }
    }

    /// The head is full as soon as there is a store for the next generation.
    pub(super) fn roll_soon(&mut self) {
        self.rolls_soon = true;
        self.prepare_next();
    }

    /// The head is full: the prepared store takes its place, if it is ready.
    pub(super) fn roll(&mut self) {
        let (Some(first_seq), Some(next)) = (self.head.first_seq, self.next.take()) else {
            return;
        };
        let generation = self.head.generation.next();
        let now = self.shared.trust.stamp();
        let head = Head {
            generation,
            store: next.clone(),
            first_seq: None,
            ids: Vec::new(),
            bytes: 0,
            begun_at: now,
            newest: 0,
        };
        let old = std::mem::replace(&mut self.head, head);
        (self.next_asked, self.rolls_soon) = (false, false);
        let mut claims = lock(&self.shared.claims);
        let first_ahead = self.ledger.state.last_seq + 1;
        let readable = Readable {
            first_seq: first_ahead,
            store: Some(next),
            is_held: true,
        };
        claims.generations.insert(generation, readable);
        drop(claims);
        self.ask(Job::Seal {
            generation: old.generation,
            store: old.store,
            first_seq,
            last_seq: self.ledger.state.last_seq,
            // A clock that was ahead and is put right has stamped what is still to come.
            newest: old.newest.min(now),
            ids: old.ids,
        });
        self.ask(Job::SyncHigh);
    }

    pub(super) fn job_done(&mut self, done: Done, batch: &mut Batch) {
        match done {
            Done::Prepared(store) => self.next = Some(store),
            Done::Sealed {
                generation,
                sealed,
                file,
            } => {
                self.ledger.put_generation(batch, generation, sealed);
                self.ledger.put_file(batch, &file.name(), file.record());
                self.dedup.seal(generation, file);
                self.to_erase.sealed(generation, self.shared.trust.stamp());
                self.merge_small();
            }
            Done::ErasedEvents {
                generation,
                is_done,
            } => {
                if !is_done {
                    // Wanted anew at the next look at all stores.
                    self.to_erase.settled.remove(&generation);
                }
                self.to_erase.done();
                self.erase();
            }
            Done::ErasedLetters { period, is_done } => {
                if !is_done {
                    self.to_erase.gone.remove(&period);
                }
                self.to_erase.done();
                self.erase();
            }
            Done::Deleted(generation) => {
                self.ledger.remove_generation(batch, generation);
                self.ledger.release_generation(batch, generation);
                self.deleting.retain(|g| *g != generation);
            }
            Done::Forgotten(name) => self.ledger.remove_file(batch, &name),
            Done::Harmed(harmed) => {
                let window = millis(self.shared.options.dedup_window);
                let file = harmed.file;
                let known = self.ledger.files.get(&file.name()).copied();
                let Some(known) = known.filter(|known| !known.is_harmed) else {
                    // Merged or forgotten since, or told at an earlier start.
                    return;
                };
                let told = IdFile {
                    is_harmed: true,
                    ..known
                };
                self.ledger.put_file(batch, &file.name(), told);
                self.ledger.lose_until(
                    batch,
                    LossKind::MessageIds,
                    &seen_name(&file.name()),
                    harmed.ids,
                    self.shared.clock.now(),
                    Some(file.coverage.newest.saturating_add(window)),
                );
                self.publish_losses();
            }
            Done::Merged(file, sources) => {
                self.merging = false;
                if let Some(file) = file {
                    for source in sources {
                        self.ledger.remove_file(batch, &source);
                    }
                    self.ledger.put_file(batch, &file.name(), file.record());
                    self.dedup.merged(file);
                }
                self.merge_small();
            }
        }
    }

    /// Merges the oldest run of small files, so that a look-up asks few filters.
    pub(super) fn merge_small(&mut self) {
        if self.merging {
            return;
        }
        let files = self.dedup.files();
        if let Some(run) = mergeable(&files) {
            self.merging = true;
            self.ask(Job::Merge(files[run].to_vec()));
        }
    }

    /// The files of ids are where they were. While some are merged, that one goes is right; one
    /// that is sealed again is replaced.
    fn files_in_place(&self) -> Result<(), StoreError> {
        if self.merging {
            return Ok(());
        }
        for file in self.dedup.files() {
            if !is_there(file.path())? {
                let source = std::io::Error::other("it is gone while it is open");
                return Err(source).at(file.path());
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.files_in_place()?;
        // By whatever clock there is: this deletes nothing by itself.
        let is_of_age = is_of_age(self.head.begun_at, self.shared.trust.stamp());
        if self.head.first_seq.is_some() && is_of_age {
            self.roll_soon();
        }
        self.forget_and_purge(batch)?;
        // What goes as a whole has gone.
        self.erase();
        Ok(())
    }

    /// What goes by its age, and what goes by a quota.
    fn forget_and_purge(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        // What is deleted by age needs a clock that is believed; quotas and empty periods do not.
        let Some(reading) = self.shared.trust.believed_reading() else {
            return self.purge(batch, None);
        };
        if self.is_clock_due(reading, NOTE_CLOCKS_IDLE)
            && *self.shared.pressure.borrow() == Pressure::None
        {
            self.write_meta(std::mem::take(batch))?;
        }
        let now = reading.wall;
        let horizon = Horizon {
            at: self.shared.options.horizon(now),
            unproven: self.shared.trust.unproven(),
        };
        self.delivered.forget(batch, horizon.at, FORGOTTEN);
        let forgotten = self.dedup.forget(horizon, self.ledger.cursor.low_water());
        for file in &forgotten {
            let leaving = IdFile {
                is_leaving: true,
                ..file.record()
            };
            self.ledger.put_file(batch, &file.name(), leaving);
        }
        if !forgotten.is_empty() {
            // Noted first: a file that must be there and is not would be told as lost.
            self.write_meta(std::mem::take(batch))?;
        }
        forgotten
            .into_iter()
            .for_each(|file| self.ask(Job::Forget(file)));
        self.purge(batch, Some(now))
    }
}
