//! Whoever looks at the tables for long holds up no acknowledgement: neither by a snapshot, behind
//! which nothing that was replaced is cleared away, nor by locks on every table.

use std::time::{Duration, Instant};

use super::server::Server;
use super::shop::{FAST, prepare, site, url, verify};
use super::support::{Client, Daemon, StandIn, s, samples, within};

const LATEST: Duration = Duration::from_secs(1);

/// One event after another for so long; the longest wait for an answer.
fn one_by_one(daemon: &Daemon<'_>, series: &str, span: Duration) -> (usize, Duration) {
    let mut client = Client::connect(&daemon.socket());
    let (begun, mut slowest, mut count) = (Instant::now(), Duration::ZERO, 0);
    while begun.elapsed() < span {
        let sent = Instant::now();
        let answer = client.ask(&samples(series, count..count + 1)[0].line);
        assert_eq!(answer.status(), "queued", "{answer:?}");
        slowest = slowest.max(sent.elapsed());
        count += 1;
    }
    (count, slowest)
}

#[test]
fn long_readers_delay_no_acknowledgement() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let stand_in = StandIn::start();
    // A table of ids is sealed, and another made, each second.
    let site = site(&stand_in, &url(&[&server]), "single").set("queue", "dedup_window", "7s");
    let daemon = site.start();
    let (alone, slowest) = one_by_one(&daemon, "alone", s(3));
    println!("alone: {alone} events, the slowest answer {slowest:?}");

    let mut snapshot = server.session("postgres", "shop");
    snapshot.ask("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(
        snapshot.ask("SELECT count(*) >= 0 FROM pinrelay.lease"),
        ["t"]
    );
    let (count, slowest) = one_by_one(&daemon, "snapshot", s(5));
    println!("beside a snapshot: {count} events, the slowest answer {slowest:?}");
    assert!(slowest < LATEST, "{slowest:?}");

    // Every table, as a dump would have it; one of them is off the list, and to be dropped.
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let stray = "CREATE TABLE pinrelay.ids_0 (id uuid); ALTER TABLE pinrelay.ids_0 OWNER TO shop";
    server.try_sql("shop", stray).expect("a table");
    let sql = "SELECT 'LOCK TABLE pinrelay.' || tablename || ' IN ACCESS SHARE MODE' \
               FROM pg_tables WHERE schemaname = 'pinrelay'";
    let mut reader = server.session("postgres", "shop");
    let locks = server.try_sql("shop", sql).expect("tables");
    assert!(locks.len() > 5, "{locks:?}");
    reader.ask("BEGIN");
    for lock in &locks {
        assert_eq!(reader.ask(lock), Vec::<String>::new());
    }
    let daemon = site.start();
    let (count, slowest) = one_by_one(&daemon, "reader", s(5));
    println!("beside a reader: {count} events, the slowest answer {slowest:?}");
    assert!(slowest < LATEST, "{slowest:?}");
    // It was in the way of the one that drops tables, which gave way.
    let log = server.log();
    assert!(
        log.contains("canceling statement due to lock timeout"),
        "{log}"
    );
    drop((snapshot, reader));
    let gone = "SELECT to_regclass('pinrelay.ids_0') IS NULL";
    within(s(10), "an end of the table", || {
        (server.try_sql("shop", gone).expect("a value") == ["t"]).then_some(())
    });
    let status = daemon.shows(s(30), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    verify(&site, "in the end");
}
