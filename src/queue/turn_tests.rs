//! Who may deliver: one at a time, on every engine; and what becomes of events whose deliverers
//! lose the right at any instant.
//!
//! `PINRELAY_TURNS` sets how many such runs there are (30 in memory, and a tenth each on disk
//! and in a database).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::yield_now;

use super::bench_tests::{Bench, Memory, Rules, START, Sled, Subject, block_on};
#[cfg(feature = "postgres")]
use super::postgres_bench_tests::{Postgres, block_on_postgres};
use super::*;
use crate::clock::Clock;

/// What waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what must not happen to happen.
const MOMENT: Duration = Duration::from_millis(20);

fn rules() -> Rules {
    Rules {
        dedup_window: Duration::from_secs(7 * 86_400),
        dead_retention: Duration::from_secs(30 * 86_400),
        piece_events: 40,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it waits for ever")
}

/// One holds it and another waits; a claim that waits hears that the turn is over.
async fn one_at_a_time<B: Bench>() {
    let clock = Clock::manual(START);
    let (bench, queue) = B::open(&clock, rules()).await;
    let first = queue.turn().await.unwrap();
    let next = || {
        let queue = queue.clone();
        tokio::spawn(async move { queue.turn().await.unwrap() })
    };
    let claim = |turn: &Turn| {
        let turn = turn.clone();
        tokio::spawn(async move { turn.claim(1, 1 << 20).await })
    };
    let (second, waits) = (next(), claim(&first));
    tokio::time::sleep(MOMENT).await;
    assert!(!second.is_finished() && !waits.is_finished());
    // It is given back, with a claim under way.
    first.clone().end().await;
    let second = soon(second).await.unwrap();
    assert!(matches!(
        soon(waits).await.unwrap(),
        Err(QueueError::TurnOver)
    ));
    // Who has it no more cannot end another's.
    first.end().await;
    let (third, waits) = (next(), claim(&second));
    tokio::time::sleep(MOMENT).await;
    assert!(!third.is_finished() && !waits.is_finished());
    // It is taken away.
    bench.take_away(&second).await;
    let third = soon(third).await.unwrap();
    assert!(matches!(
        soon(waits).await.unwrap(),
        Err(QueueError::TurnOver)
    ));
    // It is dropped: with the last clone.
    let (fourth, clone) = (next(), third.clone());
    drop(third);
    tokio::time::sleep(MOMENT).await;
    assert!(!fourth.is_finished());
    drop(clone);
    let fourth = soon(fourth).await.unwrap();
    let late = next();
    tokio::time::sleep(MOMENT).await;
    queue.close().await.unwrap();
    assert!(matches!(
        fourth.settle(Vec::new()).await,
        Err(QueueError::Stopped(_))
    ));
    // Whoever waits for a turn of a queue that is closed hears that.
    assert!(soon(late).await.is_err());
    assert!(matches!(queue.turn().await, Err(QueueError::Stopped(_))));
}

#[test]
fn one_at_a_time_may_deliver() {
    block_on(one_at_a_time::<Memory>());
    block_on(one_at_a_time::<Sled>());
    #[cfg(feature = "postgres")]
    block_on_postgres(one_at_a_time::<Postgres>());
}

/// What was claimed comes again in its order, in doubt by its first name if it had left.
async fn comes_again<B: Bench>() {
    let clock = Clock::manual(START);
    let (bench, queue) = B::open(&clock, rules()).await;
    let mut subject = Subject::new(queue).await;
    let events: Vec<(u8, u8)> = (0..100).map(|id| (id, 0)).collect();
    subject.enqueue(&events, START).await;
    let mut claimed = Vec::new();
    while claimed.len() < 60 {
        claimed.extend(
            subject
                .turn
                .claim(60 - claimed.len(), 1 << 20)
                .await
                .unwrap(),
        );
    }
    let first: Vec<EntryId> = claimed.iter().map(|entry| entry.id).collect();
    let mark = |at: std::ops::Range<usize>| Mark {
        events: first[at].iter().map(|id| (*id, "lead".into())).collect(),
    };
    subject.turn.mark(mark(0..20)).await.unwrap();
    subject.turn.release(&first[10..12]);
    subject.turn.doubt(&first[12..14]);
    // The first five are delivered, one dies, one is set deferred; and the turn is lost.
    let settlements = (0..).zip(claimed).filter_map(|(at, entry)| {
        let outcome = match at {
            0..5 => Outcome::Delivered,
            5 => Outcome::Dead {
                reason: DeadReason::Refused,
                message: "no".into(),
            },
            6 => Outcome::Deferred { failures: 3 },
            _ => return None,
        };
        Some(Settlement { entry, outcome })
    });
    subject.turn.settle(settlements.collect()).await.unwrap();
    bench.take_away(&subject.turn).await;
    subject.turn = subject.queue.turn().await.unwrap();
    let census = subject.queue.census();
    assert_eq!(census.imbalance(), 0);
    // Marked and not released, 7 to 20 but for two; and the one that was set deferred.
    assert_eq!((census.sending, census.in_doubt), (0, 12));
    assert_eq!((census.queued, census.delivered), (94, 5));
    let (mut line, mut deferred) = (Vec::new(), Vec::new());
    while line.len() + deferred.len() < 94 {
        for entry in soon(subject.turn.claim(94, 1 << 20)).await.unwrap() {
            let named = entry.sent_as.as_deref() == Some("lead");
            assert_eq!(entry.sent_as.is_some(), named);
            match entry.id.origin() {
                Origin::Line(_) => line.push((entry.id, named)),
                Origin::Dead(_) => deferred.push((entry.failures, named)),
            }
        }
    }
    assert_eq!(deferred, [(3, true)]);
    assert_eq!(line.len(), 93);
    assert!(line.is_sorted());
    for (at, (id, named)) in (7..).zip(&line) {
        let marked = (7..20).contains(&at) && !(10..12).contains(&at);
        assert_eq!(*named, marked, "{id:?}");
        assert!(at >= 60 || *id == first[at]);
    }
    subject.queue.close().await.unwrap();
}

#[test]
fn what_was_in_hand_comes_again_in_its_order() {
    block_on(comes_again::<Memory>());
    block_on(comes_again::<Sled>());
    #[cfg(feature = "postgres")]
    block_on_postgres(comes_again::<Postgres>());
}

/// What is being written when the turn is given back is written, and the next one finds it so.
async fn is_written_first<B: Bench>() {
    let clock = Clock::manual(START);
    let (_bench, queue) = B::open(&clock, rules()).await;
    let mut subject = Subject::new(queue).await;
    let events: Vec<(u8, u8)> = (0..30).map(|id| (id, 0)).collect();
    subject.enqueue(&events, START).await;
    let mut claimed = Vec::new();
    while claimed.len() < 30 {
        claimed.extend(subject.turn.claim(30, 1 << 20).await.unwrap());
    }
    let sent = claimed.split_off(20);
    let delivered = |entry| Settlement {
        entry,
        outcome: Outcome::Delivered,
    };
    let settle = subject
        .turn
        .settle(claimed.into_iter().map(delivered).collect());
    let mark = subject.turn.mark(Mark {
        events: sent.iter().map(|e| (e.id, "lead".into())).collect(),
    });
    // Each is asked for before the next, and the end is not waited for by any.
    let (settled, marked, ()) = tokio::join!(settle, mark, subject.turn.clone().end());
    settled.unwrap();
    marked.unwrap();
    subject.turn = soon(subject.queue.turn()).await.unwrap();
    let census = subject.queue.census();
    assert_eq!((census.delivered, census.queued), (20, 10));
    assert_eq!((census.sending, census.in_doubt), (0, 10));
    let mut again = Vec::new();
    while again.len() < 10 {
        again.extend(soon(subject.turn.claim(30, 1 << 20)).await.unwrap());
    }
    let ids = |entries: &[Entry]| entries.iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&sent));
    let is_named = |entry: &Entry| entry.sent_as.as_deref() == Some("lead");
    assert!(again.iter().all(is_named));
    subject.queue.close().await.unwrap();
}

#[test]
fn what_is_being_written_at_the_end_of_a_turn_is_there_in_the_next() {
    block_on(is_written_first::<Memory>());
    block_on(is_written_first::<Sled>());
    #[cfg(feature = "postgres")]
    block_on_postgres(is_written_first::<Postgres>());
}

/// What is known of one event from outside.
#[derive(Default)]
struct Past {
    /// The name of its first mark that was not taken back.
    name: Option<Arc<str>>,
    ended: bool,
}

#[derive(Default)]
struct Books {
    /// By body.
    pasts: HashMap<Vec<u8>, Past>,
    /// Of settlements that were answered.
    ended: u64,
    turns: u64,
    over: u64,
    /// Calls under a turn, so far.
    calls: u64,
}

struct Scene {
    queue: Queue,
    books: Mutex<Books>,
    /// The turn that somebody delivers under.
    current: Mutex<Option<Turn>>,
}

/// Some yields, so that every order of what runs beside it is met.
async fn a_while(rng: &mut StdRng) {
    for _ in 0..rng.random_range(0..12) {
        yield_now().await;
    }
}

impl Scene {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Delivers turn after turn, until the queue is closed.
    async fn deliver(&self, rng: &mut StdRng) {
        loop {
            let turn = match self.queue.turn().await {
                Ok(turn) => turn,
                Err(QueueError::Stopped(_)) => return,
                Err(error) => panic!("{error}"),
            };
            *self.current.lock().unwrap() = Some(turn.clone());
            self.books().turns += 1;
            let mut again = HashSet::new();
            loop {
                match self.wave(&turn, &mut again, rng).await {
                    Ok(()) => {}
                    Err(QueueError::TurnOver) => break,
                    Err(QueueError::Stopped(_)) => return,
                    Err(error) => panic!("{error}"),
                }
            }
            self.books().over += 1;
            if rng.random_ratio(1, 2) {
                // Others may have begun while it is still held here.
                a_while(rng).await;
            }
        }
    }

    /// Claims, marks and ends some events.
    async fn wave(
        &self,
        turn: &Turn,
        claimed_under_it: &mut HashSet<EntryId>,
        rng: &mut StdRng,
    ) -> Result<(), QueueError> {
        self.books().calls += 1;
        let mut claimed = turn.claim(rng.random_range(1..20), 1 << 20).await?;
        for entry in &claimed {
            assert!(claimed_under_it.insert(entry.id), "claimed twice in a turn");
            let mut books = self.books();
            let past = books.pasts.get_mut(&entry.body[..]).expect("sent");
            assert!(!past.ended, "it comes again after its end was durable");
            assert_eq!(entry.sent_as, past.name, "another name, or none");
        }
        a_while(rng).await;
        if rng.random_ratio(1, 8) {
            // These stay in hand.
            claimed.truncate(1);
        }
        let name: Arc<str> = format!("name-{}", rng.random_range(0..3)).into();
        let named = |entry: &Entry| {
            let name = entry.sent_as.clone().unwrap_or_else(|| name.clone());
            (entry.id, name)
        };
        let events: Vec<_> = claimed.iter().map(named).collect();
        self.books().calls += 1;
        turn.mark(Mark {
            events: events.clone(),
        })
        .await?;
        let fresh: Vec<EntryId> = {
            let mut books = self.books();
            let mut fresh = Vec::new();
            for (entry, (id, name)) in claimed.iter().zip(events) {
                let past = books.pasts.get_mut(&entry.body[..]).expect("sent");
                if past.name.is_none() {
                    past.name = Some(name);
                    fresh.push(id);
                }
            }
            fresh
        };
        a_while(rng).await;
        match rng.random_range(0..10) {
            0 => {
                turn.doubt(&fresh);
                return Ok(());
            }
            1 => {
                let ids: Vec<EntryId> = claimed.iter().map(|entry| entry.id).collect();
                turn.release(&ids);
                // Whether that came in time is known when what is behind it is answered.
                turn.settle(Vec::new()).await?;
                let mut books = self.books();
                for entry in claimed.iter().filter(|entry| fresh.contains(&entry.id)) {
                    books.pasts.get_mut(&entry.body[..]).expect("sent").name = None;
                }
                return Ok(());
            }
            _ => {}
        }
        let (mut settlements, mut bodies) = (Vec::new(), Vec::new());
        for entry in claimed {
            let outcome = match rng.random_range(0..10) {
                0 => Outcome::Dead {
                    reason: DeadReason::Refused,
                    message: "no".into(),
                },
                1 if entry.failures == 0 => Outcome::Deferred { failures: 1 },
                _ => Outcome::Delivered,
            };
            if !matches!(outcome, Outcome::Deferred { .. }) {
                bodies.push(entry.body.to_vec());
            }
            settlements.push(Settlement { entry, outcome });
        }
        self.books().calls += 1;
        turn.settle(settlements).await?;
        let mut books = self.books();
        books.ended += bodies.len() as u64;
        for body in bodies {
            let past = books.pasts.get_mut(&body).expect("sent");
            assert!(!std::mem::replace(&mut past.ended, true), "it ended twice");
        }
        Ok(())
    }

    async fn send(&self, from: u64, rng: &mut StdRng) {
        let mut builder = BlockBuilder::new(self.queue.hasher(), START);
        for id in from..from + 10 {
            let body = format!("{{\"id\":{id}}}");
            builder.push(&format!("m{id}"), START / 1000, body.as_bytes());
            self.books()
                .pasts
                .insert(body.into_bytes(), Past::default());
        }
        let pending = self.queue.enqueue(builder.finish()).await.unwrap();
        pending.receipts().await.unwrap();
        a_while(rng).await;
    }
}

async fn lost_at_any_instant<B: Bench>(seed: u64, events: u64) {
    let clock = Clock::manual(START);
    let (bench, queue) = B::open(&clock, rules()).await;
    let scene = Arc::new(Scene {
        queue,
        books: Mutex::default(),
        current: Mutex::default(),
    });
    let rng = |n: u64| StdRng::seed_from_u64(seed << 8 | n);
    let deliverers: Vec<_> = (0..3)
        .map(|n| {
            let (scene, mut rng) = (scene.clone(), rng(n));
            tokio::spawn(async move { scene.deliver(&mut rng).await })
        })
        .collect();
    let mut rng = rng(7);
    let begun = Instant::now();
    let mut sent = 0;
    // By what is done under it, so that an engine that takes its time gets on as well.
    let (mut calls, mut enough, mut since) = (0, 5, begun);
    loop {
        if sent < events {
            scene.send(sent, &mut rng).await;
            sent += 10;
        }
        a_while(&mut rng).await;
        let census = scene.queue.census();
        assert_eq!(census.imbalance(), 0, "seed {seed}: {census:?}");
        if sent == events && census.queued + census.sending == 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "seed {seed}: {census:?}");
        let now = scene.books().calls;
        if now != calls {
            (calls, since) = (now, Instant::now());
        } else if since.elapsed() > MOMENT {
            // What is left is in hand.
            (enough, since) = (now, Instant::now());
        } else if since.elapsed() > MOMENT / 10 {
            tokio::time::sleep(MOMENT / 20).await;
        }
        if now >= enough {
            enough = now + rng.random_range(1..12);
            let turn = scene.current.lock().unwrap().take();
            if let Some(turn) = turn {
                bench.take_away(&turn).await;
            }
        }
    }
    scene.queue.barrier().await.unwrap();
    let census = scene.queue.census();
    assert_eq!(census.imbalance(), 0, "seed {seed}: {census:?}");
    assert_eq!(census.accepted, events, "seed {seed}: {census:?}");
    let ended = census.delivered + census.dead_total();
    assert_eq!(ended, events, "seed {seed}: {census:?}");
    assert_eq!((census.sending, census.in_doubt), (0, 0));
    scene.queue.close().await.unwrap();
    for deliverer in deliverers {
        deliverer.await.unwrap();
    }
    let books = scene.books();
    // An end whose answer was lost with the turn is an end all the same.
    assert!(books.ended <= events);
    assert!(books.turns > 3 && books.over > 2, "{} turns", books.turns);
}

#[test]
fn turns_lost_at_any_instant_cost_no_event_and_no_promise() {
    let runs = std::env::var("PINRELAY_TURNS").map_or(30, |n| n.parse().expect("PINRELAY_TURNS"));
    for seed in 0..runs {
        block_on(lost_at_any_instant::<Memory>(seed, 300));
    }
    for seed in 0..runs / 10 {
        block_on(lost_at_any_instant::<Sled>(seed, 300));
    }
    #[cfg(feature = "postgres")]
    for seed in 0..runs / 10 {
        block_on_postgres(lost_at_any_instant::<Postgres>(seed, 300));
    }
}
