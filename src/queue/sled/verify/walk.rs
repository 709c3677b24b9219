//! The walk over everything stored, against the account: each sequence number has one state,
//! each stored value its checksum, each dead letter its bytes, each queued event its messageId.

use std::collections::HashSet;
use std::path::Path;

use super::super::chunk::AcceptTotals;
use super::super::claims::read_chunk;
use super::super::dead::read_group;
use super::super::ledger::{Ledger, Sealed};
use super::super::letter;
use super::super::seen::SeenFile;
use super::super::state::State;
use super::super::store::{At, Store, StoreError};
use crate::queue::entry::DeadReason;
use crate::queue::ranges::RangeSet;
use crate::queue::verdict::{Finding, Verdict};

const REPAIR: &str = "stop the daemon and run `pinrelay verify --repair`";
const REPORT: &str = "keep a copy of the queue folder and report it: this is a bug";

/// What a finding is about, for `--repair`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// The account, `high` or a whole store: opening the queue deals with it.
    AtOpen,
    /// Events of a generation whose bytes cannot be used.
    Lines {
        /// The store they were read from, if it is one.
        generation: Option<u64>,
        first: u64,
        last: u64,
    },
    /// Dead letters whose bytes cannot be used, by the first of their group.
    Letters { period: u64, first: u64 },
    /// A file of remembered ids, by its name in `seen/`.
    Seen(String),
    /// The `format` file.
    Format,
    /// Nothing that a repair would mend.
    None,
}

/// The stores, wherever they are opened.
pub(super) trait Stores {
    /// The generations there are, ascending.
    fn generations(&self) -> Vec<u64>;
    /// Shows a generation's store.
    fn generation(
        &mut self,
        generation: u64,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError>;
    /// Shows the store of a period of dead letters; false if it was purged meanwhile.
    fn period(&mut self, period: u64, look: &mut dyn FnMut(&Store)) -> Result<bool, StoreError>;
}

/// A walk under way.
pub(super) struct Walk<'a> {
    ledger: &'a Ledger,
    /// The counters outside the stores, if they can be read.
    high: Option<State>,
    pub(super) verdict: Verdict,
    pub(super) pieces: Vec<Piece>,
    held: RangeSet,
    /// Generation, first number and fault of each chunk that cannot be used.
    faults: Vec<(u64, u64, String)>,
    /// Numbers that a finding names already.
    told: RangeSet,
    revived: Vec<u64>,
    totals: AcceptTotals,
    last_seq: u64,
}

/// What one generation holds.
#[derive(Default)]
struct Held {
    chunks: Vec<(u64, u64)>,
    ids: Vec<u128>,
    /// First number and fault of each chunk that cannot be used.
    faults: Vec<(u64, String)>,
    revived: Vec<u64>,
    totals: AcceptTotals,
    /// What was met where keys cannot be reached; the events there show as missing.
    met: Option<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(ledger: &'a Ledger, high: Option<State>) -> Self {
        let mut totals = ledger.state.totals;
        let mut last_seq = ledger.state.last_seq;
        if let Some(high) = &high {
            totals = totals.max(&high.totals);
            last_seq = last_seq.max(high.last_seq);
        }
        Self {
            ledger,
            high,
            verdict: Verdict::default(),
            pieces: Vec::new(),
            held: RangeSet::default(),
            faults: Vec::new(),
            told: RangeSet::default(),
            revived: Vec::new(),
            totals,
            last_seq,
        }
    }

    pub(super) fn find(&mut self, piece: Piece, object: String, what: String) {
        let next = match piece {
            Piece::None => REPORT.into(),
            _ => REPAIR.into(),
        };
        self.pieces.push(piece);
        self.verdict.findings.push(Finding { object, what, next });
    }

    /// Walks over all of it; `is_live` says that the daemon goes on meanwhile: then what came
    /// after the account was read is passed over.
    pub(super) fn all(
        mut self,
        root: &Path,
        stores: &mut dyn Stores,
        is_live: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StoreError> {
        let files = self.open_seen(&root.join("seen"), is_live)?;
        let mut left = stores.generations();
        for file in files {
            let (first, last) = file.coverage.generations;
            tell(&format!("seen/{}", name(file.path())));
            let mut ids = HashSet::new();
            let covered: Vec<u64> = left
                .extract_if(.., |g| (first..=last).contains(g))
                .collect();
            for generation in covered {
                tell(&format!("gen/{generation:010}"));
                ids.extend(self.generation(generation, stores, is_live)?);
            }
            self.remembered(&file, ids);
        }
        for generation in left {
            tell(&format!("gen/{generation:010}"));
            let ids = self.generation(generation, stores, is_live)?;
            if self.ledger.generations.contains_key(&generation) && !ids.is_empty() {
                self.find(
                    Piece::AtOpen,
                    format!("gen/{generation:010}"),
                    "no file in seen/ remembers its messageIds".into(),
                );
            }
        }
        self.faulty_lines();
        self.missing_lines();
        for period in self.ledger.periods.keys() {
            tell(&format!("dead/{period:010}"));
            self.period(*period, stores)?;
        }
        self.balance(is_live);
        Ok(self)
    }

    fn open_seen(&mut self, dir: &Path, is_live: bool) -> Result<Vec<SeenFile>, StoreError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.at(dir)?.path();
            if path.extension().is_none_or(|e| e != "ids") {
                continue;
            }
            match SeenFile::open(&path) {
                Ok(file) => {
                    if !is_live {
                        self.last_seq = self.last_seq.max(file.coverage.last_seq);
                    }
                    files.push(file);
                }
                Err(error @ StoreError::Damaged { .. }) => self.find(
                    Piece::Seen(name(&path)),
                    format!("seen/{}", name(&path)),
                    error.to_string(),
                ),
                Err(error) => return Err(error),
            }
        }
        files.sort_by_key(|file| file.coverage.generations);
        Ok(files)
    }

    /// Reads a generation whole; gives the ids of its events.
    fn generation(
        &mut self,
        generation: u64,
        stores: &mut dyn Stores,
        is_live: bool,
    ) -> Result<Vec<u128>, StoreError> {
        let object = format!("gen/{generation:010}");
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
            self.verdict.checked.events += last + 1 - first;
            if !is_live {
                self.last_seq = self.last_seq.max(*last);
            }
        }
        let faults = std::mem::take(&mut held.faults).into_iter();
        self.faults
            .extend(faults.map(|(first, fault)| (generation, first, fault)));
        if !is_live {
            self.totals = self.totals.max(&held.totals);
            self.revived.append(&mut held.revived);
        }
        Ok(held.ids)
    }

    /// Chunks that cannot be used. Each reaches to the next event that some store holds, at most
    /// to the end of its generation: known only when all were read.
    fn faulty_lines(&mut self) {
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
            let cost = match self.open_within(first, last) {
                0 => "its events are settled: nothing is lost".into(),
                open => format!("{open} events from {first} to {last} cannot be delivered"),
            };
            self.told.insert(first..=last);
            self.find(
                piece,
                format!("gen/{generation:010}"),
                format!("{fault}; {cost}"),
            );
        }
    }

    fn unopened(
        &mut self,
        generation: u64,
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
        let cost = match self.open_within(first, last) {
            0 => "its events are settled: nothing is lost".into(),
            open => format!("{open} events from {first} to {last} cannot be delivered"),
        };
        self.told.insert(first..=last);
        let piece = Piece::Lines {
            generation: Some(generation),
            first,
            last,
        };
        self.find(piece, object, format!("{error}; {cost}"));
    }

    /// How many of these numbers are not settled.
    fn open_within(&self, first: u64, last: u64) -> u64 {
        let cursor = &self.ledger.cursor;
        cursor.unsettled(last) - cursor.unsettled(first - 1)
    }

    /// The ids of queued and settled events of the generations that `file` covers are in it, and
    /// its blocks are whole.
    fn remembered(&mut self, file: &SeenFile, mut ids: HashSet<u128>) {
        let object = format!("seen/{}", name(file.path()));
        for id in file.ids() {
            match id {
                Ok(id) => {
                    self.verdict.checked.message_ids += 1;
                    ids.remove(&id);
                }
                Err(error) => {
                    self.find(Piece::Seen(name(file.path())), object, error.to_string());
                    return;
                }
            }
        }
        if !ids.is_empty() {
            let what = format!("it lacks the messageIds of {} stored events", ids.len());
            self.find(Piece::None, object, what);
        }
    }

    /// Numbers that are neither settled nor stored.
    fn missing_lines(&mut self) {
        let mut missing = RangeSet::default();
        let (low, last) = (self.ledger.cursor.mark(), self.last_seq);
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

    fn period(&mut self, period: u64, stores: &mut dyn Stores) -> Result<(), StoreError> {
        let ledger = self.ledger;
        let numbers = ledger.periods[&period];
        let object = format!("dead/{period:010}");
        let (mut faults, mut fatal, mut met) = (Vec::new(), None, None);
        let mut missing = RangeSet::default();
        missing.insert(numbers.first..=numbers.last);
        let mut dead = [0u64; DeadReason::ALL.len()];
        let mut checked = 0;
        let looked = stores.period(period, &mut |store| {
            let (firsts, unreached) = match store.firsts() {
                Ok(found) => found,
                Err(error) => return fatal = Some(error),
            };
            for first in firsts.into_iter().filter(|first| numbers.holds(*first)) {
                let records = read_group(store, first).and_then(|bytes| {
                    letter::decode(&bytes)
                        .map_err(|bad| StoreError::bad(store.path(), "a dead letter", bad))
                });
                match records {
                    Ok(records) => {
                        for (number, record) in (first..).zip(records) {
                            missing.remove(number..=number);
                            checked += 1;
                            if let (true, Some(reason)) = (ledger.is_dead(number), record.reason) {
                                dead[reason.index()] += 1;
                            }
                        }
                    }
                    Err(error @ StoreError::Damaged { .. }) => faults.push((first, error)),
                    Err(error) => fatal = Some(error),
                }
            }
            met = unreached;
        });
        match looked {
            Err(error @ StoreError::Damaged { .. }) => {
                self.find(Piece::AtOpen, object, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
            Ok(false) => return Ok(()),
            Ok(true) => {}
        }
        if let Some(error) = fatal {
            return Err(error);
        }
        self.verdict.checked.dead_letters += checked;
        for (first, last) in ledger.dead_gone.iter() {
            missing.remove(first..=last);
        }
        let is_short = missing.count() > 0;
        for (first, fault) in faults {
            let cost = match is_short {
                true => "its letters are lost",
                false => "its letters are gone or set aside already: nothing is lost",
            };
            let piece = Piece::Letters { period, first };
            self.find(piece, object.clone(), format!("{fault}; {cost}"));
        }
        if is_short {
            let why = met.map_or(String::new(), |e| format!(": {e}"));
            let what = format!("{} dead letters cannot be read{why}", missing.count());
            self.find(Piece::AtOpen, object, what);
            return Ok(());
        }
        if dead != numbers.dead {
            let what = format!(
                "it holds {dead:?} letters by reason, counted are {:?}",
                numbers.dead
            );
            self.find(Piece::None, object, what);
        }
        Ok(())
    }

    /// The counters, as the next start will see them.
    fn balance(&mut self, is_live: bool) {
        let mut census = self.ledger.census();
        let mut pending = 0;
        if !is_live {
            let numbered = self.last_seq.saturating_sub(self.totals.revived);
            census.accepted = self.totals.accepted.max(numbered);
            census.sending = 0;
            census.queued =
                self.ledger.cursor.unsettled(self.last_seq) + self.ledger.dead_queued.count();
            // A crash came between the chunk that replaces a letter and the account's note of it.
            let replaced = self.revived.iter().filter(|n| self.ledger.is_dead(**n));
            pending = replaced.count() as i64;
        }
        let imbalance = census.imbalance() + pending;
        self.verdict.ledger_imbalance = imbalance;
        if imbalance != 0 {
            let what = format!(
                "accepted events less those accounted for is {imbalance}: {} accepted, {} queued, \
                 {} delivered, {} purged, {} set aside",
                census.accepted,
                census.queued + census.sending,
                census.delivered,
                census.purged,
                census.set_aside
            );
            self.find(Piece::None, "the ledger".into(), what);
        }
        if let Some(high) = self
            .high
            .filter(|h| h.settle_no > self.ledger.state.settle_no)
        {
            let lost = high.settle_no - self.ledger.state.settle_no;
            let what = format!("its last {lost} writes are missing: it was cut short");
            self.find(Piece::AtOpen, "meta".into(), what);
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .map_or(String::new(), |name| name.to_string_lossy().into_owned())
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
                held.revived.extend(chunk.revived);
            }
            Err(error @ StoreError::Damaged { .. }) => held.faults.push((first, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    held.met = met.map(|error| error.to_string());
    Ok(())
}
