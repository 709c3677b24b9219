//! What every engine is tested with: how it is opened, reopened, killed and robbed of its turn, and
//! how what it says is compared with what the reference says. A further engine is one more
//! `impl Bench`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::sled::{self, SledEngine};
use super::*;
use crate::clock::{Clock, Millis};

pub(super) const START: Millis = 1_800_000_000_000;

/// What a queue under test goes by.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) dedup_window: Duration,
    pub(super) dead_retention: Duration,
    /// Events after which a piece of the line is full, for engines that store it in pieces.
    pub(super) piece_events: u64,
}

/// An engine under test, over as many lives as it is given.
pub(super) trait Bench: Sized {
    /// An empty queue, whose clock is believed.
    async fn open(clock: &Clock, rules: Rules) -> (Self, Queue);

    /// It stops in order, and starts again.
    async fn reopen(&mut self) -> Queue;

    /// It is killed, and starts again: what was awaited is there.
    async fn crash(&mut self) -> Queue;

    /// What follows is lines that [`Bench::tear`] tears.
    async fn brace(&mut self) {}

    /// It is killed when the lines that came since [`Bench::brace`] were stored and nothing else
    /// was, and starts again. An engine that stores all of it at once is just killed.
    async fn tear(&mut self) -> Queue {
        self.crash().await
    }

    /// Takes the right to deliver from whoever has `turn`.
    async fn take_away(&self, turn: &Turn);

    /// Has it do what is due by the clock.
    async fn tick(&self) {}

    /// Resolves when it has nothing more to do by itself, and all that it holds is sound.
    async fn rest(&self) {}

    /// Whether it remembers this messageId, or the event waits.
    async fn remembers(&self, message_id: &str) -> bool;
}

/// The reference.
pub(super) struct Memory {
    pub(super) engine: MemoryEngine,
}

impl Memory {
    fn queue(&self) -> Queue {
        Queue::memory(self.engine.clone())
    }
}

impl Bench for Memory {
    async fn open(clock: &Clock, rules: Rules) -> (Self, Queue) {
        let window = Millis::try_from(rules.dedup_window.as_millis()).unwrap();
        let engine = MemoryEngine::new(clock.clone(), window);
        let bench = Self { engine };
        let queue = bench.queue();
        (bench, queue)
    }

    async fn reopen(&mut self) -> Queue {
        self.engine.reopen();
        self.queue()
    }

    async fn crash(&mut self) -> Queue {
        self.reopen().await
    }

    async fn take_away(&self, _turn: &Turn) {
        self.engine.take_turn_away();
    }

    async fn remembers(&self, message_id: &str) -> bool {
        self.engine.remembers(message_id)
    }
}

/// The durable engine in a folder of its own for each life.
pub(super) struct Sled {
    home: TempDir,
    lives: u32,
    clock: Clock,
    rules: Rules,
    pub(super) engine: SledEngine,
}

impl Sled {
    fn folder(&self, life: u32) -> PathBuf {
        self.home.path().join(format!("queue-{life}"))
    }

    fn start(path: PathBuf, clock: &Clock, rules: &Rules) -> SledEngine {
        let options = sled::Options {
            min_free: 0,
            roll_events: rules.piece_events,
            dedup_window: rules.dedup_window,
            dead_retention: rules.dead_retention,
            ..sled::Options::new(path)
        };
        SledEngine::open(options, clock.clone())
            .unwrap()
            .confirmed()
    }

    async fn next_life(&mut self) -> Queue {
        self.engine.close().await.unwrap();
        self.lives += 1;
        self.engine = Self::start(self.folder(self.lives), &self.clock, &self.rules);
        Queue::sled(self.engine.clone())
    }
}

impl Bench for Sled {
    async fn open(clock: &Clock, rules: Rules) -> (Self, Queue) {
        let home = TempDir::new().unwrap();
        let engine = Self::start(home.path().join("queue-0"), clock, &rules);
        let queue = Queue::sled(engine.clone());
        let bench = Self {
            home,
            lives: 0,
            clock: clock.clone(),
            rules,
            engine,
        };
        (bench, queue)
    }

    async fn reopen(&mut self) -> Queue {
        self.engine.close().await.unwrap();
        self.engine = Self::start(self.folder(self.lives), &self.clock, &self.rules);
        Queue::sled(self.engine.clone())
    }

    async fn crash(&mut self) -> Queue {
        // What is in the files now is what a kill would leave: every operation was awaited, but
        // for doubt and release, and this is behind them.
        self.engine.settle(Vec::new()).await.unwrap();
        crash_image(&self.folder(self.lives), &self.folder(self.lives + 1));
        self.next_life().await
    }

    async fn brace(&mut self) {
        self.rest().await;
        crash_image(&self.folder(self.lives), &self.folder(self.lives + 1));
    }

    async fn tear(&mut self) -> Queue {
        let image = self.folder(self.lives + 1);
        std::fs::remove_dir_all(image.join("gen")).unwrap();
        crash_image(&self.folder(self.lives).join("gen"), &image.join("gen"));
        self.next_life().await
    }

    async fn take_away(&self, turn: &Turn) {
        // Nobody else can have it; its holder is told all the same.
        turn.clone().end().await;
    }

    async fn tick(&self) {
        self.engine.tick();
    }

    /// What the housekeeper was asked for is done, and what follows from that: a generation is
    /// prepared, the head rolls, the old one is sealed, what is spent is deleted.
    async fn rest(&self) {
        for _ in 0..3 {
            // The walk is the housekeeper's last job so far.
            let verdict = self.engine.verify().await.unwrap();
            assert_eq!((verdict.findings, verdict.ledger_imbalance), (vec![], 0));
            self.engine.settle(Vec::new()).await.unwrap();
        }
    }

    async fn remembers(&self, message_id: &str) -> bool {
        self.engine.remembers(message_id).await
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files as a kill would leave them. Every operation was awaited, so only the housekeeper
/// may be at work; what it moves under the copier's hands makes the copier begin again.
pub(super) fn crash_image(from: &Path, to: &Path) {
    while let Err(error) = copy(from, to) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        std::fs::remove_dir_all(to).unwrap();
    }
}

/// A queue under test and the claims held from it.
pub(super) struct Subject {
    pub(super) queue: Queue,
    pub(super) turn: Turn,
    pub(super) held: Vec<Entry>,
}

impl Subject {
    pub(super) async fn new(queue: Queue) -> Self {
        Self {
            turn: queue.turn().await.unwrap(),
            queue,
            held: Vec::new(),
        }
    }

    fn block(&self, events: &[(u8, u8)], at: Millis) -> Block {
        let mut builder = BlockBuilder::new(self.queue.hasher(), at);
        builder.count_ignored();
        for (id, body) in events {
            let body = format!("{{\"id\":{id},\"body\":{body}}}");
            builder.push(
                &format!("message-{id}"),
                at / 1000 - i64::from(*id),
                body.as_bytes(),
            );
        }
        builder.finish()
    }

    pub(super) async fn enqueue(&self, events: &[(u8, u8)], at: Millis) -> Vec<Receipt> {
        let pending = self.queue.enqueue(self.block(events, at)).await.unwrap();
        pending.receipts().await.unwrap()
    }

    pub(super) fn ids(&self, at: &[usize]) -> Vec<EntryId> {
        let mut ids: Vec<_> = at
            .iter()
            .filter_map(|at| self.held.get(*at))
            .map(|e| e.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// All dead letters, by number.
    pub(super) async fn dead(&self) -> Vec<Letter> {
        let (mut letters, mut from) = (Vec::new(), Some(LetterNumber(0)));
        while let Some(first) = from {
            let page = self
                .queue
                .dead_page(first..=LetterNumber(u64::MAX), Arc::new(|_| true));
            let mut page = page.await.unwrap();
            letters.append(&mut page.letters);
            from = page.next;
        }
        letters
    }

    pub(super) async fn some_dead(&self, at: &[usize]) -> Vec<LetterKey> {
        let dead = self.dead().await;
        let some = at.iter().filter_map(|at| dead.get(*at));
        some.map(|letter| letter.key).collect()
    }

    /// Gives up what has these ids, by the bodies of [`Subject::enqueue`].
    pub(super) async fn forget(&self, ids: &[u8], is_dry_run: bool) -> Forgotten {
        let named: Vec<String> = ids.iter().map(|id| format!("{{\"id\":{id},")).collect();
        let is_theirs = move |_: u128, body: &[u8]| {
            named.iter().any(|named| body.starts_with(named.as_bytes()))
        };
        let forgotten = self.queue.forget(Arc::new(is_theirs), is_dry_run);
        forgotten.await.unwrap()
    }

    pub(super) async fn import(&self, events: &[(u8, u8)], at: Millis) -> Vec<Imported> {
        let hasher = self.queue.hasher();
        let import = |(id, body): &(u8, u8)| {
            let body = format!("{{\"id\":{id},\"body\":{body}}}").into();
            let event_time = at / 1000 - i64::from(*id);
            Import::new(&hasher, &format!("message-{id}"), at, event_time, body)
        };
        let events = events.iter().map(import).collect();
        self.queue.import(events).await.unwrap()
    }

    /// Another takes over, and this one, whose turn is over, goes on as if it were not: in vain.
    /// `late`: when the other has begun.
    pub(super) async fn gives_way(self, late: bool) -> Self {
        let queue = self.queue.clone();
        if late {
            let next = Self::new(queue).await;
            self.has_lost().await;
            next
        } else {
            self.has_lost().await;
            Self::new(queue).await
        }
    }

    async fn has_lost(self) {
        let ids: Vec<EntryId> = self.held.iter().map(|entry| entry.id).collect();
        let events = ids.iter().map(|id| (*id, "late".into())).collect();
        let marked = self.turn.mark(Mark { events }).await;
        assert!(matches!(marked, Err(QueueError::TurnOver)), "{marked:?}");
        self.turn.release(&ids);
        self.turn.doubt(&ids);
        let claimed = self.turn.claim(1, 1 << 20).await;
        assert!(matches!(claimed, Err(QueueError::TurnOver)), "{claimed:?}");
        let delivered = |entry| Settlement {
            entry,
            outcome: Outcome::Delivered,
        };
        let settlements = self.held.into_iter().map(delivered).collect();
        let settled = self.turn.settle(settlements).await;
        assert!(matches!(settled, Err(QueueError::TurnOver)), "{settled:?}");
        // It cannot give back what is another's.
        self.turn.end().await;
    }

    pub(super) async fn settle(&mut self, at: &[(usize, u8)]) {
        let mut settlements = Vec::new();
        for (at, how) in at {
            if *at >= self.held.len() {
                continue;
            }
            let entry = self.held.remove(*at);
            let outcome = match how {
                0 | 1 => Outcome::Dead {
                    reason: DeadReason::ALL[usize::from(*how)],
                    message: "words".into(),
                },
                2 => Outcome::Deferred {
                    failures: entry.failures + 1,
                },
                _ => Outcome::Delivered,
            };
            settlements.push(Settlement { entry, outcome });
        }
        self.turn.settle(settlements).await.unwrap();
    }
}

/// Which number of the engine under test stands for which one of the reference's. Their values may
/// differ, for numbers may have gaps; their order may not.
#[derive(Default)]
pub(super) struct Pairs(BTreeMap<EntryId, EntryId>);

impl Pairs {
    pub(super) fn pair(&mut self, expected: EntryId, found: EntryId) {
        let is_line = |id: EntryId| matches!(id.origin(), Origin::Line(_));
        assert_eq!(is_line(found), is_line(expected), "{found:?}, {expected:?}");
        let before = self.0.range(..expected).next_back();
        assert!(
            before.is_none_or(|(_, other)| *other < found),
            "{found:?} comes before {before:?}"
        );
        let after = self.0.range(expected..).find(|(id, _)| **id > expected);
        assert!(
            after.is_none_or(|(_, other)| *other > found),
            "{found:?} comes after {after:?}"
        );
        let known = *self.0.entry(expected).or_insert(found);
        assert_eq!(known, found, "{expected:?} has another number now");
    }

    /// The number that stands for this one, if they have met.
    pub(super) fn of(&self, expected: EntryId) -> Option<EntryId> {
        self.0.get(&expected).copied()
    }

    /// These were claimed at once.
    pub(super) fn claimed(&mut self, expected: &[Entry], found: &[Entry]) {
        for (expected, found) in expected.iter().zip(found) {
            self.pair(expected.id, found.id);
        }
    }

    /// These are all the dead letters.
    pub(super) fn dead(&mut self, expected: &[Letter], found: &[Letter]) {
        let id = |letter: &Letter| EntryId::dead(letter.key.number());
        for (expected, found) in expected.iter().zip(found) {
            self.pair(id(expected), id(found));
        }
    }

    /// Both were found under one messageId.
    pub(super) fn found(&mut self, expected: &Found, found: &Found) {
        match (expected, found) {
            (Found::Queued { id: expected, .. }, Found::Queued { id, .. }) => {
                self.pair(*expected, *id);
            }
            (Found::Dead(expected), Found::Dead(letter)) => {
                let number = |letter: &Letter| EntryId::dead(letter.key.number());
                self.pair(number(expected), number(letter));
            }
            (Found::Purged { number: expected }, Found::Purged { number }) => {
                self.pair(EntryId::dead(*expected), EntryId::dead(*number));
            }
            _ => {}
        }
    }
}

/// All of a claim but its number.
pub(super) type Seen = (u128, Millis, i64, Vec<u8>, Option<String>, u32);

pub(super) fn seen(entry: &Entry) -> Seen {
    (
        // The engines' keys differ; the low byte of the body tells the id as well.
        0,
        entry.accepted_at,
        entry.event_time,
        entry.body.to_vec(),
        entry.sent_as.as_ref().map(ToString::to_string),
        entry.failures,
    )
}

/// All of a letter but its number.
pub(super) type Shown = (DeadReason, Millis, i64, Millis, String, Vec<u8>);

pub(super) fn shown(letter: &Letter) -> Shown {
    (
        letter.key.reason(),
        letter.accepted_at,
        letter.event_time,
        letter.died_at,
        letter.message.clone(),
        letter.body.to_vec(),
    )
}

/// What is found, with what both engines know, but for its number; a stored mark keeps its time, a
/// crash may not.
pub(super) fn whereabouts(found: &Found) -> String {
    match found {
        Found::Queued {
            id,
            accepted_at,
            sent,
        } => {
            let kind = match id.origin() {
                Origin::Line(_) => "line",
                Origin::Dead(_) => "dead",
            };
            format!("{kind}, of {accepted_at}, {sent:?}")
        }
        Found::Dead(letter) => format!("dead {:?}", shown(letter)),
        Found::Settled { .. } => "settled".into(),
        Found::Purged { .. } => "purged".into(),
        found => format!("{found:?}"),
    }
}

pub(super) fn claimable(census: &Census, held: usize) -> bool {
    census.queued + census.sending > held as u64
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
