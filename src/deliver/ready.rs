//! Events that are ready to be sent, gathered until a batch is worth a request.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::destination::Framing;
use super::item::Item;
use crate::queue::EntryId;

/// When a batch is full, and how long it may stay unfilled.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub events: usize,
    /// Of the whole body.
    pub bytes: usize,
    pub linger: Duration,
    pub framing: Framing,
}

/// Groups by set of custom keys: only events with the same set share a request, so that a
/// refused key harms no event that does not carry it.
#[derive(Default)]
pub(super) struct Ready {
    groups: Vec<Group>,
    /// Names that probes of this round went out under.
    probed: HashSet<Arc<str>>,
}

struct Group {
    keys: Arc<[String]>,
    items: VecDeque<Item>,
    json_bytes: usize,
    /// Since when the oldest gathers. What a cut leaves behind starts anew: under load it is
    /// worth more as part of the next full batch.
    since: Instant,
}

impl Group {
    fn full(&self, limits: &BatchLimits) -> bool {
        self.in_full_batches(limits) > 0
    }

    /// Its events that make up whole batches. By bytes a batch may hold fewer: then all of them.
    fn in_full_batches(&self, limits: &BatchLimits) -> usize {
        let events = self.items.len();
        if self.json_bytes + limits.framing.bytes(events) >= limits.bytes {
            events
        } else {
            events - events % limits.events
        }
    }

    fn due(&self, limits: &BatchLimits) -> Instant {
        if self.full(limits) {
            self.since
        } else {
            self.since + limits.linger
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.json_bytes -= item.json.len();
        Some(item)
    }
}

impl Ready {
    /// Adds an event behind the others of its kind. `keys` is sorted, each key once.
    pub fn push(&mut self, item: Item, keys: &[String], now: Instant) {
        let group = self.group(keys, now);
        group.json_bytes += item.json.len();
        group.items.push_back(item);
    }

    /// Puts back an event that was taken out before those that are there.
    pub fn push_front(&mut self, item: Item, keys: &[String], now: Instant) {
        let group = self.group(keys, now);
        group.json_bytes += item.json.len();
        group.items.push_front(item);
    }

    /// All that gather.
    pub fn ids(&self) -> impl Iterator<Item = EntryId> {
        let items = self.groups.iter().flat_map(|group| &group.items);
        items.map(|item| item.entry.id)
    }

    fn group(&mut self, keys: &[String], now: Instant) -> &mut Group {
        let at = self.groups.iter().position(|group| *group.keys == *keys);
        let at = at.unwrap_or_else(|| {
            self.groups.push(Group {
                keys: keys.into(),
                items: VecDeque::new(),
                json_bytes: 0,
                since: now,
            });
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// The events of the next request: a full batch, or one that gathered long enough (any,
    /// with `flush`). The group that waits longest comes first.
    pub fn cut(
        &mut self,
        now: Instant,
        limits: &BatchLimits,
        flush: bool,
    ) -> Option<(Vec<Item>, Arc<[String]>)> {
        let groups = self.groups.iter_mut().enumerate();
        let due = groups.filter(|(_, group)| flush || group.due(limits) <= now);
        let (at, group) = due.min_by_key(|(_, group)| group.since)?;
        let mut items = Vec::with_capacity(group.items.len().min(limits.events));
        let mut bytes = 0;
        while let Some(next) = group.items.front() {
            bytes += next.json.len();
            let over = bytes + limits.framing.bytes(items.len() + 1) > limits.bytes;
            if items.len() >= limits.events || (over && !items.is_empty()) {
                break;
            }
            items.extend(group.pop());
        }
        group.since = now;
        let keys = group.keys.clone();
        if group.items.is_empty() {
            self.groups.swap_remove(at);
        }
        Some((items, keys))
    }

    /// One event for a probe: of a name that was not probed yet in this round, if there is
    /// one, so that the probes rotate through the kinds of events and not only through the
    /// events.
    pub fn cut_probe(&mut self) -> Option<(Item, Arc<[String]>)> {
        for _ in 0..2 {
            for at in 0..self.groups.len() {
                let group = &mut self.groups[at];
                let fresh = |item: &Item| !self.probed.contains(&item.name);
                let Some(nth) = group.items.iter().position(fresh) else {
                    continue;
                };
                let Some(item) = group.items.remove(nth) else {
                    continue;
                };
                group.json_bytes -= item.json.len();
                let keys = group.keys.clone();
                if group.items.is_empty() {
                    self.groups.swap_remove(at);
                }
                self.probed.insert(item.name.clone());
                return Some((item, keys));
            }
            self.probed.clear();
        }
        None
    }

    /// Takes out the events for which `out` holds.
    pub fn remove(
        &mut self,
        keys_match: impl Fn(&[String]) -> bool,
        out: impl Fn(&Item) -> bool,
        mut taken: impl FnMut(Item),
    ) {
        for group in &mut self.groups {
            if !keys_match(&group.keys) || !group.items.iter().any(&out) {
                continue;
            }
            for item in std::mem::take(&mut group.items) {
                if out(&item) {
                    group.json_bytes -= item.json.len();
                    taken(item);
                } else {
                    group.items.push_back(item);
                }
            }
        }
        self.groups.retain(|group| !group.items.is_empty());
    }

    /// When the next batch may be cut: at the earliest due time of all groups.
    pub fn next_due(&self, limits: &BatchLimits) -> Option<Instant> {
        self.groups.iter().map(|group| group.due(limits)).min()
    }

    /// Events that may leave as whole batches.
    pub fn in_full_batches(&self, limits: &BatchLimits) -> usize {
        let groups = self.groups.iter();
        groups.map(|group| group.in_full_batches(limits)).sum()
    }

    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.items.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::pinterest::PINTEREST;
    use super::*;

    const LINGER: Duration = Duration::from_millis(200);

    fn limits(events: usize, bytes: usize) -> BatchLimits {
        BatchLimits {
            events,
            bytes,
            linger: LINGER,
            framing: PINTEREST.framing,
        }
    }

    fn seqs(items: &[Item]) -> Vec<String> {
        items.iter().map(|item| item.message_id.clone()).collect()
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_has_gathered_long_enough() {
        let start = Instant::now();
        let limits = limits(3, 1 << 20);
        let mut ready = Ready::default();
        ready.push(fixture::item(1, "a"), &[], start);
        assert!(ready.cut(start, &limits, false).is_none());
        assert_eq!(ready.next_due(&limits), Some(start + LINGER));
        for seq in 2..=4 {
            ready.push(fixture::item(seq, "a"), &[], start);
        }
        let (items, _) = ready.cut(start, &limits, false).unwrap();
        assert_eq!(seqs(&items), ["m1", "m2", "m3"]);
        assert!(ready.cut(start, &limits, false).is_none());
        let (items, _) = ready.cut(start + LINGER, &limits, false).unwrap();
        assert_eq!(seqs(&items), ["m4"]);
        assert_eq!(ready.len(), 0);
        assert_eq!(ready.next_due(&limits), None);
    }

    #[test]
    fn a_body_stays_within_its_bytes_but_holds_at_least_one_event() {
        let start = Instant::now();
        let one = fixture::item(1, "a").json.len();
        let mut ready = Ready::default();
        for seq in 1..=5 {
            ready.push(fixture::item(seq, "a"), &[], start);
        }
        let two = limits(1000, 2 * one + PINTEREST.framing.bytes(2));
        assert_eq!(ready.cut(start, &two, false).unwrap().0.len(), 2);
        let less = limits(1000, 2 * one + PINTEREST.framing.bytes(2) - 1);
        assert_eq!(ready.cut(start, &less, false).unwrap().0.len(), 1);
        assert_eq!(
            ready.cut(start, &limits(1000, 1), false).unwrap().0.len(),
            1
        );
    }

    #[test]
    fn only_events_with_the_same_custom_keys_share_a_batch() {
        let start = Instant::now();
        let mut ready = Ready::default();
        let tier = ["tier".to_owned()];
        ready.push(fixture::item(1, "a"), &[], start);
        ready.push(fixture::item(2, "a"), &tier, start);
        ready.push(fixture::item(3, "a"), &[], start);
        let mut cuts = Vec::new();
        while let Some((items, keys)) = ready.cut(start, &limits(9, 1 << 20), true) {
            cuts.push((seqs(&items), keys.len()));
        }
        cuts.sort();
        assert_eq!(
            cuts,
            [
                (vec!["m1".to_owned(), "m3".to_owned()], 0),
                (vec!["m2".to_owned()], 1)
            ]
        );
    }

    #[test]
    fn probes_rotate_through_the_names_before_they_come_again() {
        let start = Instant::now();
        let mut ready = Ready::default();
        for (seq, name) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            ready.push(fixture::item(seq, name), &[], start);
        }
        let mut probed = Vec::new();
        for _ in 0..4 {
            let (item, keys) = ready.cut_probe().unwrap();
            probed.push(item.message_id.clone());
            ready.push(item, &keys, start);
        }
        assert_eq!(probed, ["m1", "m3", "m2", "m3"]);
    }
}
