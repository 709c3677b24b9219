//! What only the engine on PostgreSQL can show: two daemons on one account, and tables that are
//! sealed under their hands.
//!
//! `PINRELAY_ROTATIONS` sets how often (40).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::bench_tests::{Rules, START};
use super::postgres::PostgresEngine;
use super::postgres_bench_tests::{Postgres, block_on_postgres, server};
use super::*;
use crate::clock::Clock;

fn rules() -> Rules {
    Rules {
        dedup_window: Duration::from_secs(7 * 86_400),
        dead_retention: Duration::from_secs(30 * 86_400),
        piece_events: 1,
    }
}

fn block(queue: &Queue, ids: &[String]) -> Block {
    let mut builder = BlockBuilder::new(queue.hasher(), START);
    for id in ids {
        builder.push(id, START / 1000, format!("{{\"id\":\"{id}\"}}").as_bytes());
    }
    builder.finish()
}

async fn send(queue: &Queue, ids: &[String]) -> Vec<Receipt> {
    let pending = queue.enqueue(block(queue, ids)).await.unwrap();
    pending.receipts().await.unwrap()
}

fn tables(schema: &str) -> u64 {
    let sql = format!("SELECT max(number) FROM {schema}.pieces WHERE kind = 'ids'");
    server().value(&sql).parse().unwrap()
}

/// Both send the same ids at the same time, while a third one seals the table of ids again and
/// again.
async fn rotations(schema: &str, wanted: u64) {
    let clock = Clock::manual(START);
    let engines: Vec<PostgresEngine> = (0..2)
        .map(|_| Postgres::start(schema, &clock, &rules()))
        .collect();
    let queues: Vec<Queue> = engines.iter().cloned().map(Queue::postgres).collect();
    let _turn = queues[0].turn().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let sealing = tokio::spawn({
        let (engine, is_over) = (engines[0].clone(), is_over.clone());
        async move {
            while !is_over.load(Ordering::Relaxed) {
                engine.tick().await;
            }
        }
    });
    let sent = AtomicU64::new(0);
    let mut round = 0u64;
    while tables(schema) < wanted {
        for _ in 0..20 {
            round += 1;
            let ids: Vec<String> = (0..5).map(|n| format!("{round}-{n}")).collect();
            let turned: Vec<String> = ids.iter().rev().cloned().collect();
            let (one, other) = tokio::join!(send(&queues[0], &ids), send(&queues[1], &turned));
            for (at, one) in one.iter().enumerate() {
                let mut both = [*one, other[4 - at]];
                both.sort_by_key(|receipt| *receipt != Receipt::Queued);
                assert_eq!(both, [Receipt::Queued, Receipt::Duplicate], "{}", ids[at]);
            }
            sent.fetch_add(5, Ordering::Relaxed);
        }
    }
    is_over.store(true, Ordering::Relaxed);
    sealing.await.unwrap();
    engines[0].tick().await;
    let census = queues[0].census();
    assert_eq!(
        (census.accepted, census.duplicate),
        (sent.load(Ordering::Relaxed), census.accepted)
    );
    assert_eq!(census.imbalance(), 0);
    for queue in queues {
        queue.close().await.unwrap();
    }
}

#[test]
fn an_id_on_both_sides_of_a_sealed_table_is_queued_once() {
    let wanted =
        std::env::var("PINRELAY_ROTATIONS").map_or(40, |n| n.parse().expect("PINRELAY_ROTATIONS"));
    block_on_postgres(rotations("rotations", wanted));
}
