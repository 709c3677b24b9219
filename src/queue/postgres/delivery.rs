//! What a turn does to the account, one wave at a time.
//!
//! Invariant: what a wave says of the account is what was done to it, so that whoever reads the
//! journal comes to the same. The account runs ahead of the journal by the wave that is being
//! written; if that is not committed the turn is over, and the account is read anew.

use std::collections::HashSet;

use super::account::Account;
use super::hands::Hands;
use super::letters::New;
use super::numbers::block_of;
use super::wave::{Place, Undelivered, Wave};
use crate::clock::Millis;
use crate::queue::contract::{
    EntryId, Forgotten, LetterNumber, Loss, Mark, Origin, Outcome, Seq, Settlement,
};
use crate::queue::ranges::RangeSet;

/// An event that is to be given up, and of one of the line where its chunk is.
#[derive(Clone, Copy, Debug)]
pub struct GiveUp {
    pub id: EntryId,
    pub id_hash: u128,
    pub chunk: Option<(u32, Place)>,
}

/// What a wave writes.
#[derive(Default)]
pub struct Writes {
    pub wave: Wave,
    settled: RangeSet<Seq>,
    /// Letters that are new, and those that are gone.
    pub letters: Vec<New>,
    pub removed: Vec<LetterNumber>,
    /// Ids that are remembered for a window from now on.
    pub renewed: Vec<u128>,
    pub losses: Vec<Loss>,
    /// Chunks and letters whose bytes are kept as they are, for they cannot be read.
    pub kept: Vec<(i32, u32, Place)>,
    pub kept_letters: Vec<LetterNumber>,
    unmarked: HashSet<EntryId>,
    is_changed: bool,
}

impl Writes {
    /// Whether this mark is to go into the next wave. Invariant: no wave unmarks an event and marks
    /// it again, for whoever reads it would not know which came first.
    pub fn clash_with(&self, mark: &Mark) -> bool {
        !self.unmarked.is_empty() && mark.events.iter().any(|(id, _)| self.unmarked.contains(id))
    }
}

/// The moment, and what goes by it.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: Millis,
    /// What deaths are stamped with.
    pub stamp: Millis,
    /// How long the destination remembers an event_id.
    pub remembers: Millis,
}

/// See the file's page.
#[derive(Default)]
pub struct Delivery {
    /// The turn that it is of, by its number in this process.
    pub turn: u64,
    pub account: Account,
    pub hands: Hands,
}

impl Delivery {
    /// The writes, and whether there are any.
    pub fn finish(&mut self, mut writes: Writes) -> (Writes, bool) {
        for low in self.hands.let_go() {
            let (writer, place, _) = low;
            self.account.lows.insert(writer, place);
            let (first, last) = block_of(low.2);
            self.account.settled.remove(first..=last);
            writes.settled.remove(first..=last);
            writes.wave.lows.push(low);
        }
        writes.wave.settled = writes.settled.iter().collect();
        writes.wave.totals = self.account.totals;
        writes.wave.doubt = self.account.doubt.map(Some);
        writes.is_changed |= !writes.wave.lows.is_empty();
        let is_changed = writes.is_changed;
        (writes, is_changed)
    }

    /// Nothing that was in hand is.
    pub fn begin(&mut self, writes: &mut Writes) {
        writes.is_changed = true;
        self.account.doubt_all();
        if let Some(since) = self.account.undelivered.as_mut()
            && since.is_kept
        {
            // What died is not to be told of; under which names it may have arrived stays known.
            since.is_kept = false;
            since.delivered = u64::MAX;
            writes.wave.undelivered = Some(self.account.undelivered);
        }
        // No answer will come.
        let forgetting: Vec<_> = self.account.forgetting.keys().copied().collect();
        self.give_up_if_forgetting(&forgetting, writes);
    }

    fn is_open(&self, id: EntryId) -> bool {
        match id.origin() {
            Origin::Line(seq) => self.hands.has(seq) && !self.account.settled.contains(seq),
            Origin::Dead(number) => self.hands.letter(number).is_some(),
        }
    }

    /// Gives those that are not to leave: they were given up.
    pub fn mark(&mut self, mark: Mark, moment: Moment, writes: &mut Writes) -> Vec<EntryId> {
        let (mut forgotten, mut laid, mut doubtful) = (Vec::new(), Vec::new(), Vec::new());
        for (id, name) in mark.events {
            if !self.is_open(id) {
                forgotten.push(id);
                continue;
            }
            match self.account.marks.get(&id) {
                Some(marked) => {
                    writes.is_changed = true;
                    self.account.totals.resent += 1;
                    let is_late = moment.now.saturating_sub(marked.at) > moment.remembers;
                    self.account.totals.resent_late += i64::from(is_late);
                }
                None => {
                    if self.account.is_doubtful(id) {
                        // It may have arrived before, under this very name.
                        self.account.totals.resent += 1;
                        let since = self.account.doubt.map_or(moment.now, |doubt| doubt.since);
                        let is_late = moment.now.saturating_sub(since) > moment.remembers;
                        self.account.totals.resent_late += i64::from(is_late);
                        self.account.cleared();
                        doubtful.push(id);
                    }
                    laid.push((id, name));
                }
            }
        }
        if !laid.is_empty() {
            let laid = Wave {
                laid: vec![(moment.now, laid)],
                totals: self.account.totals,
                ..Wave::default()
            };
            self.account.apply(&laid);
            writes.wave.laid.extend(laid.laid);
            writes.is_changed = true;
        }
        doubtful.into_iter().for_each(|id| self.account.doubt(id));
        forgotten
    }

    pub fn doubt(&mut self, ids: &[EntryId], writes: &mut Writes) {
        ids.iter().for_each(|id| self.account.doubt(*id));
        self.give_up_if_forgetting(ids, writes);
    }

    pub fn release(&mut self, ids: &[EntryId], writes: &mut Writes) {
        for id in ids {
            if (self.account.marks.get(id)).is_some_and(|mark| !mark.in_doubt) {
                self.unmark(*id, writes);
            }
        }
        self.give_up_if_forgetting(ids, writes);
    }

    /// The event ends, or is not being sent after all.
    fn unmark(&mut self, id: EntryId, writes: &mut Writes) -> bool {
        let was_marked = self.account.marks.contains_key(&id);
        if was_marked {
            self.account.unmark(id);
            writes.wave.unmarked.push(id);
            writes.unmarked.insert(id);
            writes.is_changed = true;
        }
        was_marked
    }

    fn give_up_if_forgetting(&mut self, ids: &[EntryId], writes: &mut Writes) {
        for id in ids {
            if let Some(id_hash) = self.account.forgetting.remove(id) {
                writes.wave.remembered.push(*id);
                self.give_up(*id, id_hash, writes);
            }
        }
    }

    /// The event is gone, for good; its id stays known for a window.
    fn give_up(&mut self, id: EntryId, id_hash: u128, writes: &mut Writes) {
        let was_marked = self.unmark(id, writes);
        self.hands.withdraw(id);
        self.leave(id, was_marked, writes);
        self.account.totals.purged += 1;
        writes.renewed.push(id_hash);
    }

    /// The event is settled under this number.
    ///
    /// Invariant: its mark is gone before.
    fn leave(&mut self, id: EntryId, was_marked: bool, writes: &mut Writes) {
        writes.is_changed = true;
        if !was_marked && self.account.is_doubtful(id) {
            self.account.cleared();
        }
        match id.origin() {
            Origin::Line(seq) => {
                self.account.totals.line_settled += 1;
                let range = match self.hands.settled(seq) {
                    // The numbers that stand for no event as well, so that ranges meet.
                    true => block_of(seq),
                    false => (seq, seq),
                };
                self.account.settled.insert(range.0..=range.1);
                writes.settled.insert(range.0..=range.1);
            }
            Origin::Dead(number) => {
                self.account.totals.letters_queued -= 1;
                self.hands.remove_letter(number);
                writes.removed.push(number);
            }
        }
    }

    /// How many numbers of letters these need.
    pub fn letters_of(settlements: &[Settlement]) -> usize {
        let is_letter =
            |s: &&Settlement| matches!(s.outcome, Outcome::Dead { .. } | Outcome::Deferred { .. });
        settlements.iter().filter(is_letter).count()
    }

    /// Ends claims. `numbers`: as many as there are new letters among them.
    pub fn settle(
        &mut self,
        settlements: Vec<Settlement>,
        numbers: &mut impl Iterator<Item = LetterNumber>,
        moment: Moment,
        writes: &mut Writes,
    ) {
        for Settlement { entry, outcome } in settlements {
            self.hands.freed(entry.body.len());
            if !self.is_open(entry.id) {
                // Forgotten meanwhile, and counted then.
                continue;
            }
            let is_forgotten = self.account.forgetting.remove(&entry.id).is_some();
            if is_forgotten {
                writes.wave.remembered.push(entry.id);
            }
            if outcome == Outcome::Forgotten || (is_forgotten && outcome != Outcome::Delivered) {
                self.give_up(entry.id, entry.id_hash, writes);
                continue;
            }
            let mark = self.account.marks.get(&entry.id).cloned();
            let was_marked = self.unmark(entry.id, writes);
            self.leave(entry.id, was_marked, writes);
            let (reason, message, failures) = match outcome {
                Outcome::Forgotten => continue,
                Outcome::Delivered => {
                    self.account.totals.delivered += 1;
                    if let Origin::Dead(_) = entry.id.origin() {
                        writes.renewed.push(entry.id_hash);
                    }
                    continue;
                }
                Outcome::Dead { reason, message } => (Some(reason), message, entry.failures),
                Outcome::Deferred { failures } => (None, String::new(), failures),
            };
            let Some(number) = numbers.next() else { break };
            let is_kept = self.note_death(number, writes);
            let sent = mark.map(|mark| (mark.in_doubt, (mark.name, mark.at)));
            let sent = match reason {
                // It may have arrived: under its new number it keeps the name it went out under.
                None => sent.map(|(_, sent)| sent),
                Some(_) => (sent.filter(|(in_doubt, _)| *in_doubt && !is_kept)).map(|(_, s)| s),
            };
            let letter = New {
                number,
                id_hash: entry.id_hash,
                reason,
                failures,
                accepted_at: entry.accepted_at,
                event_time: entry.event_time,
                died_at: moment.stamp,
                message,
                body: entry.body,
                sent,
            };
            match reason {
                Some(reason) => self.account.totals.count_dead(reason, 1),
                None => {
                    self.account.totals.letters_queued += 1;
                    self.queue(&letter);
                }
            }
            writes.letters.push(letter);
        }
    }

    /// A letter waits from now on.
    fn queue(&mut self, letter: &New) {
        if let Some((name, at)) = &letter.sent {
            (self.account).mark_in_doubt(letter.number, name.clone(), *at);
        }
        self.hands.queue(letter.queued());
    }

    /// Whether the operator keeps dead what dies now.
    fn note_death(&mut self, number: LetterNumber, writes: &mut Writes) -> bool {
        let delivered = self.account.totals.delivered as u64;
        let known = self.account.undelivered;
        if let Some(known) = known.filter(|known| known.delivered == delivered) {
            return known.is_kept;
        }
        self.account.undelivered = Some(Undelivered {
            delivered,
            first: number,
            is_kept: false,
        });
        writes.wave.undelivered = Some(self.account.undelivered);
        false
    }

    /// The operator keeps dead what died since an event was delivered last.
    pub fn keep_dead(&mut self, writes: &mut Writes) {
        let first = self.account.undelivered.map(|since| since.first);
        self.account.undelivered = Some(Undelivered {
            delivered: self.account.totals.delivered as u64,
            first: first.unwrap_or(LetterNumber(i64::MAX as u64)),
            is_kept: true,
        });
        writes.wave.undelivered = Some(self.account.undelivered);
        writes.is_changed = true;
    }

    /// Gives up what is still queued of these, and what is being sent unless it is delivered.
    pub fn forget(
        &mut self,
        theirs: &[GiveUp],
        is_dry_run: bool,
        writes: &mut Writes,
    ) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for give in theirs {
            let is_open = match (give.id.origin(), give.chunk) {
                (Origin::Line(seq), Some((writer, place))) => {
                    !self.account.is_behind(writer, place) && !self.account.settled.contains(seq)
                }
                _ => self.is_open(give.id),
            };
            if !is_open {
                continue;
            }
            let mark = self.account.marks.get(&give.id);
            let is_sending = mark.is_some_and(|mark| !mark.in_doubt);
            match is_sending {
                true => forgotten.in_flight += 1,
                false => forgotten.queued += 1,
            }
            match is_sending {
                _ if is_dry_run => {}
                true => {
                    self.account.forgetting.insert(give.id, give.id_hash);
                    writes.wave.forgetting.push((give.id, give.id_hash));
                    writes.is_changed = true;
                }
                false => self.give_up(give.id, give.id_hash, writes),
            }
        }
        forgotten
    }

    /// The events of a chunk whose bytes cannot be read are lost. `count`: how many it has; those
    /// that were settled before are counted.
    pub fn set_aside(&mut self, first: Seq, count: u64, writes: &mut Writes) -> u64 {
        let (first, last) = block_of(first);
        let settled = self.account.settled.count_within(first..=last);
        let lost = count.saturating_sub(settled);
        let marked: Vec<EntryId> = (first.0..=last.0)
            .map(|number| EntryId::line(Seq(number)))
            .filter(|id| self.account.marks.contains_key(id))
            .collect();
        for id in marked {
            self.unmark(id, writes);
        }
        self.hands.settled(first);
        self.account.settled.insert(first..=last);
        writes.settled.insert(first..=last);
        self.account.totals.line_settled += lost as i64;
        self.account.totals.set_aside += lost as i64;
        writes.is_changed = true;
        lost
    }

    /// A letter that was said to wait does not: whoever settled it has counted it.
    pub fn vanished(&mut self, number: LetterNumber) {
        if let Some(letter) = self.hands.remove_letter(number) {
            self.hands.freed(letter.length);
            self.account.unmark(EntryId::dead(number));
        }
    }

    /// A queued letter whose bytes cannot be read is lost.
    pub fn set_letter_aside(&mut self, number: LetterNumber, writes: &mut Writes) {
        if self.hands.letter(number).is_some() {
            let was_marked = self.unmark(EntryId::dead(number), writes);
            self.leave(EntryId::dead(number), was_marked, writes);
            self.account.totals.set_aside += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::queue::contract::{DeadReason, Entry};
    use crate::queue::postgres::account::Account;
    use crate::queue::postgres::wave::Doubt;

    #[derive(Debug, Clone)]
    enum Op {
        Take(u32, u64),
        Claim(usize),
        Mark(Vec<usize>),
        Doubt(Vec<usize>),
        Release(Vec<usize>),
        Settle(Vec<(usize, u8)>),
        Forget(Vec<u64>),
        KeepDead,
        Begin,
    }

    fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
        let some = || prop::collection::vec(0usize..12, 1..4);
        let op = prop_oneof![
            3 => (1u32..3, 1u64..6).prop_map(|(writer, count)| Op::Take(writer, count)),
            3 => (1usize..5).prop_map(Op::Claim),
            3 => some().prop_map(Op::Mark),
            1 => some().prop_map(Op::Doubt),
            2 => some().prop_map(Op::Release),
            4 => prop::collection::vec((0usize..12, 0u8..5), 1..4).prop_map(Op::Settle),
            1 => prop::collection::vec(1024u64..6000, 1..4).prop_map(Op::Forget),
            1 => Just(Op::KeepDead),
            1 => Just(Op::Begin),
        ];
        // Several in a wave, in many waves.
        prop::collection::vec(prop::collection::vec(op, 1..4), 1..30)
    }

    fn entry(number: u64) -> Entry {
        Entry {
            id: EntryId::line(Seq(number)),
            id_hash: u128::from(number),
            accepted_at: 7,
            event_time: 1,
            body: Bytes::from(number.to_string()),
            sent_as: None,
            failures: 0,
        }
    }

    /// What a journal can know: doubt is of the process.
    fn of_journal(mut account: Account) -> Account {
        account.doubt_all();
        account
    }

    #[derive(Default)]
    struct World {
        delivery: Delivery,
        held: Vec<Entry>,
        blocks: u64,
        groups: [u64; 3],
        letters: u64,
    }

    impl World {
        fn ids(&self, at: &[usize]) -> Vec<EntryId> {
            at.iter()
                .filter_map(|at| self.held.get(*at))
                .map(|entry| entry.id)
                .collect()
        }

        fn step(&mut self, op: &Op, writes: &mut Writes) {
            let moment = Moment {
                now: 1000,
                stamp: 1000,
                remembers: 10,
            };
            match op {
                Op::Take(writer, count) => {
                    self.blocks += 1;
                    self.groups[*writer as usize] += 1;
                    let first = self.blocks * 1024;
                    let events = (first..first + count).map(entry).collect();
                    let place = Place {
                        group: self.groups[*writer as usize],
                        part: 0,
                    };
                    let delivery = &mut self.delivery;
                    delivery
                        .hands
                        .take((*writer, place), events, &delivery.account);
                }
                Op::Claim(most) => {
                    let delivery = &mut self.delivery;
                    let (line, letters) = delivery.hands.claim(&delivery.account, *most, 1 << 20);
                    self.held.extend(line);
                    let letters = letters.into_iter().map(|number| Entry {
                        id: EntryId::dead(number),
                        // As long as what it was.
                        body: Bytes::from("1024"),
                        ..entry(number.0)
                    });
                    self.held.extend(letters);
                }
                Op::Mark(at) => {
                    let events = self.ids(at).into_iter().map(|id| (id, "lead".into()));
                    let mark = Mark {
                        events: events.collect(),
                    };
                    if !writes.clash_with(&mark) {
                        self.delivery.mark(mark, moment, writes);
                    }
                }
                Op::Doubt(at) => self.delivery.doubt(&self.ids(at), writes),
                Op::Release(at) => self.delivery.release(&self.ids(at), writes),
                Op::Settle(at) => {
                    for (at, how) in at {
                        if *at >= self.held.len() {
                            continue;
                        }
                        let entry = self.held.remove(*at);
                        let outcome = match how {
                            0 => Outcome::Dead {
                                reason: DeadReason::Refused,
                                message: "no".into(),
                            },
                            1 => Outcome::Deferred { failures: 1 },
                            2 => Outcome::Forgotten,
                            _ => Outcome::Delivered,
                        };
                        self.letters += 1;
                        let mut numbers = std::iter::once(LetterNumber(self.letters));
                        let settlement = Settlement { entry, outcome };
                        self.delivery
                            .settle(vec![settlement], &mut numbers, moment, writes);
                    }
                }
                Op::Forget(numbers) => {
                    let theirs: Vec<GiveUp> = (self.held.iter())
                        .filter(|entry| numbers.contains(&entry.id.to_raw()))
                        .map(|entry| GiveUp {
                            id: entry.id,
                            id_hash: entry.id_hash,
                            chunk: None,
                        })
                        .collect();
                    self.delivery.forget(&theirs, false, writes);
                }
                Op::KeepDead => self.delivery.keep_dead(writes),
                Op::Begin => self.delivery.begin(writes),
            }
        }
    }

    proptest! {
        #[test]
        fn whoever_reads_the_journal_comes_to_the_same_account(
            ops in ops(), adopted in any::<bool>()
        ) {
            let mut world = World::default();
            let mut read = Account::default();
            if adopted {
                let doubt = Doubt { lines: Seq(3000), letters: LetterNumber(0), since: 1, left: 9 };
                world.delivery.account.doubt = Some(doubt);
                read.doubt = Some(doubt);
            }
            for wave in ops {
                let mut writes = Writes::default();
                for op in &wave {
                    world.step(op, &mut writes);
                }
                let (writes, is_changed) = world.delivery.finish(writes);
                if is_changed {
                    let wave = Wave::decode(&writes.wave.encode()).unwrap();
                    read.apply(&wave);
                }
                // A letter that waits and may have arrived says so in its own row.
                let mut here = of_journal(world.delivery.account.clone());
                here.marks.retain(|id, _| matches!(id.origin(), Origin::Line(_)));
                let mut there = of_journal(read.clone());
                there.marks.retain(|id, _| matches!(id.origin(), Origin::Line(_)));
                prop_assert_eq!(of_journal(here), of_journal(there));
                let mut again = Account::default();
                again.apply(&read.checkpoint());
                prop_assert_eq!(of_journal(again), of_journal(read.clone()));
            }
        }
    }
}
