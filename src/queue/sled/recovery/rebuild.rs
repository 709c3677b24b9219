//! Opening the account, and making it anew where `meta` cannot be used or is behind `high`.
//!
//! What is lost with `meta` is which events above the low-water mark were settled, which dead
//! letters were taken back, and who is in doubt. So after this everything unsettled is in doubt:
//! sent again under its first event_id, and counted. No event is given up for the account's sake,
//! and none is counted as delivered that nothing proves delivered: `high` proves the counters and
//! what lies below the low-water mark; what is nowhere else is set aside, and told.

use std::collections::{HashMap, HashSet};

use crate::clock::Millis;
use crate::queue::contract::{
    CLAIM_WINDOW_EVENTS, DeadReason, EntryId, LetterNumber, LossKind, Number, Seq,
};
use crate::queue::ranges::RangeSet;
use crate::queue::record::dead_record;
use crate::queue::sled::account::{High, Ledger, Meta, Period, Row, is_new};
use crate::queue::sled::dead::{DeadLetters, heads, period, read_group};
use crate::queue::sled::disk::{
    Batch, DEAD, Evidence, StoreError, delete_folder, is_there, numbered, period_folder, quarantine,
};
use crate::queue::sled::ids::purged;
use crate::queue::sled::numbers::PeriodNumber;
use crate::queue::sled::recovery::generations::Generations;

/// The store and what it says.
pub struct Account {
    pub meta: Meta,
    pub ledger: Ledger,
    /// Parts of it were lost, and are made up from what the other files show.
    pub is_rebuilt: bool,
    /// The inventory of files was kept until now.
    pub has_inventory: bool,
}

const MADE_ANEW: &str = "the account is made anew from what the other files show: what is not \
                         settled is in doubt and sent again under its event_id";

/// Opens `meta`, or makes it.
pub fn open(evidence: &Evidence<'_>, high: &High) -> Result<Account, StoreError> {
    let path = Meta::folder(evidence.root);
    let is_new = is_new(evidence.root, &high.state)?;
    if !Meta::is_there(evidence.root)? {
        if is_there(&path)? {
            // Its making was cut short.
            delete_folder(&path)?;
        }
        if !is_new {
            evidence.found_at(&path, "it is missing".into(), MADE_ANEW);
        }
        return make(evidence, high, !is_new);
    }
    let read = evidence.open(&path).and_then(|store| {
        let (meta, state, has_inventory) = Meta::of(store)?;
        let ledger = Ledger::load(&meta.store, state)?;
        let is_unfinished = Meta::is_unfinished(&meta.store)?;
        Ok((meta, ledger, is_unfinished, has_inventory))
    });
    let copy = evidence.copy(&path)?;
    match read {
        Ok((meta, ledger, false, has_inventory))
            if ledger.state.settle_no >= high.state.settle_no =>
        {
            evidence.discard_copy(copy)?;
            Ok(Account {
                meta,
                ledger,
                is_rebuilt: false,
                has_inventory,
            })
        }
        Ok((meta, mut ledger, is_unfinished, has_inventory)) => {
            let lost = high.state.settle_no.saturating_sub(ledger.state.settle_no);
            let kept = copy.map(|copy| quarantine::put(evidence.root, &copy, "meta.copy"));
            let kept = kept.transpose()?;
            let what = match is_unfinished {
                true => "a start ended while it made the account anew".into(),
                false => format!("it was cut short, its last {lost} writes are missing"),
            };
            let kept = kept.map_or("no copy".into(), |kept| kept.display().to_string());
            evidence.found_at(&path, what, &format!("{MADE_ANEW}; as it was: {kept}"));
            let batch = begin_anew(&mut ledger, high);
            let mut account = Account {
                meta,
                ledger,
                is_rebuilt: true,
                has_inventory,
            };
            account.meta.commit(batch, &mut account.ledger.state)?;
            Ok(account)
        }
        // Nothing was ever committed beside it: its making was cut short, in any order.
        Err(StoreError::Damaged { .. }) if is_new => {
            evidence.discard_copy(copy)?;
            delete_folder(&path)?;
            make(evidence, high, false)
        }
        Err(StoreError::Damaged { what, .. }) => {
            let kept = evidence.quarantine(&path)?;
            if is_there(&path)? {
                delete_folder(&path)?;
            }
            let next = format!("{MADE_ANEW}; as it was: {}", kept.display());
            evidence.found_at(&path, what, &next);
            make(evidence, high, true)
        }
        Err(error) => Err(error),
    }
}

fn make(evidence: &Evidence<'_>, high: &High, is_rebuilt: bool) -> Result<Account, StoreError> {
    let mut ledger = Ledger::default();
    let first = match is_rebuilt {
        true => begin_anew(&mut ledger, high),
        false => Batch::default(),
    };
    let meta = Meta::create(&Meta::folder(evidence.root), first, &mut ledger.state)?;
    Ok(Account {
        meta,
        ledger,
        is_rebuilt,
        has_inventory: !is_rebuilt,
    })
}

/// Takes from `high` what the account lacks. Invariant: until [`finish`], the account is marked as
/// unfinished, so that the next start completes what this one leaves. Taken for complete, it would
/// name no period of dead letters, and what it does not name is deleted.
fn begin_anew(ledger: &mut Ledger, high: &High) -> Batch {
    let mut batch = Batch::default();
    batch.put(&Row::Unfinished.key(), Vec::new());
    ledger.state = ledger.state.newest(&high.state);
    let low = ledger.state.low;
    ledger.settle_line(&mut batch, Seq(1), low - 1);
    // All are read: which of their events are dead letters has to be found out.
    for generation in std::mem::take(&mut ledger.generations).into_keys() {
        ledger.remove_generation(&mut batch, generation);
    }
    batch
}

/// Counts the dead letters that are there: the account of them was lost. Gives how many may be
/// lost, by their numbers.
pub fn recount_letters(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
) -> Result<u64, StoreError> {
    let root = evidence.root;
    let mut found_up_to = LetterNumber(0);
    let mut lost = 0;
    let dir = root.join(DEAD);
    for period in ledger.periods.keys().copied().collect::<Vec<_>>() {
        if !is_there(&period_folder(root, period))? {
            // Purged since, or lost: either way there is nothing to read.
            ledger.remove_period(batch, period);
        }
    }
    // Newest first: what a crash left beyond the end of a period may bear numbers that the next
    // one has given to others.
    let mut limit = LetterNumber(u64::MAX);
    for period in numbered::<PeriodNumber>(&dir)?.into_iter().rev() {
        let path = period_folder(root, period);
        let store = match evidence.open(&path) {
            Ok(store) => store,
            Err(StoreError::Damaged { what, .. }) => {
                let kept = period::keep(evidence, &path)?;
                ledger.remove_period(batch, period);
                let next = "how many letters were in it, the account will show";
                evidence.found_at(
                    &path,
                    what,
                    &format!("it was moved to {}; {next}", kept.display()),
                );
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut letters = heads(&store)?;
        letters.retain(|(number, _)| *number < limit);
        let (Some((first, _)), Some((last, _))) = (letters.first(), letters.last()) else {
            ledger.remove_period(batch, period);
            continue;
        };
        let (first, last) = (*first, *last);
        limit = first;
        found_up_to = found_up_to.max(last);
        let died_at = |first| {
            let records = dead_record::decode(&read_group(&store, first).ok()?).ok()?;
            records.first().map(|record| record.died_at)
        };
        let opened = died_at(first).unwrap_or(ledger.state.wall);
        let mut numbers = Period {
            first,
            last,
            opened,
            newest: ledger.state.wall.max(opened),
            dead: [0; DeadReason::ALL.len()],
        };
        ledger.state.dead_next = ledger.state.dead_next.max(last + 1);
        let mut unread = RangeSet::default();
        unread.insert(first..=last);
        for (number, head) in letters {
            unread.remove(number..=number);
            if ledger.dead_gone.contains(number) || ledger.dead_queued.contains(number) {
                continue;
            }
            if head.is_erased() {
                // That it was gone, the account had noted before.
                ledger.retire_letter(batch, number);
                continue;
            }
            match head.reason {
                Some(reason) => numbers.dead[reason.index()] += 1,
                // Deferred: it waits for its next attempt.
                None => ledger.queue_dead(batch, number..=number),
            }
        }
        for (first, last) in unread.iter() {
            first
                .through(last)
                .for_each(|number| ledger.retire_letter(batch, number));
        }
        lost += unread.count();
        if unread.count() > 0 {
            ledger.hold_period(batch, period);
            let what = format!("{} of its letters cannot be read", unread.count());
            evidence.found_at(
                &path,
                what,
                "their bytes stay in it, and go to quarantine/ with it",
            );
        }
        ledger.put_period(batch, period, numbers);
    }
    // Numbers behind the last that was found were given to letters whose stores are gone: lost,
    // or deleted because nothing was left in them. Those of lists were purged; of the others, as
    // many as ever went back to the queue may have gone that way.
    let mut gone = RangeSet::default();
    if found_up_to + 1 < ledger.state.dead_next {
        gone.insert(found_up_to + 1..=ledger.state.dead_next - 1);
    }
    for (first, last) in purged::listed(root)? {
        gone.remove(first..=last);
    }
    let back = ledger.state.retried + ledger.state.totals.retried;
    Ok(lost + gone.count().saturating_sub(back))
}

/// An event stands in one place: the newest of its letters, and not in the line it died from; or,
/// if it came back with other bytes, where these stand.
pub fn one_event_one_place(
    ledger: &mut Ledger,
    batch: &mut Batch,
    dead: &mut DeadLetters,
    found: &Generations,
) -> Result<(), StoreError> {
    let mut newest: HashMap<u128, (LetterNumber, Option<DeadReason>)> = HashMap::new();
    let retried: HashSet<LetterNumber> = found.retried.iter().copied().collect();
    let mut came_back: HashMap<u128, Seq> = HashMap::new();
    for (number, head) in dead.all_heads(ledger)? {
        if retried.contains(&number) {
            came_back.insert(head.id_hash, Seq(0));
        }
        if ledger.dead_gone.contains(number) {
            continue;
        }
        let Some((older, reason)) = newest.insert(head.id_hash, (number, head.reason)) else {
            continue;
        };
        if let (true, Some(reason)) = (ledger.is_dead(older), reason) {
            ledger.uncount_dead(older, reason);
            ledger.put_period_of(batch, older);
        }
        dead.forget(head.id_hash, older);
        ledger.marks.remove(batch, EntryId::dead(older));
        ledger.retire_letter(batch, older);
    }
    for (seq, id) in found.numbered() {
        came_back
            .entry(id)
            .and_modify(|last| *last = seq.max(*last));
    }
    for (seq, id) in found.numbered() {
        let died = newest.contains_key(&id) || came_back.get(&id).is_some_and(|last| seq < *last);
        if died && !ledger.cursor.is_settled(seq) {
            ledger.marks.remove(batch, EntryId::line(seq));
            ledger.settle_line(batch, seq, seq);
        }
    }
    Ok(())
}

/// What is known to be lost when the account is made anew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Missing {
    /// Numbers of the line from the low-water mark on that no store holds.
    pub lines: u64,
    /// Letters that cannot be read, or whose stores are gone.
    pub letters: u64,
}

/// Closes the account: everything unsettled is in doubt, and what is nowhere is set aside.
///
/// Invariant: `delivered` never grows here, and nothing lost is counted in it. Of what was found
/// open, some may have been delivered above the low-water mark; nobody knows which. It is sent
/// again and counted again, so it is taken out of `delivered` now, as far as it can be in there:
/// otherwise it would hide as many events that are lost.
pub fn finish(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    missing: Missing,
    now: Millis,
) {
    batch.remove(&Row::Unfinished.key());
    ledger.doubt_everything(now);
    // What is lost less what was found open and is not.
    let off = ledger.census().imbalance();
    let low = ledger.cursor.low_water();
    let in_reach = (ledger.cursor).unsettled(Seq(low.0.saturating_add(CLAIM_WINDOW_EVENTS) - 1));
    let delivered_twice = in_reach.min(ledger.state.delivered);
    let most = off.saturating_add_unsigned(delivered_twice);
    let lost = most.min((missing.lines + missing.letters) as i64).max(off);
    let lost = u64::try_from(lost).unwrap_or(0);
    ledger.state.set_aside += lost;
    ledger.lose(batch, LossKind::Events, "the account", lost, now);
    let off = ledger.census().imbalance();
    ledger.state.delivered = (ledger.state.delivered).saturating_add_signed(off.min(0));
    // What was purged by name may be back among the dead.
    let back = ledger.census().imbalance();
    ledger.state.purged = ledger.state.purged.saturating_add_signed(back.min(0));
    // An event that still stands in two places is sent twice, and counts as two.
    let twice = ledger.census().imbalance();
    ledger.state.totals.accepted = (ledger.state.totals.accepted).saturating_add_signed(-twice);
    if lost > 0 {
        evidence.found(
            "the account",
            format!(
                "{lost} acknowledged events are in no store, and nothing proves that they were \
                 delivered"
            ),
            "they are counted as set aside; compare with a backup",
        );
    }
    let in_doubt = ledger.census().in_doubt;
    ledger.lose(batch, LossKind::Account, "meta", in_doubt, now);
}
