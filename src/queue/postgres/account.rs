//! The account of the turns: what is settled and what may have been sent, as the journal says it.
//!
//! Invariant: it changes by waves alone, each applied when it is committed, so that whoever reads
//! the journal comes to the same account. Only doubt is of this process: a successor doubts all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{EntryId, LetterNumber, Origin, Sent, Seq};
use crate::queue::postgres::numbers::block_of;
use crate::queue::postgres::totals::Totals;
use crate::queue::postgres::wave::{Doubt, Place, Undelivered, Wave};
use crate::queue::ranges::RangeSet;

/// An event that left, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub name: Arc<str>,
    pub at: Millis,
    pub in_doubt: bool,
}

impl Marked {
    pub fn sent(&self) -> Sent {
        Sent {
            name: Some(self.name.clone()),
            at: self.at,
            in_doubt: self.in_doubt,
        }
    }
}

/// See the file's page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub totals: Totals,
    /// How far the chunks of each writer are settled without a gap.
    pub lows: BTreeMap<u32, Place>,
    /// Of the chunks beyond, which numbers are.
    pub settled: RangeSet<Seq>,
    pub marks: HashMap<EntryId, Marked>,
    /// Given up unless they are delivered, with their ids.
    pub forgetting: HashMap<EntryId, u128>,
    pub undelivered: Option<Undelivered>,
    pub doubt: Option<Doubt>,
    in_doubt: u64,
}

impl Account {
    /// What the next wave begins with.
    pub fn next(&self) -> Wave {
        Wave {
            totals: self.totals,
            ..Wave::default()
        }
    }

    pub fn apply(&mut self, wave: &Wave) {
        self.totals = wave.totals;
        for (at, events) in &wave.laid {
            for (id, name) in events {
                // A later mark of the same event changes nothing of the first.
                self.marks.entry(*id).or_insert_with(|| Marked {
                    name: name.clone(),
                    at: *at,
                    in_doubt: false,
                });
            }
        }
        for id in &wave.unmarked {
            self.unmark(*id);
        }
        for (first, last) in &wave.settled {
            self.settled.insert(*first..=*last);
        }
        for (writer, place, first) in &wave.lows {
            self.lows.insert(*writer, *place);
            self.prune(*first);
        }
        self.forgetting.extend(wave.forgetting.iter().copied());
        for id in &wave.remembered {
            self.forgetting.remove(id);
        }
        if let Some(undelivered) = wave.undelivered {
            self.undelivered = undelivered;
        }
        if let Some(doubt) = wave.doubt {
            self.doubt = doubt;
        }
    }

    /// Whether it may have been sent since the copy was made that the queue was restored from.
    pub fn is_doubtful(&self, id: EntryId) -> bool {
        self.doubt.is_some_and(|doubt| match id.origin() {
            Origin::Line(seq) => seq < doubt.lines,
            Origin::Dead(number) => number < doubt.letters,
        })
    }

    /// An event that was doubtful and had no mark is settled, or has one.
    pub fn cleared(&mut self) {
        if let Some(doubt) = self.doubt.as_mut() {
            doubt.left = doubt.left.saturating_sub(1);
        }
    }

    /// What is known of its having been sent.
    pub fn sent(&self, id: EntryId) -> Option<Sent> {
        let marked = self.marks.get(&id).map(Marked::sent);
        let doubt = self.doubt.filter(|_| self.is_doubtful(id));
        marked.or(doubt.map(|doubt| Sent {
            name: None,
            at: doubt.since,
            in_doubt: true,
        }))
    }

    /// The chunk of this number is behind its writer's low place: its numbers need not be kept.
    fn prune(&mut self, first: Seq) {
        let (first, last) = block_of(first);
        self.settled.remove(first..=last);
    }

    pub fn unmark(&mut self, id: EntryId) {
        if self.marks.remove(&id).is_some_and(|mark| mark.in_doubt) {
            self.in_doubt -= 1;
        }
    }

    /// Whether nothing of a chunk at this place is open.
    pub fn is_behind(&self, writer: u32, place: Place) -> bool {
        self.lows.get(&writer).is_some_and(|low| place <= *low)
    }

    /// The outcome of this event's last attempt is unknown.
    pub fn doubt(&mut self, id: EntryId) {
        if let Some(mark) = self.marks.get_mut(&id)
            && !mark.in_doubt
        {
            mark.in_doubt = true;
            self.in_doubt += 1;
        }
    }

    /// A letter that may have arrived waits again.
    pub fn mark_in_doubt(&mut self, number: LetterNumber, name: Arc<str>, at: Millis) {
        let id = EntryId::dead(number);
        let in_doubt = false;
        self.marks
            .entry(id)
            .or_insert(Marked { name, at, in_doubt });
        self.doubt(id);
    }

    /// Another turn begins: no answer will come to whoever had the last.
    pub fn doubt_all(&mut self) {
        for mark in self.marks.values_mut() {
            mark.in_doubt = true;
        }
        self.in_doubt = self.marks.len() as u64;
    }

    pub fn in_doubt(&self) -> u64 {
        self.in_doubt + self.doubt.map_or(0, |doubt| doubt.left)
    }

    pub fn sending(&self) -> u64 {
        self.marks.len() as u64 - self.in_doubt
    }

    /// All of it, in one wave.
    pub fn checkpoint(&self) -> Wave {
        let mut by_time: BTreeMap<Millis, Vec<(EntryId, Arc<str>)>> = BTreeMap::new();
        for (id, mark) in &self.marks {
            by_time
                .entry(mark.at)
                .or_default()
                .push((*id, mark.name.clone()));
        }
        Wave {
            totals: self.totals,
            laid: by_time.into_iter().collect(),
            settled: self.settled.iter().collect(),
            lows: (self.lows.iter().map(|(w, place)| (*w, *place, Seq(0)))).collect(),
            forgetting: self.forgetting.iter().map(|(id, h)| (*id, *h)).collect(),
            undelivered: Some(self.undelivered),
            doubt: Some(self.doubt),
            ..Wave::default()
        }
    }

    /// The letters that are dead and may be retried at once, if the operator wants: since when.
    pub fn undelivered_letters(&self) -> Option<LetterNumber> {
        let since = self.undelivered?;
        let is_now = since.delivered == self.totals.delivered as u64;
        (is_now && !since.is_kept).then_some(since.first)
    }

    /// Whether this number of a chunk that is not behind its writer's low place is settled.
    pub fn is_settled(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => self.settled.contains(seq),
            Origin::Dead(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_a_checkpoint_and_what_follows_knows_the_same() {
        let mut account = Account::default();
        let mut waves = Vec::new();
        for step in 0..20u64 {
            let mut wave = account.next();
            let id = |n: u64| EntryId::line(Seq(1024 + n));
            wave.totals.delivered += 1;
            wave.laid = vec![(step as Millis, vec![(id(step), "lead".into())])];
            if step > 3 {
                wave.unmarked = vec![id(step - 3)];
                wave.settled = vec![(Seq(1024 + step - 3), Seq(1024 + step - 3))];
            }
            wave.forgetting = vec![(id(step), u128::from(step))];
            wave.remembered = vec![id(step.saturating_sub(5))];
            wave.lows = vec![(
                1,
                Place {
                    group: step,
                    part: 0,
                },
                Seq(0),
            )];
            account.apply(&wave);
            waves.push(wave);
        }
        for at in 0..20 {
            let (mut one, mut other) = (Account::default(), Account::default());
            waves[..at].iter().for_each(|wave| one.apply(wave));
            other.apply(&one.checkpoint());
            waves[at..].iter().for_each(|wave| other.apply(wave));
            assert_eq!(other, account);
        }
        assert_eq!((account.sending(), account.in_doubt()), (4, 0));
        account.doubt_all();
        assert_eq!((account.sending(), account.in_doubt()), (0, 4));
    }
}
