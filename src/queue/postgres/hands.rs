//! What the holder of the turn has taken from the line, handed out, and not yet settled.
//!
//! Invariant: chunks are taken in the order of each writer's groups, and let go from the front
//! alone, so that behind a chunk that is let go nothing of its writer is open.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::account::Account;
use super::letters::Queued;
use super::numbers::block_of;
use super::wave::Place;
use crate::clock::Millis;
use crate::queue::contract::{
    CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, Entry, EntryId, LetterNumber, Seq, deferred_share,
};

/// A chunk that was taken and has something open, or stands behind one that has.
struct OpenChunk {
    writer: u32,
    place: Place,
    first: Seq,
    accepted_at: Millis,
    /// Of its events, how far behind the first number they stand.
    offsets: Vec<u16>,
    open: usize,
    /// Of its first event among all that were taken.
    index: u64,
}

/// Up to where the chunks of a writer were taken, and the generation that the next one is in or
/// behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub place: Place,
    pub piece: i32,
}

/// See the file's page.
#[derive(Default)]
pub struct Hands {
    taken: BTreeMap<u64, OpenChunk>,
    by_block: HashMap<Seq, u64>,
    next_order: u64,
    next_index: u64,
    /// OpenChunk and not handed out, with their indexes.
    ready: VecDeque<(u64, Entry)>,
    ready_bytes: usize,
    letters: HashMap<LetterNumber, Queued>,
    /// In the order of their coming; one that does not wait any more is passed over.
    deferred: VecDeque<LetterNumber>,
    waiting: HashSet<LetterNumber>,
    bytes_in_hand: usize,
    pub readings: BTreeMap<u32, Reading>,
}

impl Hands {
    /// Takes a chunk; its events are in their order.
    pub fn take(&mut self, (writer, place): (u32, Place), events: Vec<Entry>, account: &Account) {
        let Some(first) = events.first().map(|event| event.id) else {
            return;
        };
        let (block, _) = block_of(Seq(first.to_raw()));
        let index = self.next_index;
        let mut taken = OpenChunk {
            writer,
            place,
            first: block,
            accepted_at: events[0].accepted_at,
            offsets: Vec::with_capacity(events.len()),
            open: 0,
            index,
        };
        for (index, event) in (index..).zip(events) {
            taken.offsets.push((event.id.to_raw() - block.0) as u16);
            if !account.is_settled(event.id) {
                taken.open += 1;
                self.ready_bytes += event.body.len();
                self.ready.push_back((index, event));
            }
        }
        self.next_index += taken.offsets.len() as u64;
        self.by_block.insert(block, self.next_order);
        self.taken.insert(self.next_order, taken);
        self.next_order += 1;
    }

    /// A chunk whose bytes cannot be read stands in its place, with nothing open.
    pub fn pass_over(&mut self, (writer, place): (u32, Place), first: Seq) {
        let taken = OpenChunk {
            writer,
            place,
            first,
            accepted_at: 0,
            offsets: Vec::new(),
            // One, until it is set aside.
            open: 1,
            index: self.next_index,
        };
        self.by_block.insert(first, self.next_order);
        self.taken.insert(self.next_order, taken);
        self.next_order += 1;
    }

    /// The index of the oldest event that is not settled.
    fn oldest(&self, account: &Account) -> u64 {
        let open = self.taken.values().find(|taken| taken.open > 0);
        open.map_or(self.next_index, |taken| {
            let is_open = |at: &u16| !account.settled.contains(taken.first + u64::from(*at));
            let before = taken.offsets.iter().position(is_open).unwrap_or(0);
            taken.index + before as u64
        })
    }

    /// When the oldest event that was taken and is not settled was accepted.
    pub fn oldest_accepted_at(&self) -> Option<Millis> {
        let line = self.taken.values().find(|taken| taken.open > 0);
        let letters = self.letters.values().map(|letter| letter.accepted_at);
        letters.chain(line.map(|taken| taken.accepted_at)).min()
    }

    /// Whether more must be taken for a claim of so much to have all that it may.
    pub fn wants(&self, account: &Account, max_events: usize, max_bytes: usize) -> bool {
        self.ready.len() < max_events
            && self.ready_bytes < max_bytes.min(CLAIM_WINDOW_BYTES)
            && self.next_index < self.oldest(account) + CLAIM_WINDOW_EVENTS
    }

    /// Hands out: events of the line, and the numbers of letters.
    pub fn claim(
        &mut self,
        account: &Account,
        max_events: usize,
        max_bytes: usize,
    ) -> (Vec<Entry>, Vec<LetterNumber>) {
        let (mut line, mut letters) = (Vec::new(), Vec::new());
        let in_hand = self.bytes_in_hand;
        if in_hand >= CLAIM_WINDOW_BYTES {
            return (line, letters);
        }
        let mut bytes = 0;
        let fits = |bytes: usize, len: usize, is_first: bool| {
            is_first || (bytes + len <= max_bytes && in_hand + bytes + len <= CLAIM_WINDOW_BYTES)
        };
        let room = self.oldest(account) + CLAIM_WINDOW_EVENTS;
        let line_share = max_events - deferred_share(max_events).min(self.waiting.len());
        while let Some((index, event)) = self.ready.front() {
            let len = event.body.len();
            if line.len() >= line_share || *index >= room || !fits(bytes, len, line.is_empty()) {
                break;
            }
            bytes += len;
            self.ready_bytes -= len;
            let Some((_, mut event)) = self.ready.pop_front() else {
                break;
            };
            event.sent_as = account.marks.get(&event.id).map(|mark| mark.name.clone());
            line.push(event);
        }
        while let Some(number) = self.deferred.front() {
            if !self.waiting.contains(number) {
                self.deferred.pop_front();
                continue;
            }
            let len = self.letters.get(number).map_or(0, |letter| letter.length);
            let count = line.len() + letters.len();
            if count >= max_events || !fits(bytes, len, count == 0) {
                break;
            }
            bytes += len;
            letters.push(*number);
            self.waiting.remove(number);
            self.deferred.pop_front();
        }
        self.bytes_in_hand += bytes;
        (line, letters)
    }

    /// A claim is not handed out after all.
    pub fn take_back(&mut self, line: Vec<Entry>, letters: Vec<LetterNumber>) {
        for event in line.into_iter().rev() {
            self.bytes_in_hand -= event.body.len();
            self.ready_bytes += event.body.len();
            let index = self.index_of(event.id).unwrap_or_default();
            self.ready.push_front((index, event));
        }
        for number in letters.into_iter().rev() {
            if let Some(letter) = self.letters.get(&number) {
                self.bytes_in_hand -= letter.length;
                self.waiting.insert(number);
                self.deferred.push_front(number);
            }
        }
    }

    /// An event that was taken is not to be handed out.
    pub fn withdraw(&mut self, id: EntryId) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        if let Ok(at) = self.ready.binary_search_by_key(&index, |(index, _)| *index)
            && let Some((_, event)) = self.ready.remove(at)
        {
            self.ready_bytes -= event.body.len();
        }
    }

    fn index_of(&self, id: EntryId) -> Option<u64> {
        let (block, _) = block_of(Seq(id.to_raw()));
        let taken = self.taken.get(self.by_block.get(&block)?)?;
        let offset = u16::try_from(id.to_raw().checked_sub(block.0)?).ok()?;
        let at = taken.offsets.binary_search(&offset).ok()?;
        Some(taken.index + at as u64)
    }

    /// A claim has ended.
    pub fn freed(&mut self, bytes: usize) {
        self.bytes_in_hand = self.bytes_in_hand.saturating_sub(bytes);
    }

    /// Whether the chunk of this number was taken and has something open, or stands behind one.
    pub fn has(&self, seq: Seq) -> bool {
        self.by_block.contains_key(&block_of(seq).0)
    }

    /// One event of the line is settled. Gives whether its chunk has nothing open any more.
    pub fn settled(&mut self, seq: Seq) -> bool {
        let order = self.by_block.get(&block_of(seq).0);
        let taken = order.and_then(|order| self.taken.get_mut(order));
        taken.is_some_and(|taken| {
            taken.open -= 1;
            taken.open == 0
        })
    }

    /// Lets go of chunks at the front that have nothing open.
    pub fn let_go(&mut self) -> Vec<(u32, Place, Seq)> {
        let mut lows = Vec::new();
        while let Some(first) = self.taken.first_entry() {
            if first.get().open > 0 {
                break;
            }
            let taken = first.remove();
            self.by_block.remove(&taken.first);
            lows.push((taken.writer, taken.place, taken.first));
        }
        lows
    }

    /// A letter waits from now on, unless it is known to wait.
    pub fn queue(&mut self, letter: Queued) {
        let number = letter.number;
        if self.letters.insert(number, letter).is_none() {
            self.waiting.insert(number);
            self.deferred.push_back(number);
        }
    }

    pub fn letter(&self, number: LetterNumber) -> Option<&Queued> {
        self.letters.get(&number)
    }

    /// A letter waits no more.
    pub fn remove_letter(&mut self, number: LetterNumber) -> Option<Queued> {
        self.waiting.remove(&number);
        self.letters.remove(&number)
    }
}
