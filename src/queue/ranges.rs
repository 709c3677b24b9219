//! A set of numbers kept as ranges: what is settled above the low-water mark, which dead
//! letters are queued again, which are gone.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

use super::numbers::{Number, Seq};

/// Numbers of one kind as disjoint ranges that never touch each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet<N> {
    /// First number → last number of each range.
    ranges: BTreeMap<u64, u64>,
    kind: PhantomData<N>,
}

/// What a change did to the stored form: ranges removed by their first number, then written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RangeDiff {
    pub removed: Vec<u64>,
    pub written: Vec<(u64, u64)>,
}

impl<N> Default for RangeSet<N> {
    fn default() -> Self {
        Self {
            ranges: BTreeMap::new(),
            kind: PhantomData,
        }
    }
}

/// First and last.
fn ends<N: Number>(range: &RangeInclusive<N>) -> (u64, u64) {
    (range.start().value(), range.end().value())
}

impl<N: Number> RangeSet<N> {
    pub fn contains(&self, n: N) -> bool {
        self.range_of(n.value()).is_some()
    }

    fn range_of(&self, n: u64) -> Option<(u64, u64)> {
        let (first, last) = self.ranges.range(..=n).next_back()?;
        (*last >= n).then_some((*first, *last))
    }

    /// Adds `range`; an empty one changes nothing.
    pub fn insert(&mut self, range: RangeInclusive<N>) -> RangeDiff {
        let (mut first, mut last) = ends(&range);
        let mut diff = RangeDiff::default();
        if first > last {
            return diff;
        }
        // Every range that overlaps or touches is swallowed.
        let touching = first.saturating_sub(1)..=last.saturating_add(1);
        let before = self
            .ranges
            .range(..=first)
            .next_back()
            .map(|(f, l)| (*f, *l));
        let start = before
            .filter(|(_, l)| l.saturating_add(1) >= first)
            .map_or(first, |(f, _)| f);
        let swallowed: Vec<(u64, u64)> = self
            .ranges
            .range(start..=*touching.end())
            .map(|(f, l)| (*f, *l))
            .collect();
        for (f, l) in swallowed {
            first = first.min(f);
            last = last.max(l);
            self.ranges.remove(&f);
            diff.removed.push(f);
        }
        self.ranges.insert(first, last);
        diff.removed.retain(|f| *f != first);
        diff.written.push((first, last));
        diff
    }

    /// Takes `range` out; numbers that were not in it change nothing.
    pub fn remove(&mut self, range: RangeInclusive<N>) -> RangeDiff {
        let (first, last) = ends(&range);
        let mut diff = RangeDiff::default();
        if first > last {
            return diff;
        }
        let start = self.range_of(first).map_or(first, |(f, _)| f);
        let hit: Vec<(u64, u64)> = self
            .ranges
            .range(start..=last)
            .map(|(f, l)| (*f, *l))
            .collect();
        for (f, l) in hit {
            self.ranges.remove(&f);
            diff.removed.push(f);
            if f < first {
                self.ranges.insert(f, first - 1);
                diff.written.push((f, first - 1));
            }
            if l > last {
                self.ranges.insert(last + 1, l);
                diff.written.push((last + 1, l));
            }
        }
        diff.removed
            .retain(|f| !diff.written.iter().any(|(w, _)| w == f));
        diff
    }

    /// How many numbers the set holds.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(f, l)| l - f + 1).sum()
    }

    /// How many numbers of `range` the set holds.
    pub fn count_within(&self, range: RangeInclusive<N>) -> u64 {
        let (first, last) = ends(&range);
        if first > last {
            return 0;
        }
        let start = self.range_of(first).map_or(first, |(f, _)| f);
        self.ranges
            .range(start..=last)
            .map(|(f, l)| (*l).min(last) - (*f).max(first) + 1)
            .sum()
    }

    /// The ranges of the set as far as they lie within `range`.
    pub fn within(&self, range: RangeInclusive<N>) -> impl Iterator<Item = (N, N)> + '_ {
        let (first, last) = ends(&range);
        let start = self.range_of(first).map_or(first, |(f, _)| f);
        let to = last.max(start);
        (self.ranges.range(start..=to))
            .map(move |(f, l)| ((*f).max(first), (*l).min(last)))
            .filter(|(f, l)| f <= l)
            .map(|(f, l)| (N::of(f), N::of(l)))
    }

    /// Takes everything in `other` out.
    pub fn subtract(&mut self, other: &Self, range: RangeInclusive<N>) {
        for (first, last) in other.within(range) {
            self.remove(first..=last);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (N, N)> + '_ {
        self.ranges.iter().map(|(f, l)| (N::of(*f), N::of(*l)))
    }
}

impl<N: Number> FromIterator<(N, N)> for RangeSet<N> {
    fn from_iter<I: IntoIterator<Item = (N, N)>>(iter: I) -> Self {
        let mut set = Self::default();
        for (first, last) in iter {
            set.insert(first..=last);
        }
        set
    }
}

/// A low-water mark and the settled ranges above it: which sequence numbers are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Every number below is settled.
    low_water: Seq,
    above: RangeSet<Seq>,
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new(Seq(1), RangeSet::default())
    }
}

impl Cursor {
    /// `low_water` is the first number that is not settled; `above` the settled ones beyond.
    pub fn new(low_water: Seq, above: RangeSet<Seq>) -> Self {
        let mut cursor = Self { low_water, above };
        cursor.absorb(&mut RangeDiff::default());
        cursor
    }

    pub fn low_water(&self) -> Seq {
        self.low_water
    }

    pub fn above(&self) -> &RangeSet<Seq> {
        &self.above
    }

    pub fn is_settled(&self, n: Seq) -> bool {
        n < self.low_water || self.above.contains(n)
    }

    /// How many numbers up to and including `last` are not settled.
    pub fn unsettled(&self, last: Seq) -> u64 {
        let all = last.next().0.saturating_sub(self.low_water.0);
        all - self.above.count_within(self.low_water..=last)
    }

    /// Settles `range`; says what changed in the stored ranges.
    pub fn settle(&mut self, range: RangeInclusive<Seq>) -> RangeDiff {
        let first = (*range.start()).max(self.low_water);
        let mut diff = self.above.insert(first..=*range.end());
        self.absorb(&mut diff);
        diff
    }

    fn absorb(&mut self, diff: &mut RangeDiff) {
        loop {
            let Some((first, last)) = self.above.iter().next() else {
                break;
            };
            if first > self.low_water {
                break;
            }
            self.low_water = self.low_water.max(last.next());
            self.above.remove(first..=last);
            diff.written.retain(|(f, _)| *f != first.0);
            diff.removed.push(first.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn apply(stored: &mut BTreeMap<u64, u64>, diff: &RangeDiff) {
        for first in &diff.removed {
            stored.remove(first);
        }
        for (first, last) in &diff.written {
            stored.insert(*first, *last);
        }
    }

    proptest! {
        #[test]
        fn a_range_set_is_a_set_and_its_diffs_rebuild_it(
            ops in prop::collection::vec((any::<bool>(), 1u64..60, 0u64..12), 0..80)
        ) {
            let (mut set, mut model, mut stored) = (RangeSet::default(), BTreeSet::new(), BTreeMap::new());
            for (add, first, len) in ops {
                let range = first..=first + len;
                let diff = if add {
                    model.extend(range.clone());
                    set.insert(range.clone())
                } else {
                    range.clone().for_each(|n| { model.remove(&n); });
                    set.remove(range.clone())
                };
                apply(&mut stored, &diff);
                prop_assert_eq!(set.count(), model.len() as u64);
                prop_assert_eq!(set.count_within(range.clone()), model.range(range).count() as u64);
                prop_assert!((0..80).all(|n| set.contains(n) == model.contains(&n)));
                prop_assert_eq!(&stored, &set.ranges);
            }
        }

        #[test]
        fn a_cursor_settles_like_a_set(
            ops in prop::collection::vec((1u64..60, 0u64..9), 0..60)
        ) {
            let mut cursor = Cursor::new(Seq(1), RangeSet::default());
            let (mut model, mut stored) = (BTreeSet::new(), BTreeMap::new());
            for (first, len) in ops {
                model.extend(first..=first + len);
                let diff = cursor.settle(Seq(first)..=Seq(first + len));
                apply(&mut stored, &diff);
                prop_assert!((1..80).all(|n| cursor.is_settled(Seq(n)) == model.contains(&n)));
                prop_assert_eq!(&stored, &cursor.above.ranges);
                prop_assert!(!model.contains(&cursor.low_water().0));
                let open = (1..=70u64).filter(|n| !model.contains(n)).count() as u64;
                prop_assert_eq!(cursor.unsettled(Seq(70)), open);
            }
        }
    }
}
