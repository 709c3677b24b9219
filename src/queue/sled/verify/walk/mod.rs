//! The walk over everything stored, against the account: each sequence number has one state,
//! each stored value its checksum, each dead letter its bytes, each queued event its messageId.

mod letters;
mod lines;

use std::collections::HashSet;
use std::path::Path;

use crate::queue::contract::{Account, Finding, LetterNumber, Seq, Verdict};
use crate::queue::ranges::RangeSet;
use crate::queue::record::chunk::AcceptTotals;
use crate::queue::sled::account::Ledger;
use crate::queue::sled::disk::{
    PURGED, SEEN, Store, StoreError, entries, generation_name, is_there, period_name, seen_name,
};
use crate::queue::sled::ids::{SeenFile, purged};
use crate::queue::sled::numbers::{Generation, PeriodNumber};

const REPAIR: &str = "stop the daemon and run `pinrelay verify --repair`";
const REPORT: &str = "keep a copy of the queue folder and report it: this is a bug";

/// What a finding is about, for `--repair`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The account, `high` or a whole store: opening the queue deals with it.
    AtOpen,
    /// Events of a generation whose bytes cannot be used.
    Lines {
        /// The store they were read from, if it is one.
        generation: Option<Generation>,
        first: Seq,
        last: Seq,
    },
    /// Dead letters whose bytes cannot be used, by the first of their group.
    Letters {
        period: PeriodNumber,
        first: LetterNumber,
    },
    /// A file of remembered ids, by its name in `seen/`.
    Seen(String),
    /// Nothing that a repair would mend.
    None,
}

/// The stores, wherever they are opened.
pub trait Stores {
    /// The generations there are, ascending.
    fn generations(&self) -> Result<Vec<Generation>, StoreError>;
    /// Shows a generation's store.
    fn generation(
        &mut self,
        generation: Generation,
        look: &mut dyn FnMut(&Store),
    ) -> Result<(), StoreError>;
    /// Shows the store of a period of dead letters; false if it was purged meanwhile.
    fn period(
        &mut self,
        period: PeriodNumber,
        look: &mut dyn FnMut(&Store),
    ) -> Result<bool, StoreError>;
}

/// A walk under way.
pub struct Walk<'a> {
    ledger: &'a Ledger,
    pub verdict: Verdict,
    pub pieces: Vec<Piece>,
    held: RangeSet<Seq>,
    /// Generation, first number and fault of each chunk that cannot be used.
    faults: Vec<(Generation, Seq, String)>,
    /// Numbers that a finding names already.
    told: RangeSet<Seq>,
    retried: Vec<LetterNumber>,
    totals: AcceptTotals,
    last_seq: Seq,
}

impl<'a> Walk<'a> {
    pub fn new(ledger: &'a Ledger) -> Self {
        let totals = ledger.state.totals;
        let last_seq = ledger.state.last_seq;
        let census = ledger.census();
        let open = ledger.cursor.unsettled(last_seq) + ledger.dead_queued.count();
        Self {
            ledger,
            verdict: Verdict {
                undelivered: Some(open + census.dead_total()),
                ..Verdict::default()
            },
            pieces: Vec::new(),
            held: RangeSet::default(),
            faults: Vec::new(),
            told: RangeSet::default(),
            retried: Vec::new(),
            totals,
            last_seq,
        }
    }

    pub fn find(&mut self, piece: Piece, object: String, what: String) {
        let next = match piece {
            Piece::None => REPORT.into(),
            _ => REPAIR.into(),
        };
        self.pieces.push(piece);
        self.verdict.findings.push(Finding { object, what, next });
    }

    /// Something cannot be used, and nothing hangs on it any more: no start says a word of it.
    fn harmless(&mut self, piece: Piece, object: String, fault: String) {
        self.pieces.push(piece);
        let note = format!("{object}: {fault}; what was in it is settled: nothing is lost");
        self.verdict.notes.push(note);
    }

    /// Walks over all of it; `is_live` says that the daemon goes on meanwhile: then what came
    /// after the account was read is passed over.
    pub fn all(
        mut self,
        root: &Path,
        stores: &mut dyn Stores,
        is_live: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, StoreError> {
        let files = self.open_seen(&root.join(SEEN), is_live)?;
        let mut left = stores.generations()?;
        for file in files {
            let (first, last) = file.coverage.generations;
            tell(&seen_name(&name(file.path())));
            let mut ids = HashSet::new();
            let covered: Vec<Generation> = left
                .extract_if(.., |g| (first..=last).contains(g))
                .collect();
            for generation in covered {
                tell(&generation_name(generation));
                ids.extend(self.generation(generation, stores, is_live)?);
            }
            self.remembered(&file, ids);
        }
        for generation in left {
            tell(&generation_name(generation));
            let ids = self.generation(generation, stores, is_live)?;
            // Until it is sealed it is the one that remembers them.
            self.verdict.checked.message_ids += ids.len() as u64;
            if self.ledger.generations.contains_key(&generation) && !ids.is_empty() {
                self.find(
                    Piece::AtOpen,
                    generation_name(generation),
                    "no file in seen/ remembers its messageIds".into(),
                );
            }
        }
        self.faulty_lines();
        self.missing_lines();
        for period in self.ledger.periods.keys() {
            tell(&period_name(*period));
            self.period(*period, stores)?;
        }
        self.lists(root, is_live)?;
        self.balance(is_live);
        Ok(self)
    }

    fn open_seen(&mut self, dir: &Path, is_live: bool) -> Result<Vec<SeenFile>, StoreError> {
        let mut files = Vec::new();
        for path in entries(dir)? {
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
                    seen_name(&name(&path)),
                    error.to_string(),
                ),
                Err(error) => return Err(error),
            }
        }
        for (name, known) in &self.ledger.files {
            let stands = files.iter().any(|file: &SeenFile| {
                // It was merged a moment ago, and the account is about to note it.
                file.name() == *name || (is_live && file.coverage.holds(&known.coverage))
            });
            let is_told = self.pieces.contains(&Piece::Seen(name.clone()));
            if !stands && !known.is_leaving && !is_told {
                let count = known.coverage.count;
                self.find(
                    Piece::AtOpen,
                    seen_name(name),
                    format!("it is missing: {count} ids are no longer remembered"),
                );
            }
        }
        files.sort_by_key(|file| file.coverage.generations);
        Ok(files)
    }

    /// Each list of purged letters that the account knows is there, and whole.
    fn lists(&mut self, root: &Path, is_live: bool) -> Result<(), StoreError> {
        for list in self.ledger.lists.values() {
            let path = purged::path_of(root, list);
            let error = match purged::read(root, list) {
                Ok(_) => continue,
                // Its time has come meanwhile.
                Err(StoreError::Damaged { .. }) if is_live && !is_there(&path)? => continue,
                Err(error @ StoreError::Damaged { .. }) => error,
                Err(error) => return Err(error),
            };
            let object = format!("{}/{}", PURGED, name(&path));
            let what = format!("{error}; the purged events in it cannot be imported");
            self.find(Piece::AtOpen, object, what);
        }
        Ok(())
    }

    /// The ids of queued and settled events of the generations that `file` covers are in it, and
    /// its blocks are whole.
    fn remembered(&mut self, file: &SeenFile, mut ids: HashSet<u128>) {
        let object = seen_name(&name(file.path()));
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

    /// The counters, as the next start will see them.
    fn balance(&mut self, is_live: bool) {
        let mut census = self.ledger.census();
        let mut pending = 0;
        if !is_live {
            let numbered = self.last_seq.0.saturating_sub(self.totals.retried);
            census.accepted = self.totals.accepted.max(numbered);
            census.sending = 0;
            census.queued =
                self.ledger.cursor.unsettled(self.last_seq) + self.ledger.dead_queued.count();
            // A crash came between the chunk that replaces a letter and the account's note of it.
            let replaced = self.retried.iter().filter(|n| self.ledger.is_dead(**n));
            pending = replaced.count() as i64;
        }
        self.verdict.ledger = Some(Account::from(&census));
        self.verdict.undelivered = Some(census.queued + census.sending + census.dead_total());
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
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .map_or(String::new(), |name| name.to_string_lossy().into_owned())
}
