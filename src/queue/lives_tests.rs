//! No messageId has two lives at once: random orders of everything that begins, ends or forgets
//! one, on each durable engine in lockstep with the reference, over stops, kills, kills between the
//! two writes of an acceptance, the passing of the window and of the letters' retention.
//!
//! `PINRELAY_LIVES` sets how many orders are tried (12, and a third of it on PostgreSQL).

use std::time::Duration;

use proptest::prelude::*;

use super::bench_tests::{
    Bench, Memory, Pairs, Rules, START, Sled, Subject, block_on, claimable, seen, whereabouts,
};
#[cfg(feature = "postgres")]
use super::postgres_bench_tests::{Postgres, block_on_postgres};
use super::*;
use crate::clock::{Clock, Millis};

/// Few, so that each meets its own past.
const IDS: u8 = 3;
const WINDOW: Duration = Duration::from_secs(600);
const RETENTION: Duration = Duration::from_secs(1_900);

#[derive(Debug, Clone)]
enum Op {
    /// Lines of clients: ids with one of two bodies.
    Send(Vec<(u8, u8)>),
    /// The operator's, of ids whatever became of them.
    Import(Vec<(u8, u8)>),
    /// Everything that waits is claimed, and some of it ends.
    End(Vec<End>),
    /// Of the dead letters, by their place among them.
    Retry(Vec<usize>),
    Purge(Vec<usize>),
    /// A person's events, wherever they are, also in hand.
    Forget(u8),
    Pass(Time),
    /// A stop in order.
    Restart,
    /// Kill -9.
    Crash,
    /// Kill -9 after lines are committed, before the account takes note of whom they replace.
    Torn(Vec<(u8, u8)>),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Delivered,
    Dead,
    Deferred,
    /// It stays in hand.
    Not,
}

#[derive(Debug, Clone, Copy)]
enum Time {
    HalfAWindow,
    Window,
    Retention,
}

impl Time {
    fn long(self) -> Duration {
        match self {
            Self::HalfAWindow => WINDOW / 2 + Duration::from_millis(1),
            Self::Window => WINDOW + Duration::from_millis(1),
            Self::Retention => RETENTION + Duration::from_millis(1),
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let events = || prop::collection::vec((0..IDS, 0u8..2), 1..4);
    let some = || prop::collection::vec(0usize..3, 1..3);
    let end = prop_oneof![
        3 => Just(End::Delivered),
        3 => Just(End::Dead),
        1 => Just(End::Deferred),
        1 => Just(End::Not),
    ];
    let time = prop_oneof![
        2 => Just(Time::HalfAWindow),
        3 => Just(Time::Window),
        1 => Just(Time::Retention),
    ];
    let op = prop_oneof![
        5 => events().prop_map(Op::Send),
        2 => events().prop_map(Op::Import),
        5 => prop::collection::vec(end, 1..4).prop_map(Op::End),
        2 => some().prop_map(Op::Retry),
        2 => some().prop_map(Op::Purge),
        2 => (0..IDS).prop_map(Op::Forget),
        4 => time.prop_map(Op::Pass),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
        1 => events().prop_map(Op::Torn),
    ];
    prop::collection::vec(op, 4..24)
}

/// How many orders are tried: 10,000 for the record, few in the usual suite.
fn runs() -> u32 {
    std::env::var("PINRELAY_LIVES").map_or(12, |n| n.parse().expect("PINRELAY_LIVES"))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, ..ProptestConfig::with_cases(runs()) })]
    #[test]
    fn no_id_has_two_lives(ops in ops()) {
        block_on(lives::<Sled>(ops));
    }
}

#[cfg(feature = "postgres")]
proptest! {
    // Each passing of time makes and drops tables of the server's.
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 100,
        ..ProptestConfig::with_cases(runs().div_ceil(3))
    })]
    #[test]
    fn no_id_has_two_lives_on_postgres(ops in ops()) {
        block_on_postgres(lives::<Postgres>(ops));
    }
}

async fn lives<B: Bench>(ops: Vec<Op>) {
    let mut world = World::<B>::new().await;
    for op in ops {
        world.step(&op).await;
    }
    world.real.queue.close().await.unwrap();
}

fn name(id: u8) -> String {
    format!("message-{id}")
}

/// The id in a body of the contract's making.
fn id_of(body: &[u8]) -> u8 {
    let digits = body.iter().filter(|byte| byte.is_ascii_digit());
    digits.take(1).fold(0, |_, byte| byte - b'0')
}

fn rules() -> Rules {
    Rules {
        // Each piece is full with its first event, so that time alone decides what is known.
        piece_events: 1,
        dedup_window: WINDOW,
        dead_retention: RETENTION,
    }
}

/// What one id went through, as whoever sends and delivers sees it.
#[derive(Default, Clone, Copy)]
struct Past {
    delivered: bool,
    /// When it was last accepted, retried or taken back, or delivered from the dead letters.
    last: Millis,
    /// When its letter was given up.
    purged_at: Option<Millis>,
}

struct World<B> {
    clock: Clock,
    reference: Memory,
    model: Subject,
    bench: B,
    real: Subject,
    pairs: Pairs,
    pasts: [Past; IDS as usize],
}

impl<B: Bench> World<B> {
    async fn new() -> Self {
        let clock = Clock::manual(START);
        let (reference, model) = Memory::open(&clock, rules()).await;
        let (bench, real) = B::open(&clock, rules()).await;
        Self {
            model: Subject::new(model).await,
            real: Subject::new(real).await,
            clock,
            reference,
            bench,
            pairs: Pairs::default(),
            pasts: Default::default(),
        }
    }

    async fn step(&mut self, op: &Op) {
        self.clock.advance(Duration::from_millis(7));
        match op {
            Op::Send(events) => {
                let events = self.askable(events).await;
                self.send(&events).await;
            }
            Op::Import(events) => {
                let events = self.askable(events).await;
                self.import(&events).await;
            }
            Op::End(ends) => self.end(ends).await,
            Op::Retry(at) => {
                let letters = self.model.some_dead(at).await;
                for letter in self.model.dead().await {
                    if letters.contains(&letter.key) {
                        self.begins(id_of(&letter.body));
                    }
                }
                let expected = self.model.queue.retry(letters).await.unwrap();
                let letters = self.real.some_dead(at).await;
                assert_eq!(self.real.queue.retry(letters).await.unwrap(), expected);
            }
            Op::Purge(at) => {
                let letters = self.model.some_dead(at).await;
                let expected = self.model.queue.purge(letters).await.unwrap();
                let letters = self.real.some_dead(at).await;
                assert_eq!(self.real.queue.purge(letters).await.unwrap(), expected);
            }
            Op::Forget(id) => {
                let expected = self.model.forget(&[*id], false).await;
                assert_eq!(self.real.forget(&[*id], false).await, expected);
                // Who has it in hand is told, and lets go.
                for subject in [&mut self.model, &mut self.real] {
                    let held = subject.held.drain(..);
                    let (theirs, others): (Vec<_>, Vec<_>) =
                        held.partition(|entry| id_of(&entry.body) == *id);
                    subject.held = others;
                    let forgotten = |entry| Settlement {
                        entry,
                        outcome: Outcome::Forgotten,
                    };
                    let settled = theirs.into_iter().map(forgotten).collect();
                    subject.turn.settle(settled).await.unwrap();
                }
            }
            Op::Pass(time) => self.pass(*time).await,
            Op::Restart => {
                self.model = Subject::new(self.reference.reopen().await).await;
                self.real = Subject::new(self.bench.reopen().await).await;
            }
            Op::Crash => {
                // A copy is not taken at one instant: nobody may write meanwhile.
                self.bench.rest().await;
                self.model = Subject::new(self.reference.crash().await).await;
                self.real = Subject::new(self.bench.crash().await).await;
            }
            Op::Torn(events) => {
                let events = self.askable(events).await;
                self.torn(&events).await;
            }
        }
        self.holds(op).await;
    }

    /// Of these events, those of whose ids both engines have the same to say. The durable one
    /// remembers by whole files, as long as the youngest of a file is remembered or something in
    /// it is unsettled: longer than it must, never shorter.
    async fn askable(&self, events: &[(u8, u8)]) -> Vec<(u8, u8)> {
        let mut askable = events.to_vec();
        for id in 0..IDS {
            let found = self.model.queue.find(&name(id)).await.unwrap();
            // Then it is known, remembered or not.
            let has_a_life = matches!(found, Found::Queued { .. } | Found::Dead(_));
            let must = self.reference.remembers(&name(id)).await;
            if !has_a_life && must != self.bench.remembers(&name(id)).await {
                assert!(!must, "{} is forgotten too early", name(id));
                askable.retain(|(other, _)| *other != id);
            }
        }
        askable
    }

    /// A life of this id begins, or goes on.
    fn begins(&mut self, id: u8) {
        let now = self.clock.now();
        let past = &mut self.pasts[usize::from(id)];
        (past.last, past.delivered) = (now, false);
    }

    /// What was delivered is not taken again while it must be remembered.
    fn may_begin(&mut self, id: u8) {
        let past = self.pasts[usize::from(id)];
        let window = Millis::try_from(WINDOW.as_millis()).unwrap();
        let age = self.clock.now() - past.last;
        assert!(
            !past.delivered || age > window,
            "{} was delivered, and is taken again after {age} ms",
            name(id)
        );
        self.begins(id);
    }

    async fn send(&mut self, events: &[(u8, u8)]) {
        if events.is_empty() {
            return;
        }
        let now = self.clock.now();
        let expected = self.model.enqueue(events, now).await;
        let receipts = self.real.enqueue(events, now).await;
        for ((id, _), receipt) in events.iter().zip(&receipts) {
            if *receipt != Receipt::Duplicate {
                self.may_begin(*id);
            }
        }
        assert_eq!(receipts, expected, "{events:?}");
    }

    async fn import(&mut self, events: &[(u8, u8)]) {
        // One by one, as an operator who tries again would: an import sees what the last one did.
        for event in events {
            let at = self.clock.now() - 1_000;
            let expected = self.model.import(&[*event], at).await;
            let imported = self.real.import(&[*event], at).await;
            if imported != [Imported::Duplicate] {
                self.may_begin(event.0);
            }
            assert_eq!(imported, expected, "{event:?}");
        }
    }

    async fn end(&mut self, ends: &[End]) {
        let census = self.model.queue.census();
        if claimable(&census, self.model.held.len()) {
            let expected = self.model.turn.claim(64, 1 << 20).await.unwrap();
            let claimed = self.real.turn.claim(64, 1 << 20).await.unwrap();
            assert_eq!(
                claimed.iter().map(seen).collect::<Vec<_>>(),
                expected.iter().map(seen).collect::<Vec<_>>()
            );
            self.pairs.claimed(&expected, &claimed);
            self.model.held.extend(expected);
            self.real.held.extend(claimed);
        }
        let mut ids: Vec<u8> = self.real.held.iter().map(|e| id_of(&e.body)).collect();
        ids.sort_unstable();
        let held = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), held, "one id is in hand twice");
        let now = self.clock.now();
        for subject in [&mut self.model, &mut self.real] {
            let mut settlements = Vec::new();
            let mut left = Vec::new();
            for (at, entry) in subject.held.drain(..).enumerate() {
                let outcome = match ends.get(at).unwrap_or(&End::Not) {
                    End::Delivered => {
                        let past = &mut self.pasts[usize::from(id_of(&entry.body))];
                        past.delivered = true;
                        if let Origin::Dead(_) = entry.id.origin() {
                            past.last = now;
                        }
                        Outcome::Delivered
                    }
                    End::Dead => Outcome::Dead {
                        reason: DeadReason::Refused,
                        message: "words".into(),
                    },
                    End::Deferred => Outcome::Deferred {
                        failures: entry.failures + 1,
                    },
                    End::Not => {
                        left.push(entry);
                        continue;
                    }
                };
                settlements.push(Settlement { entry, outcome });
            }
            subject.held = left;
            subject.turn.settle(settlements).await.unwrap();
        }
    }

    /// Lets time pass, and what is due by it happen.
    async fn pass(&mut self, time: Time) {
        self.bench.rest().await;
        self.clock.advance(time.long());
        self.bench.tick().await;
        self.bench.rest().await;
        let (now, window) = (self.clock.now(), WINDOW.as_millis() as Millis);
        // Retention goes by whole periods. What went from the one goes from the other.
        let left: Vec<EntryId> = self.real.dead().await.iter().map(number).collect();
        let mut gone = self.model.dead().await;
        gone.retain(|letter| {
            let theirs = self.pairs.of(number(letter)).expect("both had it");
            !left.contains(&theirs)
        });
        for letter in &gone {
            let age = now - letter.died_at;
            assert!(age > RETENTION.as_millis() as Millis, "purged after {age}");
        }
        let keys = gone.iter().map(|letter| letter.key).collect();
        self.model.queue.purge(keys).await.unwrap();
        for id in 0..IDS {
            let (expected, found) = self.both(id).await;
            let is_purged = |found: &Found| matches!(found, Found::Purged { .. });
            if is_purged(&expected) && !is_purged(&found) {
                let purged_at = self.pasts[usize::from(id)].purged_at;
                let age = now - purged_at.expect("it was met");
                assert!(age > window, "it could be imported for {age} ms");
                self.reference.engine.forget_purged(&name(id));
            }
        }
    }

    async fn torn(&mut self, events: &[(u8, u8)]) {
        self.bench.brace().await;
        self.send(events).await;
        self.model = Subject::new(self.reference.crash().await).await;
        self.real = Subject::new(self.bench.tear().await).await;
    }

    async fn both(&self, id: u8) -> (Found, Found) {
        let expected = self.model.queue.find(&name(id)).await.unwrap();
        let found = self.real.queue.find(&name(id)).await.unwrap();
        (expected, found)
    }

    async fn found(&mut self, id: u8) -> Whereabouts {
        let (expected, found) = self.both(id).await;
        self.pairs.found(&expected, &found);
        match (&expected, &found) {
            (Found::Unknown, Found::Settled { .. }) => Whereabouts::Longer,
            _ if whereabouts(&found) != whereabouts(&expected) => {
                Whereabouts::Differ(format!("{expected:?}, and found {found:?}"))
            }
            _ => Whereabouts::Same(found),
        }
    }

    /// The invariants, looked at from outside.
    async fn holds(&mut self, op: &Op) {
        self.real.queue.barrier().await.unwrap();
        let (mut expected, mut census) = (self.model.queue.census(), self.real.queue.census());
        for census in [&mut expected, &mut census] {
            // The engine knows the oldest that is handed out; counts of answers ride with the
            // next chunk, and a kill may lose the last.
            census.oldest_accepted_at = None;
            (census.duplicate, census.ignored) = (0, 0);
        }
        assert_eq!(census, expected, "after {op:?}");
        assert_eq!(census.imbalance(), 0, "after {op:?}");
        let (mut open, mut dead) = (0, 0);
        for id in 0..IDS {
            let found = match self.found(id).await {
                Whereabouts::Same(found) => found,
                Whereabouts::Longer => continue,
                Whereabouts::Differ(how) => panic!("{}: {how}, after {op:?}", name(id)),
            };
            let past = &mut self.pasts[usize::from(id)];
            let is_purged = matches!(found, Found::Purged { .. });
            past.purged_at = is_purged.then_some(past.purged_at.unwrap_or(self.clock.now()));
            match found {
                Found::Queued { .. } => open += 1,
                Found::Dead(letter) => {
                    dead += 1;
                    assert!(!past.delivered, "dead {letter:?}, and delivered");
                }
                _ => {}
            }
        }
        // Each id has one place at most: there are no more lives than ids that have one.
        assert_eq!(census.queued + census.sending, open, "after {op:?}");
        assert_eq!(census.dead_total(), dead, "after {op:?}");
    }
}

/// Where both engines have an id.
enum Whereabouts {
    Same(Found),
    /// It is settled, and the durable engine alone still knows.
    Longer,
    Differ(String),
}

fn number(letter: &Letter) -> EntryId {
    EntryId::dead(letter.key.number())
}
