//! The engine on PostgreSQL under the tests that every engine stands.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::bench_tests::{Bench, Rules, block_on};
use super::postgres::server::Server;
use super::postgres::{self, Durability, PostgresEngine};
use super::*;
use crate::clock::Clock;
use crate::secret::Token;

/// One for all tests of this process. None of them is about its disk.
fn found() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(&[("fsync", "off")]));
    server.as_ref()
}

/// For a test that is run.
pub(super) fn server() -> &'static Server {
    found().expect("the test is skipped without one")
}

/// Runs a test of a [`Postgres`], unless there is none, and that is said.
pub(super) fn block_on_postgres(test: impl Future<Output = ()>) {
    match found() {
        Some(_) => block_on(test),
        None => println!("skipped: no PostgreSQL here"),
    }
}

/// As its operator.
fn sql(statements: &str) {
    server().sql(statements);
}

/// Every queue has a schema of its own.
pub(super) struct Postgres {
    schema: String,
    clock: Clock,
    rules: Rules,
    pub(super) engine: PostgresEngine,
}

impl Postgres {
    pub(super) fn start(schema: &str, clock: &Clock, rules: &Rules) -> PostgresEngine {
        let place = postgres::Postgres {
            url: Token::new(server().url("postgres")),
            ca_file: None,
            schema: schema.to_owned(),
            durability: Durability::Single,
            lease: Duration::from_secs(2),
            account: "549755885175".into(),
            is_test: false,
            generation_events: rules.piece_events,
            table_ids: rules.piece_events,
        };
        let options = postgres::Options {
            place,
            dedup_window: rules.dedup_window,
            max_bytes: u64::MAX,
            dead_retention: rules.dead_retention,
            dead_max_bytes: u64::MAX,
            destination_remembers: Duration::from_secs(48 * 3600),
            observer: Default::default(),
            on_progress: std::sync::Arc::new(|what| println!("{what}")),
            is_given_up: std::sync::Arc::new(|| false),
            adopt: false,
        };
        PostgresEngine::open(options, clock.clone())
            .unwrap()
            .confirmed()
    }
}

impl Bench for Postgres {
    async fn open(clock: &Clock, rules: Rules) -> (Self, Queue) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("bench_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let engine = Self::start(&schema, clock, &rules);
        let queue = Queue::postgres(engine.clone());
        let bench = Self {
            schema,
            clock: clock.clone(),
            rules,
            engine,
        };
        (bench, queue)
    }

    async fn reopen(&mut self) -> Queue {
        self.engine.close().await.unwrap();
        self.engine = Self::start(&self.schema, &self.clock, &self.rules);
        Queue::postgres(self.engine.clone())
    }

    async fn crash(&mut self) -> Queue {
        // Doubt and release are not awaited; this is behind them.
        self.engine.barrier().await.unwrap();
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || engine.kill())
            .await
            .unwrap();
        sql(&format!(
            "UPDATE {}.lease SET ends = '-infinity'",
            self.schema
        ));
        self.engine = Self::start(&self.schema, &self.clock, &self.rules);
        Queue::postgres(self.engine.clone())
    }

    async fn take_away(&self, _turn: &Turn) {
        sql(&format!(
            "UPDATE {}.lease SET token = gen_random_uuid(), ends = '-infinity'",
            self.schema
        ));
    }

    async fn tick(&self) {
        self.engine.tick().await;
    }

    async fn rest(&self) {
        self.engine.rest().await;
    }

    async fn remembers(&self, message_id: &str) -> bool {
        self.engine.remembers(message_id).await
    }
}
