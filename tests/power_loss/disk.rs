//! A disk that keeps only what was synced for certain, and anything of the rest.
//!
//! The assumptions, weaker than what ext4, XFS or btrfs give:
//! * fsync or fdatasync of a file makes its bytes and size durable that were written before the
//!   call began, and nothing else: not its name, no other file.
//! * fsync of a folder makes its entries durable that were made before the call began, not the
//!   folder's own name in its parent.
//! * Unsynced writes may be on disk in any selection, and a write torn between sectors of 512
//!   bytes. A file that grew past a lost write holds zeros there.
//! * Unsynced entries may be there in any selection. A rename within a folder is one change, and so
//!   is an exchange; a rename between folders does not occur (the model refuses it).
//! * What was synced stays, and no sector is half written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::script::Tree;
use crate::step::{Act, Step};

pub const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub enum Change {
    Write { at: u64, data: Arc<Vec<u8>> },
    Truncate(u64),
    Add { name: String, node: usize },
    Remove { name: String },
    Move { from: String, to: String },
    Exchange { one: String, other: String },
}

/// A change that no sync covers yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its place in the order of all changes.
    pub number: usize,
    end: usize,
    pub change: Change,
}

enum Node {
    File {
        live: Arc<Vec<u8>>,
        durable: Arc<Vec<u8>>,
        pending: Vec<Pending>,
    },
    Folder {
        live: BTreeMap<String, usize>,
        durable: BTreeMap<String, usize>,
        pending: Vec<Pending>,
    },
}

/// How much of a pending change is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LetterFilter {
    Nothing,
    All,
    /// Of a write: these sectors (a bit each, repeated beyond 64).
    Sectors(u64),
}

/// The disk as the trace drives it.
pub struct Disk {
    nodes: Vec<Node>,
    changes: usize,
}

fn write(content: &mut Vec<u8>, at: u64, data: &[u8]) {
    let (from, to) = (at as usize, at as usize + data.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(data);
}

fn change_file(content: &mut Vec<u8>, change: &Change, keep: LetterFilter) {
    match (change, keep) {
        (_, LetterFilter::Nothing) => {}
        (Change::Truncate(len), _) => content.resize(*len as usize, 0),
        (Change::Write { at, data }, LetterFilter::All) => write(content, *at, data),
        (Change::Write { at, data }, LetterFilter::Sectors(mask)) => {
            let mut from = *at as usize;
            let end = from + data.len();
            while from < end {
                let sector = from / SECTOR;
                let to = ((sector + 1) * SECTOR).min(end);
                let first = *at as usize / SECTOR;
                if mask >> ((sector - first) % 64) & 1 == 1 {
                    write(
                        content,
                        from as u64,
                        &data[from - *at as usize..to - *at as usize],
                    );
                }
                from = to;
            }
        }
        _ => unreachable!("a folder's change in a file"),
    }
}

fn change_folder(entries: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Add { name, node } => drop(entries.insert(name.clone(), *node)),
        Change::Remove { name } => drop(entries.remove(name)),
        Change::Move { from, to } => {
            // If the entry itself never came to disk there is nothing to move.
            if let Some(node) = entries.remove(from) {
                entries.insert(to.clone(), node);
            }
        }
        Change::Exchange { one, other } => {
            // Names that never came to disk have nothing to give.
            if let (Some(a), Some(b)) = (entries.get(one).copied(), entries.get(other).copied()) {
                entries.insert(one.clone(), b);
                entries.insert(other.clone(), a);
            }
        }
        _ => unreachable!("a file's change in a folder"),
    }
}

impl Disk {
    /// The queue's folder itself, not made yet: the root node is its parent.
    pub fn new() -> Self {
        let empty = || Node::Folder {
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        };
        Self {
            nodes: vec![empty()],
            changes: 0,
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut node = 0;
        for part in path {
            let Node::Folder { live, .. } = &self.nodes[node] else {
                return None;
            };
            node = *live.get(part.to_str()?)?;
        }
        Some(node)
    }

    fn place(&self, path: &Path) -> (usize, String) {
        let parent = path.parent().expect("below the root");
        let folder = self.find(parent);
        let folder = folder.unwrap_or_else(|| panic!("{}: no such folder", parent.display()));
        let name = path.file_name().and_then(|n| n.to_str());
        (folder, name.expect("a name").to_owned())
    }

    fn push(&mut self, node: usize, end: usize, change: Change) {
        self.changes += 1;
        let number = self.changes;
        let pending = match &mut self.nodes[node] {
            Node::File { live, pending, .. } => {
                change_file(Arc::make_mut(live), &change, LetterFilter::All);
                pending
            }
            Node::Folder { live, pending, .. } => {
                change_folder(live, &change);
                pending
            }
        };
        pending.push(Pending {
            number,
            end,
            change,
        });
    }

    fn add(&mut self, path: &Path, end: usize, node: Node) {
        let (folder, name) = self.place(path);
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.push(folder, end, Change::Add { name, node });
    }

    fn known(&self, path: &Path) -> usize {
        let node = self.find(path);
        node.unwrap_or_else(|| panic!("{}: the model has not seen it made", path.display()))
    }

    /// Takes a step. `true`: it was a sync.
    pub fn take(&mut self, step: &Step) -> bool {
        let end = step.end;
        match &step.act {
            Act::Create { path } => {
                if self.find(path).is_none() {
                    let file = Node::File {
                        live: Arc::default(),
                        durable: Arc::default(),
                        pending: Vec::new(),
                    };
                    self.add(path, end, file);
                }
            }
            Act::Mkdir { path } if path.as_os_str().is_empty() => {}
            Act::Mkdir { path } => {
                let folder = Node::Folder {
                    live: BTreeMap::new(),
                    durable: BTreeMap::new(),
                    pending: Vec::new(),
                };
                self.add(path, end, folder);
            }
            Act::Truncate { path, len } => {
                let node = self.known(path);
                self.push(node, end, Change::Truncate(*len));
            }
            Act::Write { path, at, data } => {
                let node = self.known(path);
                let data = Arc::new(data.clone());
                self.push(node, end, Change::Write { at: *at, data });
            }
            Act::Copy {
                from,
                from_at,
                to,
                to_at,
                len,
            } => {
                let Node::File { live, .. } = &self.nodes[self.known(from)] else {
                    panic!("{}: not a file", from.display());
                };
                let from_at = *from_at as usize;
                let data = Arc::new(live[from_at..from_at + *len as usize].to_vec());
                if !data.is_empty() {
                    let node = self.known(to);
                    self.push(node, end, Change::Write { at: *to_at, data });
                }
            }
            Act::Rename { from, to } => {
                let (folder, old) = self.place(from);
                let (other, new) = self.place(to);
                assert_eq!(folder, other, "a rename between folders is not modelled");
                self.known(from);
                let change = Change::Move { from: old, to: new };
                self.push(folder, end, change);
            }
            Act::Exchange { one, other } => {
                let (folder, first) = self.place(one);
                let (same, second) = self.place(other);
                assert_eq!(folder, same, "an exchange between folders is not modelled");
                for path in [one, other] {
                    self.known(path);
                }
                let change = Change::Exchange {
                    one: first,
                    other: second,
                };
                self.push(folder, end, change);
            }
            Act::Remove { path } => {
                self.known(path);
                let (folder, name) = self.place(path);
                self.push(folder, end, Change::Remove { name });
            }
            Act::Sync { path } => {
                let node = self.known(path);
                self.sync(node, step.begin);
                return true;
            }
            Act::Sent { .. } | Act::Got { .. } | Act::End => {}
        }
        false
    }

    fn sync(&mut self, node: usize, begin: usize) {
        let covered = |pending: &mut Vec<Pending>| {
            // What ended after the sync began may have come too late for it.
            let (covered, rest) = std::mem::take(pending)
                .into_iter()
                .partition(|p| p.end < begin);
            *pending = rest;
            let covered: Vec<Pending> = covered;
            covered
        };
        match &mut self.nodes[node] {
            Node::File {
                durable, pending, ..
            } => {
                for done in covered(pending) {
                    change_file(Arc::make_mut(durable), &done.change, LetterFilter::All);
                }
            }
            Node::Folder {
                durable, pending, ..
            } => {
                for done in covered(pending) {
                    change_folder(durable, &done.change);
                }
            }
        }
    }

    /// What is not synced of what a cut could still find, in order: number and change.
    pub fn pending(&self) -> Vec<Pending> {
        let mut all: Vec<Pending> = (self.nodes.iter())
            .flat_map(|node| match node {
                Node::File { pending, .. } | Node::Folder { pending, .. } => pending.iter(),
            })
            .cloned()
            .collect();
        all.sort_by_key(|p| p.number);
        all
    }

    /// The disk after a cut that kept of each pending change what `keep` says.
    pub fn image(&self, keep: &impl Fn(&Pending) -> LetterFilter) -> Image {
        let mut image = Image::default();
        self.put(0, &PathBuf::new(), keep, &mut image);
        image
    }

    fn put(
        &self,
        node: usize,
        at: &Path,
        keep: &impl Fn(&Pending) -> LetterFilter,
        image: &mut Image,
    ) {
        match &self.nodes[node] {
            Node::File {
                durable, pending, ..
            } => {
                let mut content = durable.clone();
                for change in pending {
                    let keep = keep(change);
                    if keep != LetterFilter::Nothing {
                        change_file(Arc::make_mut(&mut content), &change.change, keep);
                    }
                }
                image.0.push((at.into(), Some(content)));
            }
            Node::Folder {
                durable, pending, ..
            } => {
                let mut entries = durable.clone();
                for change in pending.iter().filter(|p| keep(p) != LetterFilter::Nothing) {
                    change_folder(&mut entries, &change.change);
                }
                if node != 0 {
                    image.0.push((at.into(), None));
                }
                for (name, node) in entries {
                    self.put(node, &at.join(name), keep, image);
                }
            }
        }
    }

    /// Panics unless the model's live state is this folder, byte for byte.
    pub fn is(&self, tree: &Tree) {
        let all = self.image(&|_| LetterFilter::All);
        let mine: BTreeMap<_, _> = all.0.into_iter().collect();
        let names: Vec<_> = mine.keys().collect();
        assert_eq!(names, tree.keys().collect::<Vec<_>>(), "the model's names");
        for (path, content) in tree {
            let (mine, theirs) = (mine[path].as_deref(), content.as_ref());
            assert!(mine == theirs, "{}: the model is wrong", path.display());
        }
    }
}

/// What a power cut left: paths in order, folders before what is in them.
#[derive(Default, Clone)]
pub struct Image(pub Vec<(PathBuf, Option<Arc<Vec<u8>>>)>);

impl Image {
    /// Two images with one hash are taken for one.
    pub fn hash(&self) -> u128 {
        use siphasher::sip128::{Hasher128 as _, SipHasher13};
        use std::hash::{Hash as _, Hasher as _};
        let mut hasher = SipHasher13::new();
        for (path, content) in &self.0 {
            path.hash(&mut hasher);
            if let Some(content) = content {
                hasher.write(content);
                hasher.write_usize(content.len());
            }
        }
        hasher.finish128().as_u128()
    }

    /// Makes it a folder.
    pub fn lay(&self, root: &Path) {
        // What stands beside the folder is of the image before.
        let _ = std::fs::remove_file(root.with_file_name(format!(
            "{}.anchor",
            root.file_name().expect("a name").to_string_lossy()
        )));
        std::fs::create_dir_all(root).expect("a folder");
        for (path, content) in &self.0 {
            let path = root.join(path);
            match content {
                None => std::fs::create_dir(path).expect("a folder"),
                Some(content) => std::fs::write(path, &***content).expect("a file"),
            }
        }
    }
}
