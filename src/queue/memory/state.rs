//! What the reference engine holds, and what becomes of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Millis;
use crate::queue::contract::{
    CLAIM_WINDOW_BYTES, CLAIM_WINDOW_EVENTS, Census, DeadReason, Entry, EntryId, LetterNumber,
    Origin, Outcome, PauseRecord, QueueError, Seq, Settlement, deferred_share,
};

/// Who may deliver.
#[derive(Default)]
pub struct Turns {
    /// The number of the last turn that was given.
    pub last: u64,
    pub is_held: bool,
    /// How many wait for it.
    pub waiting: u32,
    /// How long a write under it takes until it is done, and from there until it is answered.
    pub latency: (Duration, Duration),
}

pub struct Stored {
    pub id_hash: u128,
    pub accepted_at: Millis,
    pub event_time: i64,
    pub body: bytes::Bytes,
    pub failures: u32,
}

pub struct Letter {
    pub stored: Stored,
    /// `None`: queued again from here.
    pub reason: Option<DeadReason>,
    pub died_at: Millis,
    pub message: String,
}

pub struct Marked {
    pub name: Arc<str>,
    pub at: Millis,
    pub in_doubt: bool,
}

#[derive(Default)]
pub struct State {
    pub stopped: bool,
    pub turns: Turns,
    pub last_seq: Seq,
    pub line: BTreeMap<Seq, Stored>,
    pub claimed_up_to: Seq,
    pub bytes_in_hand: usize,
    pub last_dead: LetterNumber,
    pub letters: BTreeMap<LetterNumber, Letter>,
    /// Letters that are queued again and not claimed, in the order of their coming.
    pub deferred: VecDeque<LetterNumber>,
    /// Events that were delivered when a letter died first since the last delivery, and its number;
    /// `None` for that: the operator keeps them dead.
    pub undelivered: Option<(u64, Option<LetterNumber>)>,
    /// Of those that died since: the names under which they may have arrived, and since when.
    pub doubtful: HashMap<LetterNumber, (Arc<str>, Millis)>,
    /// By id; the numbers of letters that may be imported.
    pub purged: HashMap<u128, LetterNumber>,
    /// When an event of each id was last accepted.
    pub seen: HashMap<u128, Millis>,
    /// When a letter of each id was last delivered.
    pub delivered: HashMap<u128, Millis>,
    pub marks: HashMap<EntryId, Marked>,
    /// Being sent, and given up unless they are delivered.
    pub forgetting: HashSet<EntryId>,
    pub counts: Census,
    pub pause: Option<PauseRecord>,
}

impl State {
    pub fn running(&self) -> Result<(), QueueError> {
        if self.stopped {
            Err(QueueError::Stopped("it was closed".into()))
        } else {
            Ok(())
        }
    }

    /// Forgets who has what in hand; what was marked is in doubt.
    pub fn drop_claims(&mut self, now: Millis) {
        // No answer will come.
        for id in std::mem::take(&mut self.forgetting) {
            self.give_up(id, now);
        }
        self.claimed_up_to = Seq::default();
        let deferred = self.letters.iter().filter(|(_, l)| l.reason.is_none());
        self.deferred = deferred.map(|(number, _)| *number).collect();
        self.bytes_in_hand = 0;
        for mark in self.marks.values_mut() {
            mark.in_doubt = true;
        }
    }

    /// Removes a letter and its count among the dead.
    pub fn retire_letter(&mut self, number: LetterNumber) {
        if let Some(reason) = self.letters.remove(&number).and_then(|l| l.reason) {
            self.counts.dead[reason.index()] -= 1;
        }
    }

    pub fn claim(&mut self, max_events: usize, max_bytes: usize) -> Vec<Entry> {
        let first = self
            .line
            .keys()
            .next()
            .copied()
            .unwrap_or(self.last_seq.next());
        let mut found: Vec<(EntryId, usize)> = Vec::new();
        let (mut bytes, in_hand) = (0, self.bytes_in_hand);
        let fits = |bytes: usize, len: usize, found: &Vec<_>| {
            found.is_empty()
                || (bytes + len <= max_bytes && in_hand + bytes + len <= CLAIM_WINDOW_BYTES)
        };
        let line_share = max_events - deferred_share(max_events).min(self.deferred.len());
        if in_hand < CLAIM_WINDOW_BYTES {
            for (seq, stored) in self.line.range(self.claimed_up_to.next()..) {
                let full = found.len() >= line_share || seq.0 >= first.0 + CLAIM_WINDOW_EVENTS;
                if full || !fits(bytes, stored.body.len(), &found) {
                    break;
                }
                bytes += stored.body.len();
                found.push((EntryId::line(*seq), stored.body.len()));
            }
            for number in &self.deferred {
                let len = self.letters[number].stored.body.len();
                if found.len() >= max_events || !fits(bytes, len, &found) {
                    break;
                }
                bytes += len;
                found.push((EntryId::dead(*number), len));
            }
        }
        self.bytes_in_hand += bytes;
        found.into_iter().map(|(id, _)| self.hand_out(id)).collect()
    }

    pub fn hand_out(&mut self, id: EntryId) -> Entry {
        let stored = match id.origin() {
            Origin::Line(seq) => {
                self.claimed_up_to = seq;
                &self.line[&seq]
            }
            Origin::Dead(number) => {
                // They were found in their order.
                self.deferred.pop_front();
                &self.letters[&number].stored
            }
        };
        Entry {
            id,
            id_hash: stored.id_hash,
            accepted_at: stored.accepted_at,
            event_time: stored.event_time,
            body: stored.body.clone(),
            sent_as: self.marks.get(&id).map(|m| m.name.clone()),
            failures: stored.failures,
        }
    }

    pub fn settle(&mut self, Settlement { entry, outcome }: Settlement, now: Millis) {
        self.bytes_in_hand -= entry.body.len();
        if !self.is_open(entry.id) {
            // Forgotten meanwhile.
            return;
        }
        if self.forgetting.remove(&entry.id) && outcome != Outcome::Delivered {
            return self.give_up(entry.id, now);
        }
        let mark = self.marks.remove(&entry.id);
        match entry.id.origin() {
            Origin::Line(seq) => {
                self.line.remove(&seq);
            }
            Origin::Dead(number) => {
                self.letters.remove(&number);
            }
        }
        let (reason, message, failures) = match outcome {
            Outcome::Delivered => {
                self.counts.delivered += 1;
                if let Origin::Dead(_) = entry.id.origin() {
                    self.delivered.insert(entry.id_hash, now);
                }
                return;
            }
            Outcome::Forgotten => {
                self.counts.purged += 1;
                self.delivered.insert(entry.id_hash, now);
                return;
            }
            Outcome::Dead { reason, message } => {
                self.counts.dead[reason.index()] += 1;
                (Some(reason), message, entry.failures)
            }
            Outcome::Deferred { failures } => (None, String::new(), failures),
        };
        self.last_dead = self.last_dead.next();
        let delivered = self.counts.delivered;
        if self
            .undelivered
            .is_none_or(|(by_then, _)| by_then != delivered)
        {
            self.undelivered = Some((delivered, Some(self.last_dead)));
            self.doubtful.clear();
        }
        let is_kept = self.undelivered.is_some_and(|(_, first)| first.is_none());
        if let (Some(_), Some(mark), false) = (reason, &mark, is_kept)
            && mark.in_doubt
        {
            let sent = (mark.name.clone(), mark.at);
            self.doubtful.insert(self.last_dead, sent);
        }
        let stored = Stored {
            id_hash: entry.id_hash,
            accepted_at: entry.accepted_at,
            event_time: entry.event_time,
            body: entry.body,
            failures,
        };
        self.letters.insert(
            self.last_dead,
            Letter {
                stored,
                reason,
                died_at: now,
                message,
            },
        );
        if reason.is_none() {
            self.deferred.push_back(self.last_dead);
        }
        if let (None, Some(mark)) = (reason, mark) {
            // It may have arrived: under its new number it keeps the name it went out under.
            self.marks.insert(
                EntryId::dead(self.last_dead),
                Marked {
                    in_doubt: true,
                    ..mark
                },
            );
        }
    }
}
