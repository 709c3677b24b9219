//! A request: its events in order, its body, and what it has been through.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::age::Lateness;
use super::destination::Framing;
use super::item::Item;
use super::retry::Backoff;
use crate::queue::{Entry, EntryId, Mark};

/// Invariant: never empty; `body` holds exactly `items`, in order, so that a resend of the
/// same batch is the same request byte for byte.
#[derive(Debug)]
pub(super) struct Batch {
    pub id: u64,
    pub items: Vec<Item>,
    pub body: Bytes,
    framing: Framing,
    /// Custom keys in it; every event of a request has the same set.
    pub keys: Arc<[String]>,
    pub trial: Trial,
}

/// What a batch has been through, and what is to be done with it next.
#[derive(Debug)]
pub(super) struct Trial {
    /// Intervals of its own retries.
    pub backoff: Backoff,
    /// An attempt's outcome is unknown: it is resent as it is.
    pub in_doubt: bool,
    /// When it last left.
    pub tried_at: Option<Instant>,
    /// Which of its events were late when it last left.
    pub lateness: Lateness,
    /// Failures without a verdict while other requests were answered.
    pub own_failures: u32,
    /// Failures in a row between which no other request was answered.
    pub blind_failures: u32,
    /// The courier's count of sound answers at the last failure.
    pub sound_seen: Option<u64>,
    pub course: Course,
    /// It is a piece of a refused batch, which the next refusal halves at once, and counts with
    /// `isolation` while it is in flight. Of any course: a stubborn batch may be refused, and a
    /// piece go unanswered.
    pub piece: bool,
    /// How often in a row it was not answered at all while nothing else was wrong.
    pub unanswered: u32,
    /// The courier's count of sound answers when it last left.
    pub sound_left: u64,
    /// The config's generation that its events were prepared under.
    pub generation: u64,
    /// A lone event sent without these keys to see whether they were the fault.
    pub without: Option<Arc<[String]>>,
}

/// Whose fault a batch's failures are. It never goes back to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// The destination's, as far as is known.
    Ordinary,
    /// Its own, or those of the batch that it came from: its troubles say nothing about the
    /// destination, and it may not take every slot.
    Stubborn,
    /// The same, and it was cut already: it is a piece of a batch that was not answered, and one
    /// of its events is to blame.
    Suspect,
}

impl Batch {
    /// Builds the body. `items` is not empty.
    pub fn new(
        framing: Framing,
        id: u64,
        mut items: Vec<Item>,
        keys: Arc<[String]>,
        generation: u64,
        backoff: Backoff,
    ) -> Self {
        let body = frame(framing, &mut items);
        let trial = Trial {
            backoff,
            generation,
            in_doubt: false,
            tried_at: None,
            lateness: Lateness::default(),
            own_failures: 0,
            blind_failures: 0,
            sound_seen: None,
            course: Course::Ordinary,
            piece: false,
            unanswered: 0,
            sound_left: 0,
            without: None,
        };
        Self {
            id,
            items,
            body,
            framing,
            keys,
            trial,
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_stubborn(&self) -> bool {
        self.trial.course != Course::Ordinary
    }

    pub fn ids(&self) -> Vec<EntryId> {
        self.items.iter().map(|item| item.entry.id).collect()
    }

    pub fn mark(&self) -> Mark {
        let named = |item: &Item| (item.entry.id, item.name.clone());
        Mark {
            events: self.items.iter().map(named).collect(),
        }
    }

    pub fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.items.into_iter().map(|item| item.entry)
    }

    /// Freezes the names: from now on these events may be known to the destination.
    pub fn doubt(&mut self) {
        self.trial.in_doubt = true;
        for item in &mut self.items {
            item.entry.sent_as = Some(item.name.clone());
        }
    }

    /// Cuts off everything from `at` on as a batch of its own with the same doubts. `at` is
    /// neither 0 nor the length.
    pub fn split_off(&mut self, at: usize, id: u64, backoff: Backoff) -> Self {
        let rest = self.items.split_off(at);
        let mut rest = Self::new(
            self.framing,
            id,
            rest,
            self.keys.clone(),
            self.trial.generation,
            backoff,
        );
        rest.trial.in_doubt = self.trial.in_doubt;
        rest.trial.course = self.trial.course;
        rest.trial.piece = self.trial.piece;
        self.body = frame(self.framing, &mut self.items);
        rest
    }

    /// Takes out the events for which `out` holds; `None` if nothing is left.
    pub fn without(
        mut self,
        mut out: impl FnMut(&Item) -> bool,
        mut taken: impl FnMut(Item),
    ) -> Option<Self> {
        if self.items.iter().any(&mut out) {
            let (gone, kept) = self.items.into_iter().partition(|item| out(item));
            let gone: Vec<Item> = gone;
            gone.into_iter().for_each(&mut taken);
            self.items = kept;
            if self.items.is_empty() {
                return None;
            }
            self.body = frame(self.framing, &mut self.items);
        }
        Some(self)
    }
}

/// Lays the events out in one body and lets each point into it.
fn frame(framing: Framing, items: &mut [Item]) -> Bytes {
    let json: usize = items.iter().map(|item| item.json.len()).sum();
    let mut body = Vec::with_capacity(json + framing.bytes(items.len()));
    body.extend_from_slice(framing.head);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&item.json);
    }
    body.extend_from_slice(framing.tail);
    let body = Bytes::from(body);
    let mut at = framing.head.len();
    for item in items {
        let end = at + item.json.len();
        item.json = body.slice(at..end);
        at = end + 1;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::pinterest::PINTEREST;
    use super::*;

    fn batch(n: u64) -> Batch {
        let items = (1..=n)
            .map(|seq| fixture::item(seq, "page_visit"))
            .collect();
        Batch::new(
            PINTEREST.framing,
            1,
            items,
            Arc::from([]),
            0,
            fixture::backoff(),
        )
    }

    fn ids_of(body: &[u8]) -> Vec<String> {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        let events = body["data"].as_array().unwrap();
        events
            .iter()
            .map(|e| e["event_id"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_body_holds_the_events_in_order_and_is_as_long_as_foretold() {
        for n in [1, 2, 7] {
            let batch = batch(n);
            let expected: Vec<String> = (1..=n).map(|seq| format!("m{seq}")).collect();
            assert_eq!(ids_of(&batch.body), expected);
            let json: usize = batch.items.iter().map(|i| i.json.len()).sum();
            assert_eq!(
                batch.body.len(),
                json + PINTEREST.framing.bytes(batch.len())
            );
        }
    }

    #[test]
    fn halves_keep_order_bytes_and_doubt() {
        let mut first = batch(5);
        first.doubt();
        let json: Vec<Bytes> = first.items.iter().map(|i| i.json.clone()).collect();
        let second = first.split_off(2, 2, fixture::backoff());
        assert_eq!(ids_of(&first.body), ["m1", "m2"]);
        assert_eq!(ids_of(&second.body), ["m3", "m4", "m5"]);
        let after = first.items.iter().chain(&second.items);
        assert!(after.clone().map(|i| &i.json).eq(json.iter()));
        assert!(second.trial.in_doubt);
        assert!(
            after
                .into_iter()
                .all(|i| i.entry.sent_as.as_deref() == Some("page_visit"))
        );
    }

    #[test]
    fn what_is_taken_out_leaves_a_sound_body() {
        let mut gone = Vec::new();
        let odd = |item: &Item| item.message_id == "m1" || item.message_id == "m3";
        let left = batch(3).without(odd, |item| gone.push(item.message_id));
        assert_eq!(ids_of(&left.unwrap().body), ["m2"]);
        assert_eq!(gone, ["m1", "m3"]);
        assert!(batch(2).without(|_| true, drop).is_none());
    }
}
