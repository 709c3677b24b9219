//! Which purged events may still come back, by [`Queue::import`](crate::queue::Queue::import).
//!
//! While the folder of its period stands, a purged letter is found in there at start. When that
//! folder goes, what may come back is listed in `purged/<first>-<last>.ids` before: ids and
//! numbers, no event. The account has a row for each list, and one for each number of it that
//! came back since. A list goes a dedup window after it was written; then its ids are forgotten.
//!
//! Layout of a list: version u8 · magic u64 · first and last number u64 · when it was written i64
//! · per letter: id hash u128, number u64 · a checksum over all of it. It is written as `.tmp`,
//! synced, and renamed into place.

use std::collections::{HashMap, HashSet};
use std::fs::{self};
use std::path::{Path, PathBuf};

use crate::clock::Millis;
use crate::queue::contract::LetterNumber;
use crate::queue::sled::account::Ledger;
use crate::queue::sled::disk::{
    At, Batch, Evidence, PURGED, StoreError, entries, is_there, layout, quarantine, replace,
    retry_without_fds,
};
use crate::queue::sled::record::{List, Named, purged_list};

/// The path of a list.
pub fn path_of(root: &Path, list: &List) -> PathBuf {
    layout::purged_list(root, (list.first, list.last))
}

/// The purged letters that may come back.
pub struct Purged {
    root: PathBuf,
    ids: HashMap<u128, LetterNumber>,
}

impl Purged {
    /// `standing`: the purged letters of periods that stand. Reads the lists; `revived` are
    /// numbers whose messageIds were accepted anew before the account took note of it.
    pub fn open(
        evidence: &Evidence<'_>,
        ledger: &mut Ledger,
        batch: &mut Batch,
        standing: Vec<Named>,
        retried: &[LetterNumber],
        is_rebuilt: bool,
    ) -> Result<Self, StoreError> {
        let root = evidence.root;
        if is_rebuilt {
            adopt_lists(evidence, ledger, batch)?;
        }
        let mut ids: HashMap<u128, LetterNumber> = standing.into_iter().collect();
        for list in ledger.lists.values().copied().collect::<Vec<_>>() {
            let path = path_of(root, &list);
            evidence.reads(&path);
            match read(root, &list) {
                Ok(named) => {
                    let back = &ledger.listed_back;
                    ids.extend(named.into_iter().filter(|(_, n)| !back.contains(*n)));
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    ledger.remove_list(batch, list.first);
                    let kept = match is_there(&path)? {
                        true => quarantine::put(root, &path, "purged.ids")?
                            .display()
                            .to_string(),
                        false => "gone".into(),
                    };
                    let next = format!(
                        "the purged events listed in it cannot be imported any more; as it was: \
                         {kept}"
                    );
                    evidence.found_at(&path, error.to_string(), &next);
                }
                Err(error) => return Err(error),
            }
        }
        remove_unknown(root, ledger)?;
        let retried: HashSet<LetterNumber> = retried.iter().copied().collect();
        if !retried.is_empty() {
            ids.retain(|_, number| {
                let is_back = retried.contains(number);
                if is_back {
                    ledger.unpurge(batch, *number);
                }
                !is_back
            });
        }
        Ok(Self {
            root: root.to_owned(),
            ids,
        })
    }

    /// The number of the purged letter under this id.
    pub fn number(&self, id_hash: u128) -> Option<LetterNumber> {
        self.ids.get(&id_hash).copied()
    }

    /// A letter was purged, and may come back.
    pub fn insert(&mut self, (id_hash, number): Named) {
        self.ids.insert(id_hash, number);
    }

    /// The event of this id is elsewhere.
    pub fn forget(&mut self, id_hash: u128) {
        self.ids.remove(&id_hash);
    }

    /// Lists the purged letters of a period that is about to go, and `dead`, which go with it.
    /// None where there are none. The caller notes the list in the account.
    pub fn list(
        &mut self,
        (first, last): (LetterNumber, LetterNumber),
        dead: Vec<Named>,
        purged_at: Millis,
    ) -> Result<Option<List>, StoreError> {
        self.ids.extend(dead);
        let within = self.ids.iter().filter(|(_, n)| (first..=last).contains(n));
        let mut named: Vec<Named> = within.map(|(id, number)| (*id, *number)).collect();
        if named.is_empty() {
            return Ok(None);
        }
        named.sort_unstable();
        let list = List {
            first,
            last,
            purged_at,
        };
        let path = path_of(&self.root, &list);
        replace(
            &path,
            &path.with_extension("tmp"),
            &purged_list::encode(&list, &named),
        )?;
        Ok(Some(list))
    }

    /// Forgets the letters of a list, and the list; the account knows it no more.
    pub fn drop_list(&mut self, list: &List) -> Result<(), StoreError> {
        let numbers = list.first..=list.last;
        self.ids.retain(|_, number| !numbers.contains(number));
        let path = path_of(&self.root, list);
        fs::remove_file(&path).at(&path)
    }
}

/// Reads a list that the account knows, and checks it.
pub fn read(root: &Path, list: &List) -> Result<Vec<Named>, StoreError> {
    let path = path_of(root, list);
    match load(&path)? {
        (found, named) if found == *list => Ok(named),
        _ => Err(StoreError::damaged(
            &path,
            "it is another list than the account says",
        )),
    }
}

fn load(path: &Path) -> Result<(List, Vec<Named>), StoreError> {
    let bytes = match retry_without_fds(|| fs::read(path)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::damaged(path, "it is missing"));
        }
        read => read.at(path)?,
    };
    purged_list::decode(&bytes).map_err(|bad| StoreError::bad(path, "the list", bad))
}

/// The numbers that the lists are of, by their names.
pub fn listed(root: &Path) -> Result<Vec<(LetterNumber, LetterNumber)>, StoreError> {
    let lists = entries(&root.join(PURGED))?;
    let names = lists.iter().filter_map(|path| path.file_stem()?.to_str());
    let numbers = names.filter_map(|name| {
        let (first, last) = name.split_once('-')?;
        let number = |text: &str| text.parse().map(LetterNumber).ok();
        Some((number(first)?, number(last)?))
    });
    Ok(numbers.collect())
}

/// The account was lost, and with it which lists there are.
fn adopt_lists(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let root = evidence.root;
    for path in entries(&root.join(PURGED))? {
        match load(&path) {
            Ok((list, _)) if ledger.period_of(list.first).is_none() => {
                ledger.put_list(batch, list);
            }
            // Its period stands, so it was not yet noted.
            Ok(_) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                let kept = quarantine::put(root, &path, "purged.ids")?;
                let next = format!("it was moved to {}", kept.display());
                evidence.found_at(&path, error.to_string(), &next);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes lists that the account does not know: a crash came before it took note of one, and
/// the period stands; or after it had forgotten one.
fn remove_unknown(root: &Path, ledger: &Ledger) -> Result<(), StoreError> {
    let known: HashSet<PathBuf> = (ledger.lists.values())
        .map(|list| path_of(root, list))
        .collect();
    for path in entries(&root.join(PURGED))? {
        if !known.contains(&path) {
            fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}
