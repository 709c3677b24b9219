//! Handing out events first in, first out: from the newest chunks in memory, or from the
//! generations on disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::split_part;
use super::chunk::{self, Chunk};
use super::error::{At, StoreError};
use super::pages::Group;
use super::store::Store;
use super::{Op, Shared, lock};
use crate::clock::Millis;
use crate::queue::entry::{Entry, EntryId, Origin};
use crate::queue::ranges::Cursor;
use crate::queue::window::{CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, apart_share};

/// Packed bytes of the newest chunks kept in memory, so that a delivery that keeps up never
/// reads back what was just written.
pub(super) const TAIL_BYTES: usize = 4 << 20;

/// The newest committed chunks, without a gap up to the last commitment.
#[derive(Default)]
pub(super) struct Tail {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Everything up to here has its receipt and may be claimed.
    committed: u64,
    /// Last number and acceptance of chunks handed out and not yet settled whole.
    ages: VecDeque<(u64, Millis)>,
}

impl Tail {
    pub(super) fn new(committed: u64) -> Self {
        Self {
            committed,
            ..Self::default()
        }
    }

    /// Makes a committed chunk claimable.
    pub(super) fn publish(&mut self, chunk: Arc<Chunk>) {
        self.committed = chunk.last_seq();
        self.bytes += chunk.packed.len();
        self.chunks.push_back(chunk);
        while self.bytes > TAIL_BYTES && self.chunks.len() > 1 {
            if let Some(old) = self.chunks.pop_front() {
                self.bytes -= old.packed.len();
            }
        }
    }

    /// Nothing is handed out.
    pub(super) fn rewind(&mut self) {
        self.ages.clear();
    }

    fn find(&self, seq: u64) -> Option<Arc<Chunk>> {
        let at = self.chunks.partition_point(|chunk| chunk.last_seq() < seq);
        self.chunks
            .get(at)
            .filter(|chunk| chunk.first_seq <= seq)
            .cloned()
    }

    /// When the oldest event of the line that is not settled was accepted. Of what is queued
    /// from the dead letters this knows nothing.
    pub(super) fn oldest(&mut self, shared: &Shared) -> Option<Millis> {
        let low = shared.low_water.load(Ordering::Acquire);
        while self.ages.front().is_some_and(|(last, _)| *last < low) {
            self.ages.pop_front();
        }
        let handed_out = self.ages.front().map(|(_, accepted_at)| *accepted_at);
        // What nobody has claimed yet: in memory, unless there is much of it and it was
        // there before the start.
        handed_out.or_else(|| Some(self.find(low)?.accepted_at))
    }
}

/// Dead letters that are queued again and not claimed: number, period, and the name of an
/// attempt that may have arrived.
#[derive(Default)]
pub(super) struct Apart(pub(super) VecDeque<(u64, u64, Option<Arc<str>>)>);

/// A generation that still holds something to claim.
pub(super) struct Readable {
    pub(super) first_seq: u64,
    /// Open while it is written to or read from.
    pub(super) store: Option<Arc<Store>>,
    /// It is written to or waits to be sealed: others hold the store too, and a store cannot be
    /// opened twice, so reading past it does not close it.
    pub(super) is_held: bool,
}

/// The claiming side's place in the line.
pub(super) struct Claims {
    /// The next sequence number to load.
    next: u64,
    /// What was settled above the mark at open; later settlements are of claimed events.
    settled: Cursor,
    /// Names of attempts before the start that may have arrived.
    pub(super) in_doubt: HashMap<EntryId, Arc<str>>,
    loaded: VecDeque<Entry>,
    pub(super) generations: BTreeMap<u64, Readable>,
    group: Group,
}

impl Claims {
    pub(super) fn new(
        settled: Cursor,
        in_doubt: HashMap<EntryId, Arc<str>>,
        generations: BTreeMap<u64, Readable>,
    ) -> Self {
        Self {
            next: settled.mark(),
            settled,
            in_doubt,
            loaded: VecDeque::new(),
            generations,
            group: Group::default(),
        }
    }

    /// Begins anew at the first number that is not settled.
    pub(super) fn rewind(&mut self, settled: Cursor, in_doubt: HashMap<EntryId, Arc<str>>) {
        let generations = std::mem::take(&mut self.generations);
        *self = Self::new(settled, in_doubt, generations);
    }

    /// Loads the next chunk that holds something unsettled; false if there is none.
    fn load(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        while self.loaded.is_empty() {
            let (committed, found) = {
                let tail = lock(&shared.tail);
                (tail.committed, tail.find(self.next))
            };
            if self.next > committed {
                return Ok(false);
            }
            let chunk = match found {
                Some(chunk) => Some(chunk),
                None => self.read(shared, committed)?,
            };
            let Some(chunk) = chunk else { continue };
            match chunk.entries() {
                Ok(entries) => {
                    let (next, settled) = (self.next, &self.settled);
                    self.loaded.extend(entries.into_iter().filter(
                        |entry| match entry.id.origin() {
                            Origin::Line(seq) => seq >= next && !settled.is_settled(seq),
                            Origin::Dead(_) => false,
                        },
                    ));
                    lock(&shared.tail)
                        .ages
                        .push_back((chunk.last_seq(), chunk.accepted_at));
                    self.next = chunk.last_seq() + 1;
                }
                Err(bad) => {
                    tracing::error!(first_seq = chunk.first_seq, "a stored chunk: {bad}");
                    let generation = self.generation_of(self.next);
                    self.set_aside(shared, generation, chunk.last_seq());
                }
            }
        }
        Ok(true)
    }

    /// The generation that holds this number, if one does.
    fn generation_of(&self, seq: u64) -> Option<u64> {
        let in_reach = |g: &&u64| self.generations[g].first_seq <= seq;
        self.generations.keys().rev().find(in_reach).copied()
    }

    /// Events up to `last` cannot be read: they are settled as such and passed.
    fn set_aside(&mut self, shared: &Shared, generation: Option<u64>, last: u64) {
        // A stopped committer means the process is ending; the next start finds the gap again.
        let _ = shared.ops.send(Op::SetAside {
            generation,
            first: self.next,
            last,
        });
        self.next = last + 1;
    }

    /// The chunk on disk that holds `next`; none if that stretch had to be set aside.
    fn read(&mut self, shared: &Shared, committed: u64) -> Result<Option<Arc<Chunk>>, StoreError> {
        let next = self.next;
        let Some(generation) = self.generation_of(next) else {
            let first = self.generations.values().map(|g| g.first_seq).min();
            self.set_aside(
                shared,
                None,
                first.map_or(committed, |first| (first - 1).min(committed)),
            );
            return Ok(None);
        };
        // Where the following generation begins, this one ends.
        let end = self
            .generations
            .range(generation + 1..)
            .map(|(_, g)| g.first_seq)
            .find(|first| *first > next)
            .map_or(committed, |first| (first - 1).min(committed));
        for (other, readable) in &mut self.generations {
            if *other != generation && !readable.is_held {
                readable.store = None;
            }
        }
        let store = match self.store(shared, generation) {
            Ok(store) => store,
            Err(error @ StoreError::Damaged { .. }) => {
                let root = &shared.options.path;
                if let Some(path) = shared.places.displaced()? {
                    // It is no damage that all of the folder is gone.
                    let source = std::io::Error::from(std::io::ErrorKind::NotFound);
                    return Err(source).at(&path);
                }
                let folder = super::open::generation_folder(root, generation);
                let kept = super::guard::retire(root, &folder)?;
                tracing::error!(
                    "{error}; events {next} to {end} are set aside. As it was: {}",
                    kept.map_or("gone".into(), |kept| kept.display().to_string())
                );
                self.set_aside(shared, Some(generation), end);
                self.generations.remove(&generation);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let found = match find_chunk(&store, next, end) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!("{error}");
                Err(beyond(&store, next)?.map_or(end, |after| (after - 1).min(end)))
            }
            found => found?,
        };
        match found {
            Ok(chunk) => Ok(Some(Arc::new(chunk))),
            Err(last) => {
                tracing::error!(
                    store = %store.path().display(),
                    "events {next} to {last} cannot be read: they are set aside"
                );
                self.set_aside(shared, Some(generation), last);
                Ok(None)
            }
        }
    }

    fn store(&mut self, shared: &Shared, generation: u64) -> Result<Arc<Store>, StoreError> {
        let path = super::open::generation_folder(&shared.options.path, generation);
        // Unwrap safety: `read` took the number from this map.
        let readable = self
            .generations
            .get_mut(&generation)
            .expect("a known generation");
        if let Some(store) = &readable.store {
            return Ok(store.clone());
        }
        let store = Arc::new(Store::open(&shared.options.path, &path)?);
        readable.store = Some(store.clone());
        Ok(store)
    }
}

/// The chunk of `store` that holds `seq`, or the last number (at most `end`) of the unreadable
/// stretch that `seq` is in.
fn find_chunk(store: &Store, seq: u64, end: u64) -> Result<Result<Chunk, u64>, StoreError> {
    let limit = super::batch::part_key(&chunk::key(seq), u16::MAX);
    let first = match store.key_at_or_below(&limit)? {
        Some(key) => split_part(&key)
            .and_then(|(p, _)| p.try_into().ok())
            .map(u64::from_be_bytes),
        None => None,
    };
    match first.map(|first| read_chunk(store, first)) {
        Some(Ok(chunk)) if chunk.last_seq() >= seq => return Ok(Ok(chunk)),
        None | Some(Ok(_) | Err(StoreError::Damaged { .. })) => {}
        Some(Err(error)) => return Err(error),
    }
    Ok(Err(
        beyond(store, seq)?.map_or(end, |after| (after - 1).min(end))
    ))
}

/// The first chunk that begins after `seq`: it ends an unreadable stretch.
fn beyond(store: &Store, seq: u64) -> Result<Option<u64>, StoreError> {
    Ok(store.firsts()?.0.into_iter().find(|first| *first > seq))
}

/// Reads the chunk that begins with `first`.
pub(super) fn read_chunk(store: &Store, first: u64) -> Result<Chunk, StoreError> {
    let bad = |bad| StoreError::bad(store.path(), &format!("the chunk of event {first}"), bad);
    let bytes = store.read_parts(first)?.map_err(bad)?;
    Chunk::decode(first, &bytes).map_err(bad)
}

/// Takes up to `max_events` events of at most `max_bytes` together.
pub(super) fn take(
    shared: &Shared,
    max_events: usize,
    max_bytes: usize,
) -> Result<Vec<Entry>, StoreError> {
    let mut claims = lock(&shared.claims);
    let in_hand = shared.bytes_in_hand.load(Ordering::Acquire);
    let window_end = shared.low_water.load(Ordering::Acquire) + CLAIM_WINDOW_EVENTS;
    let mut taken: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    if in_hand >= CLAIM_WINDOW_BYTES {
        return Ok(taken);
    }
    let fits = |bytes: usize, len: usize, none: bool| {
        none || (bytes + len <= max_bytes && in_hand + bytes + len <= CLAIM_WINDOW_BYTES)
    };
    let waiting = lock(&shared.apart).0.len();
    let line_share = max_events - apart_share(max_events).min(waiting);
    while taken.len() < line_share && claims.load(shared)? {
        let Some(entry) = claims.loaded.front() else {
            break;
        };
        let beyond = matches!(entry.id.origin(), Origin::Line(seq) if seq >= window_end);
        if beyond || !fits(bytes, entry.body.len(), taken.is_empty()) {
            break;
        }
        let Some(mut entry) = claims.loaded.pop_front() else {
            break;
        };
        bytes += entry.body.len();
        if !claims.in_doubt.is_empty() {
            entry.sent_as = claims.in_doubt.remove(&entry.id);
        }
        taken.push(entry);
    }
    while taken.len() < max_events {
        let Some((number, period, name)) = lock(&shared.apart).0.pop_front() else {
            break;
        };
        let read = match claims.group.read(shared, period, number) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!("{error}");
                None
            }
            read => read?,
        };
        let Some(mut entry) = read else {
            tracing::error!("dead letter {number}, queued again, cannot be read: it is set aside");
            // A stopped committer means the process is ending; the next start meets it again.
            let _ = shared.ops.send(Op::SetLetterAside(number));
            continue;
        };
        if !fits(bytes, entry.body.len(), taken.is_empty()) {
            lock(&shared.apart).0.push_front((number, period, name));
            break;
        }
        bytes += entry.body.len();
        entry.sent_as = name;
        taken.push(entry);
    }
    shared.bytes_in_hand.fetch_add(bytes, Ordering::AcqRel);
    Ok(taken)
}
