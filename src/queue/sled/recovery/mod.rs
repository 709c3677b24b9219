//! Making good what the last stop left. It starts no thread, and tells whatever it finds through
//! [`Evidence::found`], so that `verify` can do the same to a clone.
//!
//! Opening a store overwrites what its log ends in. So where sled changes a store while it opens
//! it, the store is copied before; the copy goes once all of it agrees with `high`, and is kept in
//! `quarantine/` if it does not.

mod begin;
pub mod generations;
pub mod rebuild;

use crate::clock::{Clock, Millis, Reading, WallTrust};
use crate::queue::contract::{LossKind, OpenError};
use crate::queue::ranges::RangeSet;
use crate::queue::sled::account::{
    Beside, High, HighFile, Identity, Ledger, Mending, Meta, Row, identity, rows,
};
use crate::queue::sled::dead::DeadLetters;
use crate::queue::sled::disk::{Batch, Evidence, StoreError, evidence, syscalls};
use crate::queue::sled::ids::{Dedup, Purged};
use crate::queue::sled::line::Head;
use crate::queue::sled::numbers::Generation;
use crate::queue::sled::options::Options;
use crate::queue::sled::recovery::{
    begin::begin,
    generations::{Generations, Inventory, open_generations, open_seen},
    rebuild::Missing,
};

/// What a start has in hand before it begins to work.
pub struct Recovered {
    pub identity: Identity,
    /// Whoever had the folder before did not close it.
    pub is_unclean: bool,
    /// The wall clock of the last life's last write for which it was believed; 0 if none was.
    pub last_wall: Millis,
    pub found: Generations,
    pub dead: DeadLetters,
    pub trust: WallTrust,
    pub handover: Handover,
}

/// Of it, what the one writer takes over.
pub struct Handover {
    pub lock: identity::Lock,
    pub high: HighFile,
    pub meta: Meta,
    pub ledger: Ledger,
    pub dedup: Dedup,
    pub head: Head,
    pub purged: Purged,
    /// Both clocks as noted in the account just now, if the wall clock is believed.
    pub noted: Option<Reading>,
}

impl Recovered {
    /// The account alone; the stores are closed.
    pub fn into_ledger(self) -> Ledger {
        self.handover.ledger
    }
}

/// Makes good what the last stop left: afterwards every accepted event has its one place in the
/// account, durably.
///
/// # Errors
/// [`OpenError`] says which exit code it calls for.
pub fn recover(
    options: &Options,
    clock: &Clock,
    evidence: &Evidence<'_>,
    beside: &Beside,
) -> Result<Recovered, OpenError> {
    let root = &options.path;
    let begun = begin(options, evidence, beside)?;
    let (identity, high, mut high_file) = (begun.identity, begun.high, begun.high_file);
    // From here on a crash is an unclean stop.
    high_file.write(&High {
        clean: false,
        ..high
    })?;
    high_file.sync()?;
    if !syscalls::in_force() {
        return Err(OpenError::Io(
            "failed reads of the queue would go unseen in this build: it must not run".into(),
        ));
    }

    let mut account = rebuild::open(evidence, &high)?;
    let ledger = &mut account.ledger;
    let set_aside_before = ledger.state.set_aside;
    let wall = ledger.state.wall;
    let last = account.meta.clocks()?;
    let trust = WallTrust::new(clock.clone(), last, (wall > 0).then_some(wall));
    if wall > 0 {
        // Of a queue whose clock was never believed, all that it has proves no age.
        trust.set_unproven(account.meta.unproven()?);
    }
    let now = clock.now();
    let mut batch = Batch::default();
    let mut found = Generations::default();
    let mut dedup = Dedup::default();
    let inventory = match account.has_inventory && !account.is_rebuilt {
        true => Inventory::Kept,
        false => Inventory::Unknown,
    };
    let window = Millis::try_from(options.dedup_window.as_millis()).unwrap_or(Millis::MAX);
    let mut mending = Mending {
        evidence,
        ledger,
        batch: &mut batch,
        now,
    };
    let covered = open_seen(&mut mending, inventory, window, &mut dedup, &mut found)?;
    let changed = open_generations(
        evidence,
        ledger,
        &mut batch,
        &covered,
        account.is_rebuilt,
        &mut found,
    )?;
    let state = &mut ledger.state;
    state.last_seq = state.last_seq.max(high.state.last_seq).max(found.last_seq);
    state.totals = (state.totals.max(&high.state.totals)).max(&found.totals);
    // Each number was given to an event that was new or retried.
    let numbered = state.last_seq.0.saturating_sub(state.totals.retried);
    state.totals.accepted = state.totals.accepted.max(numbered);
    for seq in &found.erased {
        ledger.settle_line(&mut batch, *seq, *seq);
    }
    let missing = set_missing_aside(
        evidence,
        ledger,
        &mut batch,
        &found,
        account.is_rebuilt,
        now,
    );
    if account.is_rebuilt {
        tell_forgotten(evidence, ledger, &mut batch, &found, &covered, now);
    }
    for store in changed {
        // Any store may be the short one: a gap shows where events are missing, not who lost them.
        if missing > 0 || found.last_seq < high.state.last_seq {
            let kept = evidence.quarantine(&store)?;
            let what = format!(
                "the stores end at event {}, {} was acknowledged, {missing} are missing",
                found.last_seq, ledger.state.last_seq
            );
            evidence.found_at(&store, what, &format!("as it was: {}", kept.display()));
        } else {
            evidence.discard_copy(evidence.copy(&store)?)?;
        }
    }

    let roll_bytes = (options.dead_max_bytes / 8).max(1 << 20);
    let (mut dead, lost_letters) = open_letters(
        evidence,
        ledger,
        &mut batch,
        account.is_rebuilt,
        &found,
        roll_bytes,
        now,
    )?;
    let purged = Purged::open(
        evidence,
        ledger,
        &mut batch,
        dead.take_purged(),
        &found.retried,
        account.is_rebuilt,
    )?;
    if account.is_rebuilt {
        let missing = Missing {
            lines: missing,
            letters: lost_letters,
        };
        rebuild::finish(evidence, ledger, &mut batch, missing, now);
    }
    for (generation, unsealed) in &found.unsealed {
        for id in &unsealed.ids {
            dedup.insert(*generation, *id);
        }
    }
    let head = found.head(root, trust.stamp(), wall)?;
    let noted = trust.believed_reading();
    if let Some(now) = noted {
        ledger.state.wall = now.wall;
        rows::put_clocks(&mut batch, now);
    }
    let identity = match options.adopt {
        true => {
            ledger.doubt_everything(clock.now());
            identity.adopted(options.machine_id.as_deref())
        }
        false => identity,
    };
    // A copy for `verify --repair`: without the key in it no messageId is known again.
    if account.meta.store.get(&Row::Identity.key())?.as_deref() != Some(identity.text().as_bytes())
    {
        batch.put(&Row::Identity.key(), identity.text().into_bytes());
    }
    account.meta.commit(batch, &mut ledger.state)?;
    if options.adopt {
        identity.write(root)?;
    }
    let is_whole =
        !account.is_rebuilt && !found.damaged && ledger.state.set_aside == set_aside_before;
    evidence::settle_copies(evidence, is_whole)?;

    let census = ledger.census();
    if census.imbalance() != 0 {
        evidence.found(
            "the ledger",
            format!(
                "it does not add up: {} accepted events are unaccounted for",
                census.imbalance()
            ),
            "keep the folder as it is and compare with a backup",
        );
    }
    Ok(Recovered {
        identity,
        is_unclean: !high.clean,
        last_wall: wall,
        found,
        dead,
        trust,
        handover: Handover {
            lock: begun.lock,
            high: high_file,
            meta: account.meta,
            ledger: account.ledger,
            dedup,
            head,
            purged,
            noted,
        },
    })
}

/// Opens the dead letters; those that cannot be read are set aside, those that events of the line
/// have replaced are gone. Gives too how many may be lost of which the account says nothing.
fn open_letters(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    is_rebuilt: bool,
    found: &Generations,
    roll_bytes: u64,
    now: Millis,
) -> Result<(DeadLetters, u64), StoreError> {
    let lost = match is_rebuilt {
        true => rebuild::recount_letters(evidence, ledger, batch)?,
        false => 0,
    };
    // Their replacements were committed; a crash came before `meta` took note.
    let mut replaced = found.retried.clone();
    replaced.retain(|number| ledger.is_dead(*number));
    replaced.sort_unstable();
    replaced.dedup();
    let mut mending = Mending {
        evidence,
        ledger,
        batch,
        now,
    };
    let mut dead = DeadLetters::open(&mut mending, roll_bytes)?;
    for number in replaced {
        if ledger.is_dead(number) {
            if let Some(reason) = dead.take_out(number) {
                ledger.uncount_dead(number, reason);
                ledger.put_period_of(batch, number);
            }
            ledger.retire_letter(batch, number);
        } else {
            // Just set aside as a letter that cannot be read; its event stands in the line.
            ledger.state.set_aside -= 1;
        }
    }
    if is_rebuilt {
        rebuild::one_event_one_place(ledger, batch, &mut dead, found)?;
    }
    Ok((dead, lost))
}

/// Sets aside numbers that were accepted and that no store holds any more; how many. While the
/// account is made anew they are settled only, and counted at its end.
fn set_missing_aside(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    found: &Generations,
    is_rebuilt: bool,
    now: Millis,
) -> u64 {
    let mut missing = RangeSet::default();
    let (low, last) = (ledger.cursor.low_water(), ledger.state.last_seq);
    if low <= last {
        missing.insert(low..=last);
    }
    for (first, last) in found
        .held
        .iter()
        .chain(ledger.cursor.above().clone().iter())
    {
        missing.remove(first..=last);
    }
    let count = missing.count();
    for (first, last) in missing.iter().collect::<Vec<_>>() {
        let counted = ledger.state.set_aside;
        let lost = ledger.set_line_aside(batch, first, last);
        let object = format!("events {first} to {last}");
        if is_rebuilt {
            ledger.state.set_aside = counted;
        } else {
            ledger.lose(batch, LossKind::Events, &object, lost, now);
        }
        let what = format!("{lost} events were acknowledged and are in no store");
        evidence.found(&object, what, "they are set aside");
    }
    count
}

/// The inventory went with the account: of which messageIds files are missing shows in the gaps
/// between those that are there, and where there is none at all.
fn tell_forgotten(
    evidence: &Evidence<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    found: &Generations,
    covered: &RangeSet<Generation>,
    now: Millis,
) {
    let files: Vec<_> = ledger.files.values().map(|file| file.coverage).collect();
    let mut gaps = Vec::new();
    for (before, after) in files.iter().zip(files.iter().skip(1)) {
        let between = before.generations.1.next().0..after.generations.0.0;
        if between
            .clone()
            .any(|g| !found.unsealed.contains_key(&Generation(g)))
        {
            let first = after.last_seq.0.saturating_sub(after.count);
            gaps.push(first.saturating_sub(before.last_seq.0).max(1));
        }
    }
    if covered.count() == 0 {
        let first_held = found.held.iter().next().map(|(first, _)| first);
        gaps.push(first_held.unwrap_or(ledger.state.last_seq.next()).0 - 1);
    }
    let count: u64 = gaps.iter().sum();
    if count > 0 {
        ledger.lose(batch, LossKind::MessageIds, "seen", count, now);
        let what = format!("files are missing: up to {count} ids are no longer remembered");
        evidence.found("seen", what, "duplicates are possible for one dedup window");
    }
}
