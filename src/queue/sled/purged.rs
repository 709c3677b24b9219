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
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::codec::{self, Bad, Reader, Writer};
use super::error::{At, StoreError};
use super::files::{entries, is_there, patiently, sync_dir};
use super::guard::{Guard, keep};
use super::ledger::Ledger;
use crate::clock::Millis;

const MAGIC: u64 = 0x7072_7075_7267_0001;

/// The folder of the lists.
pub(super) const FOLDER: &str = "purged";

/// What a list covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    /// The numbers of the period that it stands for.
    pub(super) first: u64,
    pub(super) last: u64,
    /// When it was written.
    pub(super) purged_at: Millis,
}

/// A letter by its messageId and number.
pub(super) type Named = (u128, u64);

/// The path of a list.
pub(super) fn path_of(root: &Path, list: &List) -> PathBuf {
    let name = format!("{:010}-{:010}.ids", list.first, list.last);
    root.join(FOLDER).join(name)
}

/// The purged letters that may come back.
pub(super) struct Purged {
    root: PathBuf,
    ids: HashMap<u128, u64>,
}

impl Purged {
    /// `standing`: the purged letters of periods that stand. Reads the lists; `revived` are
    /// numbers whose messageIds were accepted anew before the account took note of it.
    pub(super) fn open(
        guard: &Guard<'_>,
        ledger: &mut Ledger,
        batch: &mut Batch,
        standing: Vec<Named>,
        revived: &[u64],
        is_remade: bool,
    ) -> Result<Self, StoreError> {
        let root = guard.root;
        if is_remade {
            adopt_lists(guard, ledger, batch)?;
        }
        let mut ids: HashMap<u128, u64> = standing.into_iter().collect();
        for list in ledger.lists.values().copied().collect::<Vec<_>>() {
            let path = path_of(root, &list);
            guard.reads(&path);
            match read(root, &list) {
                Ok(named) => {
                    let back = &ledger.listed_back;
                    ids.extend(named.into_iter().filter(|(_, n)| !back.contains(*n)));
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    ledger.remove_list(batch, list.first);
                    let kept = match is_there(&path)? {
                        true => keep(root, &path, "purged.ids")?.display().to_string(),
                        false => "gone".into(),
                    };
                    let next = format!(
                        "the purged events listed in it cannot be imported any more; as it was: \
                         {kept}"
                    );
                    guard.found_at(&path, error.to_string(), &next);
                }
                Err(error) => return Err(error),
            }
        }
        remove_unknown(root, ledger)?;
        let revived: HashSet<u64> = revived.iter().copied().collect();
        if !revived.is_empty() {
            ids.retain(|_, number| {
                let is_back = revived.contains(number);
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
    pub(super) fn number(&self, id_hash: u128) -> Option<u64> {
        self.ids.get(&id_hash).copied()
    }

    /// A letter was purged, and may come back.
    pub(super) fn insert(&mut self, (id_hash, number): Named) {
        self.ids.insert(id_hash, number);
    }

    /// The event of this id is elsewhere.
    pub(super) fn forget(&mut self, id_hash: u128) {
        self.ids.remove(&id_hash);
    }

    /// Lists the purged letters of a period that is about to go, and `dead`, which go with it.
    /// None where there are none. The caller notes the list in the account.
    pub(super) fn list(
        &mut self,
        (first, last): (u64, u64),
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
        write(&path_of(&self.root, &list), &list, &named)?;
        Ok(Some(list))
    }

    /// Forgets the letters of a list, and the list; the account knows it no more.
    pub(super) fn drop_list(&mut self, list: &List) -> Result<(), StoreError> {
        let numbers = list.first..=list.last;
        self.ids.retain(|_, number| !numbers.contains(number));
        let path = path_of(&self.root, list);
        fs::remove_file(&path).at(&path)
    }
}

/// A list as it is stored.
pub(super) fn encode(list: &List, named: &[Named]) -> Vec<u8> {
    let mut w = Writer::versioned();
    w.u64(MAGIC);
    w.u64(list.first);
    w.u64(list.last);
    w.i64(list.purged_at);
    for (id_hash, number) in named {
        w.u128(*id_hash);
        w.u64(*number);
    }
    codec::seal(FOLDER.as_bytes(), w.0)
}

fn write(path: &Path, list: &List, named: &[Named]) -> Result<(), StoreError> {
    let tmp = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = patiently(|| options.open(&tmp)).at(&tmp)?;
    file.write_all(&encode(list, named)).at(&tmp)?;
    file.sync_all().at(&tmp)?;
    fs::rename(&tmp, path).at(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Reads a list that the account knows, and checks it.
pub(super) fn read(root: &Path, list: &List) -> Result<Vec<Named>, StoreError> {
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
    let bytes = match patiently(|| fs::read(path)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::damaged(path, "it is missing"));
        }
        read => read.at(path)?,
    };
    decode(&bytes).map_err(|bad| StoreError::bad(path, "the list", bad))
}

/// The list in a file's bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<(List, Vec<Named>), Bad> {
    let mut r = Reader::versioned(codec::open(FOLDER.as_bytes(), bytes)?)?;
    if r.u64()? != MAGIC {
        return Err(Bad::Value);
    }
    let list = List {
        first: r.u64()?,
        last: r.u64()?,
        purged_at: r.i64()?,
    };
    let mut named = Vec::with_capacity(r.0.len() / 24);
    while !r.0.is_empty() {
        named.push((r.u128()?, r.u64()?));
    }
    Ok((list, named))
}

/// The numbers that the lists are of, by their names.
pub(super) fn listed(root: &Path) -> Result<Vec<(u64, u64)>, StoreError> {
    let lists = entries(&root.join(FOLDER))?;
    let names = lists.iter().filter_map(|path| path.file_stem()?.to_str());
    let numbers = names.filter_map(|name| {
        let (first, last) = name.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Ok(numbers.collect())
}

/// The account was lost, and with it which lists there are.
fn adopt_lists(
    guard: &Guard<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let root = guard.root;
    for path in entries(&root.join(FOLDER))? {
        match load(&path) {
            Ok((list, _)) if ledger.period_of(list.first).is_none() => {
                ledger.put_list(batch, list);
            }
            // Its period stands, so it was not yet noted.
            Ok(_) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                let kept = keep(root, &path, "purged.ids")?;
                let next = format!("it was moved to {}", kept.display());
                guard.found_at(&path, error.to_string(), &next);
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
    for path in entries(&root.join(FOLDER))? {
        if !known.contains(&path) {
            fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}
