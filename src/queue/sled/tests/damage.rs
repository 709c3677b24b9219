//! Damage of every kind to a queue that holds something of everything: it opens, or refuses in
//! so many words; it tells what is missing; it delivers the rest; and `verify` finds what
//! opening finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::prelude::*;
use super::support::{block_on, copy, names, until};
use crate::queue::Queue;
use crate::queue::block::BlockBuilder;
use crate::queue::contract::{
    DeadReason, LetterKey, LetterNumber, Loss, LossKind, Outcome, Verdict,
};
use crate::queue::record::codec;
use crate::queue::sled::repair::repair;
use crate::queue::sled::tests::cut_short::logged;
use crate::queue::sled::verify::verify;

pub const START: Millis = 1_800_000_000_000;

/// What the clients and Pinterest know of the queue.
#[derive(Default, Clone)]
pub struct Known {
    /// Acknowledged: id → its last bytes.
    pub accepted: BTreeMap<u64, String>,
    pub delivered: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

pub fn options(path: &Path) -> Options {
    Options {
        min_free: 0,
        roll_events: 40,
        ..Options::new(path)
    }
}

/// What `verify` says of a folder.
pub fn check(path: &Path) -> Result<Verdict, OpenError> {
    verify(&options(path), &Clock::manual(START), &mut |_| {})
}

pub fn body(id: u64, version: u8) -> String {
    // As random as real events: what compresses to nothing leaves nothing to damage.
    let noise = codec::checksum(&id.to_le_bytes(), &[version]);
    let more = codec::checksum(&noise.to_le_bytes(), b"more");
    format!("{{\"id\":{id},\"v\":{version},\"noise\":\"{noise:016x}{more:016x}\"}}")
}

pub fn id_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    let digits = text.strip_prefix("{\"id\":").unwrap();
    digits.split(',').next().unwrap().parse().unwrap()
}

pub async fn send(queue: &Queue, ids: std::ops::Range<u64>, version: u8, known: &mut Known) {
    let mut builder = BlockBuilder::new(queue.hasher(), START);
    for id in ids.clone() {
        builder.push(
            &format!("m{id}"),
            START / 1000,
            body(id, version).as_bytes(),
        );
    }
    let pending = queue.enqueue(builder.finish()).await.unwrap();
    for (receipt, id) in pending.receipts().await.unwrap().into_iter().zip(ids) {
        if receipt != Receipt::Duplicate {
            known.accepted.insert(id, body(id, version));
            known.dead.remove(&id);
        }
    }
}

/// Claims `count` events and ends them as `outcome` says of each.
pub async fn end(queue: &Queue, count: usize, known: &mut Known, outcome: impl Fn(u64) -> Outcome) {
    let turn = queue.turn().await.unwrap();
    let mut left = count;
    while left > 0 {
        let claimed = turn.claim(left, 1 << 20).await.unwrap();
        left -= claimed.len();
        let events = claimed.iter().map(|e| (e.id, "checkout".into())).collect();
        turn.mark(Mark { events }).await.unwrap();
        let mut settlements = Vec::new();
        for entry in claimed {
            let id = id_of(&entry.body);
            let outcome = outcome(id);
            match outcome {
                Outcome::Delivered => drop(known.delivered.insert(id)),
                Outcome::Dead { .. } => drop(known.dead.insert(id)),
                Outcome::Deferred { .. } | Outcome::Forgotten => {}
            }
            settlements.push(Settlement { entry, outcome });
        }
        turn.settle(settlements).await.unwrap();
    }
}

/// The dead letters of these events.
async fn letters(queue: &Queue, which: impl Fn(u64) -> bool) -> Vec<LetterKey> {
    let page = queue.dead_page(LetterNumber(1)..=LetterNumber(u64::MAX), Arc::new(|_| true));
    let letters = page.await.unwrap().letters.into_iter();
    let wanted = letters.filter(|letter| which(id_of(&letter.body)));
    wanted.map(|letter| letter.key).collect()
}

/// Purges these events: like the delivered ones, they are not to be sent.
async fn purge(queue: &Queue, known: &mut Known, which: impl Fn(u64) -> bool) {
    let letters = letters(queue, &which).await;
    let purged = queue.purge(letters).await.unwrap();
    let gone: Vec<u64> = known.dead.iter().copied().filter(|id| which(*id)).collect();
    assert_eq!(purged, gone.len() as u64);
    for id in gone {
        known.dead.remove(&id);
        known.delivered.insert(id);
    }
}

pub fn refused() -> Outcome {
    Outcome::Dead {
        reason: DeadReason::Refused,
        message: "no".into(),
    }
}

/// Several generations, sealed, settled in part and not at all; dead letters, some retried; an
/// event deferred; marks. Then a kill.
pub fn rich(home: &Path) -> Known {
    let path = home.join("made");
    let mut known = Known::default();
    block_on(async {
        let clock = Clock::manual(START);
        let engine = SledEngine::open(options(&path), clock.clone()).unwrap();
        let queue = Queue::sled(engine.clone());
        // A period of dead letters that were all purged: its list is left.
        send(&queue, 1000..1010, 0, &mut known).await;
        end(&queue, 10, &mut known, |_| refused()).await;
        purge(&queue, &mut known, |_| true).await;
        clock.advance(Duration::from_secs(61));
        engine.tick();
        queue.barrier().await.unwrap();
        assert_eq!(std::fs::read_dir(path.join("purged")).unwrap().count(), 1);
        for at in 0..30 {
            send(&queue, at * 10..at * 10 + 10, 0, &mut known).await;
            // A housekeeper that is late would make fewer generations, and larger ones.
            let head = Generation((at + 2) * 10 / options(&path).roll_events + 1);
            let newest = || lock(&engine.shared().claims).generations.numbers().pop();
            until(&queue, "the next generation", || newest() >= Some(head)).await;
        }
        end(&queue, 120, &mut known, |id| match id % 20 {
            3 | 4 => refused(),
            5 if id < 100 => Outcome::Deferred { failures: 8 },
            _ => Outcome::Delivered,
        })
        .await;
        // Some of the dead come back with other bytes.
        send(&queue, 3..5, 1, &mut known).await;
        send(&queue, 23..25, 1, &mut known).await;
        // Others are purged by name, or go back as they are.
        purge(&queue, &mut known, |id| (43..45).contains(&id)).await;
        let letters = letters(&queue, |id| (63..65).contains(&id)).await;
        assert_eq!(queue.retry(letters).await.unwrap(), 2);
        // They stay in `known.dead`: an account made anew may know them as that again.
        queue.close().await.unwrap();
        let queue = Queue::sled(SledEngine::open(options(&path), clock.clone()).unwrap());
        send(&queue, 300..360, 0, &mut known).await;
        let turn = queue.turn().await.unwrap();
        let claimed = turn.claim(30, 1 << 20).await.unwrap();
        let events = claimed.iter().map(|e| (e.id, "checkout".into())).collect();
        turn.mark(Mark { events }).await.unwrap();
        copy_at_rest(&queue, &path, &home.join("killed")).await;
        queue.close().await.unwrap();
    });
    known
}

/// The files as a kill would leave them while the housekeeper has nothing to do.
async fn copy_at_rest(queue: &Queue, from: &Path, to: &Path) {
    for _ in 0..100 {
        // One job may ask for another: what is sealed may be merged, what is spent is deleted.
        for _ in 0..3 {
            // The walk is the housekeeper's last job so far.
            let verdict = queue.verify().await.unwrap();
            assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
            // What the housekeeper did before the check is in the account after this. Without it
            // the copy may hold `high` from before the account's last write, which is then not
            // missed.
            queue.barrier().await.unwrap();
        }
        let before = files(from);
        copy(from, to);
        let is_half_made = |file: &PathBuf| file.extension().is_some_and(|end| end == "tmp");
        if !before.iter().any(is_half_made) && files(from) == before && files(to) == before {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
    }
    panic!("the housekeeper never rests");
}

/// All files of a folder, with their paths in it.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(root).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

/// What opening a damaged queue came to.
#[derive(Debug)]
pub enum Came {
    Refused(String),
    /// Set aside, and in how many places the damage was told.
    Opened {
        set_aside: u64,
        /// What is shown to the operator afterwards.
        losses: Vec<Loss>,
    },
}

/// Opens the queue, delivers all of it, and holds it to the promise.
pub fn open_and_hold(path: &Path, known: &Known, what: &str) -> Came {
    let failed: Arc<Mutex<Option<String>>> = Arc::default();
    let told = failed.clone();
    let options = Options {
        on_failure: Arc::new(move |why: &str| *told.lock().unwrap() = Some(why.into())),
        ..options(path)
    };
    let engine = match SledEngine::open(options, Clock::manual(START)) {
        Ok(engine) => engine,
        Err(error) => return Came::Refused(error.to_string()),
    };
    let queue = Queue::sled(engine);
    let census = queue.census();
    assert_eq!(census.imbalance(), 0, "{what}: {census:?}");
    let mut again = BTreeSet::new();
    block_on(async {
        let turn = queue.turn().await.unwrap();
        let claim = || {
            let turn = turn.clone();
            tokio::spawn(async move { turn.claim(50, 1 << 20).await })
        };
        // A claim that is given up may have taken something: it is awaited again instead.
        let mut claiming = claim();
        let mut idle = 0;
        loop {
            let census = queue.census();
            assert_eq!(census.imbalance(), 0, "{what}: {census:?}");
            if census.queued + census.sending == 0 {
                break;
            }
            let Ok(claimed) = tokio::time::timeout(Duration::from_millis(50), &mut claiming).await
            else {
                // What is left is being set aside by the claim, or this is a bug.
                idle += 1;
                assert!(
                    idle < 400,
                    "{what}: it hangs, {census:?} {:?}",
                    failed.lock().unwrap()
                );
                continue;
            };
            claiming = claim();
            let claimed = claimed.unwrap();
            let claimed = claimed.unwrap_or_else(|e| panic!("{what}: {e}"));
            let mut settlements = Vec::new();
            for entry in claimed {
                let id = id_of(&entry.body);
                assert_eq!(
                    Some(std::str::from_utf8(&entry.body).unwrap()),
                    known.accepted.get(&id).map(String::as_str),
                    "{what}: other bytes than were acknowledged"
                );
                assert!(again.insert(id), "{what}: event {id} stands twice");
                let outcome = Outcome::Delivered;
                settlements.push(Settlement { entry, outcome });
            }
            turn.settle(settlements).await.unwrap();
        }
        let census = queue.census();
        let queued: BTreeSet<u64> = (known.accepted.keys().copied())
            .filter(|id| !known.delivered.contains(id) && !known.dead.contains(id))
            .collect();
        let lost = queued.difference(&again).count() as u64;
        let letters = known.dead.difference(&again).count() as u64;
        let missing_letters = letters.saturating_sub(census.dead_total());
        assert!(
            lost + missing_letters <= census.set_aside,
            "{what}: {lost} events and {missing_letters} letters are gone without a word: {census:?}"
        );
        claiming.abort();
        let verdict = queue.verify().await.unwrap();
        // What is read only when a messageId is looked up, a start does not meet.
        let mut met = verdict
            .findings
            .iter()
            .filter(|f| !f.object.starts_with("seen/"));
        assert_eq!(met.next(), None, "{what}");
        assert!(
            census.delivered + census.purged <= (known.delivered.len() + again.len()) as u64,
            "{what}: more is counted as delivered than was: {census:?}"
        );
        let (set_aside, losses) = (census.set_aside, queue.losses());
        let counted = |kind| {
            let of_kind = losses.iter().filter(|loss: &&Loss| loss.kind == kind);
            of_kind.map(|loss| loss.count).sum::<u64>()
        };
        assert_eq!(
            counted(LossKind::Events) + counted(LossKind::DeadLetters),
            set_aside,
            "{what}: each loss is told with its number: {losses:?}"
        );
        queue.close().await.unwrap();
        Came::Opened { set_aside, losses }
    })
}

/// Repairs, and there is nothing left to find.
fn repair_and_hold(path: &Path, what: &str) {
    let (_, after) = repair(options(path), Clock::manual(START), &mut |_| {}).unwrap();
    assert_eq!(
        (after.findings, after.ledger_imbalance),
        (vec![], 0),
        "{what}"
    );
}

#[test]
fn an_undamaged_queue_is_found_whole() {
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    for name in ["killed", "made"] {
        let path = home.path().join(name);
        let before = files(&path).len();
        let verdict = check(&path).unwrap();
        assert_eq!(
            (verdict.findings.as_slice(), verdict.ledger_imbalance),
            (&[][..], 0),
            "{name}"
        );
        assert!(
            verdict.checked.events > 200 && verdict.checked.message_ids > 200,
            "{verdict:?}"
        );
        assert_eq!(files(&path).len(), before, "verify leaves nothing behind");
        let came = open_and_hold(&path, &known, name);
        assert!(
            matches!(came, Came::Opened { set_aside: 0, .. }),
            "{came:?}"
        );
    }
}

/// What may come of a kind of damage.
#[derive(Clone, Copy, PartialEq)]
enum May {
    /// Nothing is lost.
    Whole,
    /// Something may be, and is told.
    Lose,
    /// It is refused, and stays as it is.
    Refuse,
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    bytes.truncate(used);
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn half(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn zero_block(bytes: &mut [u8]) {
    let at = bytes.len() / 2;
    let end = (at + 4096).min(bytes.len());
    bytes[at..end].fill(0);
}

fn flip(bytes: &mut [u8]) {
    let at = bytes.len() / 3;
    bytes[at] ^= 4;
}

fn flip_header(bytes: &mut [u8]) {
    bytes[4] ^= 4;
}

fn snapshot(store: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(store).unwrap().map(|f| f.unwrap().path());
    let is_snapshot = |f: &PathBuf| {
        f.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap.")
    };
    let found = files.find(is_snapshot);
    found.unwrap_or_else(|| panic!("no snapshot in {}: {:?}", store.display(), names(store)))
}

#[test]
fn each_kind_of_damage_is_told_and_the_rest_is_delivered() {
    /// The first of which not all is settled.
    const SEALED: &str = "gen/0000000004";
    type Harm = fn(&Path);
    let kinds: &[(&str, May, Harm)] = &[
        ("a truncated store", May::Lose, |q| {
            change(&q.join(SEALED).join("db"), half)
        }),
        ("a truncated account", May::Lose, |q| {
            change(&q.join("meta/db"), half)
        }),
        ("truncated dead letters", May::Lose, |q| {
            change(&q.join("dead/0000000001/db"), half)
        }),
        ("a zeroed block", May::Lose, |q| {
            change(&q.join(SEALED).join("db"), |b| zero_block(b))
        }),
        ("a zeroed block of the account", May::Lose, |q| {
            change(&q.join("meta/db"), |b| zero_block(b))
        }),
        ("a flipped bit in data", May::Lose, |q| {
            change(&q.join(SEALED).join("db"), |b| flip(b))
        }),
        ("a flipped bit in a segment header", May::Lose, |q| {
            change(&q.join(SEALED).join("db"), |b| flip_header(b));
        }),
        ("a flipped bit in a snapshot", May::Lose, |q| {
            change(&snapshot(&q.join(SEALED)), |b| flip(b))
        }),
        ("a store without its data file", May::Lose, |q| {
            std::fs::remove_file(q.join(SEALED).join("db")).unwrap();
        }),
        ("an account without its conf", May::Lose, |q| {
            std::fs::remove_file(q.join("meta/conf")).unwrap();
        }),
        ("no account", May::Lose, |q| {
            std::fs::remove_dir_all(q.join("meta")).unwrap()
        }),
        ("no dead letters", May::Lose, |q| {
            std::fs::remove_dir_all(q.join("dead/0000000001")).unwrap();
        }),
        ("a generation that is gone", May::Lose, |q| {
            std::fs::remove_dir_all(q.join(SEALED)).unwrap();
        }),
        ("a store that reopens empty", May::Lose, |q| {
            let store = q.join(SEALED);
            std::fs::remove_file(snapshot(&store)).unwrap();
            change(&store.join("db"), |bytes| bytes.fill(0));
        }),
        ("a store that reopens shorter", May::Lose, |q| {
            let store = q.join(SEALED);
            std::fs::remove_file(snapshot(&store)).unwrap();
            change(&store.join("db"), |b| flip(b));
        }),
        ("torn snapshots", May::Whole, |q| {
            for store in [SEALED, "meta", "dead/0000000001"] {
                std::fs::write(q.join(store).join("snap.00FF.generating"), "torn").unwrap();
            }
        }),
        ("a half-deleted generation", May::Whole, |q| {
            let doomed = q.join("gen/0000000001.deleting");
            std::fs::create_dir(&doomed).unwrap();
            std::fs::write(doomed.join("conf"), "half").unwrap();
        }),
        ("a damaged high", May::Whole, |q| {
            change(&q.join("high"), |b| b.fill(0xff))
        }),
        ("no high", May::Whole, |q| {
            std::fs::remove_file(q.join("high")).unwrap()
        }),
        ("an empty high", May::Whole, |q| {
            std::fs::write(q.join("high"), "").unwrap()
        }),
        ("a newer queue", May::Refuse, |q| {
            let text = std::fs::read_to_string(q.join("format")).unwrap();
            std::fs::write(q.join("format"), text.replace("queue 1", "queue 2")).unwrap();
        }),
        ("a foreign folder", May::Refuse, |q| {
            std::fs::write(q.join("format"), "ext4\n").unwrap()
        }),
        ("no format file", May::Refuse, |q| {
            std::fs::remove_file(q.join("format")).unwrap()
        }),
    ];
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    for (kind, may, harm) in kinds {
        for from in ["killed", "made"] {
            let what = format!("{kind} ({from})");
            let path = home.path().join("harmed");
            copy(&home.path().join(from), &path);
            harm(&path);
            let verdict = check(&path);
            let before = files(&path);
            match (may, open_and_hold(&path, &known, &what)) {
                (May::Whole, Came::Opened { set_aside: 0, .. }) => {}
                (May::Lose, Came::Opened { set_aside, .. }) => {
                    let found = verdict.unwrap().findings;
                    assert!(
                        set_aside == 0 || !found.is_empty(),
                        "{what}: verify saw nothing"
                    );
                }
                (May::Refuse, Came::Refused(why)) => {
                    assert!(why.contains(&path.display().to_string()), "{what}: {why}");
                    assert_eq!(files(&path), before, "{what}");
                }
                (_, came) => panic!("{what}: {came:?}"),
            }
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

/// Xorshift: a seed is all that a run needs.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// Does one thing to one file, or to a whole folder; says what, and to which file.
pub fn harm(root: &Path, draw: &mut Draw) -> (String, PathBuf) {
    let all = files(root);
    let file = &all[draw.below(all.len() as u64) as usize];
    let path = root.join(file);
    let shown = file.display();
    let mut bytes = std::fs::read(&path).unwrap();
    // Stores are preallocated; what lies beyond their end is nothing.
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    let at = draw.below(used as u64) as usize;
    let what = match draw.below(7) {
        0 => {
            std::fs::remove_file(&path).unwrap();
            return (format!("{shown} removed"), file.clone());
        }
        6 => {
            let folders = ["meta", "gen", "dead", "seen", "purged"];
            let folder = folders[draw.below(folders.len() as u64) as usize];
            // A harm before may have taken it.
            let _ = std::fs::remove_dir_all(root.join(folder));
            return (format!("{folder} removed"), folder.into());
        }
        1 => {
            bytes.truncate(at);
            format!("{shown} cut at {at}")
        }
        2 => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
            format!("{shown} zeroed from {at} to {end}")
        }
        _ if used > 0 => {
            let bit = draw.below(8);
            bytes[at] ^= 1 << bit;
            format!("{shown} bit {bit} of byte {at} flipped")
        }
        _ => return (format!("{shown} left alone"), file.clone()),
    };
    std::fs::write(&path, bytes).unwrap();
    (what, file.clone())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().expect(name))
}

/// The seeds of a run: so many, unless `PINRELAY_DAMAGE_RUNS` or `PINRELAY_DAMAGE_SEED` say
/// otherwise.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let runs = number("PINRELAY_DAMAGE_RUNS").unwrap_or(usual);
    number("PINRELAY_DAMAGE_SEED").map_or(1..runs + 1, |seed| seed..seed + 1)
}

/// A copy of one of the queues that [`rich`] made, with one thing done to it; and what.
pub fn harmed(home: &Path, seed: u64) -> (PathBuf, String, Option<PathBuf>) {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let from = ["killed", "made"][draw.below(2) as usize];
    let path = home.join(format!("run-{seed}"));
    copy(&home.join(from), &path);
    let (mut what, file) = harm(&path, &mut draw);
    if draw.below(5) == 0 {
        // Trouble seldom comes alone.
        what = format!("{}, {what}", harm(&path, &mut draw).0);
    }
    let stored = file.parent().map(|folder| path.join(folder));
    let what = format!("PINRELAY_DAMAGE_SEED={seed}: {from}/{what}");
    println!("{what}");
    (path, what, stored)
}

/// `PINRELAY_DAMAGE_RUNS` asks for more than usual, `PINRELAY_DAMAGE_SEED` repeats one run.
#[test]
fn any_damage_is_told_and_the_rest_is_delivered() {
    let home = TempDir::new().unwrap();
    let known = rich(home.path());
    let (mut opened, mut refused, mut lossy) = (0, 0, 0);
    let (mut blind, mut bare) = (Vec::new(), Vec::new());
    for seed in seeds(60) {
        let (path, what, stored) = harmed(home.path(), seed);
        let verdict = check(&path);
        let mut came = None;
        let log = logged(|| came = Some(open_and_hold(&path, &known, &what)));
        match came.unwrap() {
            Came::Refused(why) => {
                assert!(why.contains(&path.display().to_string()), "{what}: {why}");
                let found = verdict.map_or(true, |v| !v.findings.is_empty());
                assert!(
                    found,
                    "{what}: a start refuses it, and verify finds nothing: {why}"
                );
                repair_and_hold(&path, &what);
                refused += 1;
            }
            Came::Opened { set_aside, losses } => {
                opened += 1;
                lossy += u64::from(set_aside > 0);
                let has_evidence = std::fs::read_dir(path.join("quarantine")).unwrap().count() > 0
                    || stored.as_ref().is_some_and(|store| store.exists());
                if set_aside > 0 && !what.contains(" removed") && !has_evidence {
                    bare.push(what.clone());
                }
                let found = verdict.map_or(true, |v| !v.findings.is_empty());
                let told = log.contains("ERROR") || !losses.is_empty();
                if found != told {
                    blind.push(format!(
                        "{what}: verify {found}, start {told}: {log}{losses:?}"
                    ));
                }
                repair_and_hold(&path, &what);
            }
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    println!("{opened} opened, {lossy} of them with a loss that was told; {refused} refused");
    assert!(
        blind.is_empty(),
        "verify and the start do not agree: {blind:#?}"
    );
    assert!(
        bare.is_empty(),
        "set aside, and nothing is kept of it: {bare:#?}"
    );
}

/// The rows of a store, as sled holds them: key and sealed value.
fn rows(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = sled::Config::new()
        .path(path)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let row = |row: sled::Result<(sled::IVec, sled::IVec)>| {
        let (key, value) = row.unwrap();
        (key.to_vec(), value.to_vec())
    };
    db.iter().map(row).collect()
}

fn places(bytes: &[u8], of: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(of.len()).enumerate();
    windows
        .filter(|(_, w)| *w == of)
        .map(|(at, _)| at)
        .collect()
}

/// Any byte of any stored value: its copies in the store's file are all changed, so the live one
/// is among them. `PINRELAY_FLIPS` asks for more than usual.
#[test]
fn a_changed_byte_of_a_stored_value_is_found() {
    let home = TempDir::new().unwrap();
    rich(home.path());
    let from = home.path().join("killed");
    let scratch = home.path().join("scratch");
    let mut stores = vec![PathBuf::from("meta"), PathBuf::from("dead/0000000001")];
    for generation in std::fs::read_dir(from.join("gen")).unwrap() {
        stores.push(Path::new("gen").join(generation.unwrap().file_name()));
    }
    let mut values = Vec::new();
    for store in &stores {
        copy(&from.join(store), &scratch);
        for (key, value) in rows(&scratch) {
            values.push((store.clone(), key, value));
        }
        std::fs::remove_dir_all(&scratch).unwrap();
    }
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let (flips, mut changed, mut unseen) = (number("PINRELAY_FLIPS").unwrap_or(50), 0, Vec::new());
    while changed < flips {
        let (store, key, value) = &values[draw.below(values.len() as u64) as usize];
        let path = home.path().join("flipped");
        copy(&from, &path);
        let db = path.join(store).join("db");
        let mut bytes = std::fs::read(&db).unwrap();
        let found = places(&bytes, value);
        let at = draw.below(value.len() as u64) as usize;
        let bit = draw.below(8);
        for place in &found {
            bytes[place + at] ^= 1 << bit;
        }
        std::fs::write(&db, bytes).unwrap();
        if !found.is_empty() {
            changed += 1;
            let verdict = check(&path).unwrap();
            if verdict.findings.is_empty() {
                unseen.push(format!(
                    "{} key {key:02x?} byte {at} bit {bit}",
                    store.display()
                ));
            }
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    assert_eq!(unseen, Vec::<String>::new());
}
