//! The queue on PostgreSQL, with a primary and a synchronous standby on the same machine, each figure
//! beside a bare client that inserts the same rows in the same groups without looking.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::Bench;
use super::both::steady;
use super::load::{Load, answered, flood, one_by_one, percentile};
use super::process::{Daemon, StandIn};
use super::table::Row;

#[path = "../../tests/postgres/server/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests do more with a server than the bench"
)]
mod server;

use server::Server;

const CONNECTIONS: u64 = 8;
/// What clients have to wait for anyway: nobody listens there.
const NOBODY: &str = "127.0.0.1:9";

/// A primary and a standby that each commit waits for.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    fn start() -> Self {
        let primary = Server::start(&[("shared_buffers", "512MB"), ("max_wal_size", "4GB")]);
        let primary = primary.expect("PostgreSQL 15 or newer");
        let standby = primary.standby("standby");
        primary.wait_for("standby");
        Self { primary, standby }
    }

    /// The first lines of `[queue]`, and the database.
    fn config(&self, folder: &Path, schema: &str) -> String {
        std::fs::create_dir_all(folder).expect("a folder");
        let url = folder.join("url");
        std::fs::write(&url, self.primary.url("postgres")).expect("a file");
        format!(
            "engine = \"postgres\"\n[postgres]\nurl_file = \"{}\"\nschema = \"{schema}\"\n",
            url.display()
        )
    }

    /// Processor seconds of all processes of both.
    fn cpu_seconds(&self) -> f64 {
        [&self.primary, &self.standby]
            .into_iter()
            .filter_map(Server::pid)
            .map(tree_seconds)
            .sum()
    }
}

/// Of a process, the children that it has, and those that it had.
fn tree_seconds(pid: i32) -> f64 {
    let stat = |pid: i32| -> Option<Vec<String>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let after = text.rsplit(')').next()?;
        Some(after.split_whitespace().map(str::to_owned).collect())
    };
    let ticks = |fields: &[String], from: usize, to: usize| -> f64 {
        (fields[from..to].iter())
            .filter_map(|n| n.parse::<f64>().ok())
            .sum()
    };
    let Some(own) = stat(pid) else { return 0.0 };
    // Fields 14 to 17 of proc(5)'s stat; these begin with field 3.
    let mut sum = ticks(&own, 11, 15);
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(fields) = stat(child)
            && fields[1] == pid.to_string()
        {
            sum += ticks(&fields, 11, 13);
        }
    }
    sum / 100.0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

const TABLES: &str = "CREATE SCHEMA floor; \
    CREATE TABLE floor.ids (id uuid PRIMARY KEY, number bigint NOT NULL); \
    CREATE TABLE floor.chunks (writer int, grp bigint, part int, first bigint, count int NOT NULL, \
        totals bytea NOT NULL, bytes bytea, PRIMARY KEY (writer, grp, part)); \
    ALTER TABLE floor.chunks ALTER COLUMN bytes SET STORAGE EXTERNAL; \
    CREATE INDEX ON floor.chunks (first) WHERE count > 0";

/// Events a second of a client that inserts ids and chunks in groups of so many, by chunks of so
/// many, each group one commit, and looks at nothing.
fn bare(pair: &Pair, load: &Load, events: u64, group: u64, chunk: u64) -> f64 {
    runtime().block_on(async {
        let client = connect(&pair.primary).await;
        client.batch_execute(TABLES).await.expect("tables");
        let ids = client
            .prepare(
                "INSERT INTO floor.ids SELECT * FROM unnest($1::uuid[], $2::int8[]) \
                 ON CONFLICT DO NOTHING RETURNING id",
            )
            .await
            .expect("a statement");
        let chunks = client
            .prepare(
                "INSERT INTO floor.chunks SELECT 1, $1, part, first, count, $2, bytes \
                 FROM unnest($3::int4[], $4::int8[], $5::int4[], $6::bytea[]) \
                 AS t(part, first, count, bytes)",
            )
            .await
            .expect("a statement");
        let packed = |from: u64, to: u64| {
            let plain = load.bytes(b'f', from..to);
            let mut packed = zstd::bulk::compress(&plain, 1).expect("in memory");
            // The ids stand in a chunk as well.
            packed.resize(packed.len() + 16 * (to - from) as usize, 7);
            packed
        };
        let totals = vec![1u8; 24];
        let begun = Instant::now();
        let mut from = 0;
        for number in 1i64.. {
            if from >= events {
                break;
            }
            let to = (from + group).min(events);
            let mut new: Vec<(Uuid, i64)> =
                (from..to).map(|n| (Uuid::new_v4(), n as i64)).collect();
            new.sort_unstable();
            let (new, numbers): (Vec<_>, Vec<_>) = new.into_iter().unzip();
            let firsts: Vec<u64> = (from..to).step_by(chunk as usize).collect();
            let ends = |first: &u64| (first + chunk).min(to);
            let bytes: Vec<Vec<u8>> = firsts.iter().map(|f| packed(*f, ends(f))).collect();
            let parts: Vec<i32> = (0..firsts.len() as i32).collect();
            let counts: Vec<i32> = firsts.iter().map(|f| (ends(f) - f) as i32).collect();
            let firsts: Vec<i64> = firsts.iter().map(|f| *f as i64).collect();
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&new, &numbers];
            let (begun, inserted) =
                tokio::join!(client.batch_execute("BEGIN"), client.query(&ids, &params));
            begun.expect("a transaction");
            inserted.expect("ids");
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&number, &totals, &parts, &firsts, &counts, &bytes];
            let (inserted, committed) = tokio::join!(
                client.execute(&chunks, &params),
                client.batch_execute("COMMIT")
            );
            inserted.expect("chunks");
            committed.expect("a commit");
            from = to;
        }
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        client
            .batch_execute("DROP SCHEMA floor CASCADE")
            .await
            .expect("it goes");
        rate
    })
}

/// The median time of one replicated commit of one such row.
fn bare_one(pair: &Pair, load: &Load, times: u64) -> Duration {
    runtime().block_on(async {
        let client = connect(&pair.primary).await;
        client.batch_execute(TABLES).await.expect("tables");
        let sql = "INSERT INTO floor.chunks VALUES (1, $1, 0, $1, 1, '', $2)";
        let insert = client.prepare(sql).await.expect("a statement");
        let mut each = Vec::new();
        for n in 0..times {
            let line = load.bytes(b'f', n..n + 1);
            let begun = Instant::now();
            client
                .execute(&insert, &[&(n as i64), &line])
                .await
                .expect("a row");
            each.push(begun.elapsed());
        }
        client
            .batch_execute("DROP SCHEMA floor CASCADE")
            .await
            .expect("it goes");
        percentile(&mut each, 50)
    })
}

/// Acceptance alone, a lone event, known ids, and both loops at once.
pub fn all(bench: &Bench, binary: &Path) -> Vec<Row> {
    let pair = Pair::start();
    let mut rows = accept(bench, binary, &pair, 400_000);
    rows.push(lone(bench, binary, &pair, 1_000));
    rows.extend(both(bench, binary, &pair, 200_000, 1_000_000));
    rows
}

fn accept(bench: &Bench, binary: &Path, pair: &Pair, events: u64) -> Vec<Row> {
    let folder = bench.folder();
    let queue = pair.config(folder.path(), "accept");
    let daemon = Daemon::start_on(binary, folder.path(), NOBODY, &queue);
    daemon.command(&["pause"]);
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    let syncs = || {
        daemon
            .metrics()
            .value("pinrelay_sync_duration_seconds_count")
    };
    let before = syncs();
    let new = rate(flood(
        &daemon.socket(),
        &bench.load,
        b'a',
        0..events,
        CONNECTIONS,
    ));
    let groups = syncs() - before;
    let again = rate(answered(
        &daemon.socket(),
        &bench.load,
        b'a',
        0..events,
        CONNECTIONS,
    ));
    let sql = "SELECT count(*) FROM accept.chunks_1 WHERE count > 0";
    let chunks: f64 = pair.primary.value(sql).parse().expect("a number");
    drop(daemon);
    let group = (events as f64 / groups) as u64;
    let chunk = (events as f64 / chunks) as u64;
    let bare = bare(pair, &bench.load, events, group, chunk);
    vec![
        Row::new("postgres, accept", new, "events/s")
            .beside(format!("a bare client by {group} in {chunk}s"), bare)
            .at_least(0.5),
        Row::new("postgres, known ids sent again", again, "events/s")
            .beside("new ones", new)
            .at_least(0.5),
    ]
}

fn lone(bench: &Bench, binary: &Path, pair: &Pair, events: u64) -> Row {
    let folder = bench.folder();
    let queue = pair.config(folder.path(), "lone");
    let daemon = Daemon::start_on(binary, folder.path(), NOBODY, &queue);
    daemon.command(&["pause"]);
    let mut times = one_by_one(&daemon.socket(), &bench.load, b'o', 0..events, 1);
    drop(daemon);
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let bare = bare_one(pair, &bench.load, events);
    Row::new(
        "postgres, one at a time, p50",
        micros(percentile(&mut times, 50)),
        "µs",
    )
    .beside("one bare replicated commit", micros(bare))
    .at_most(2.0)
}

fn both(bench: &Bench, binary: &Path, pair: &Pair, warm_up: u64, events: u64) -> Vec<Row> {
    let stand_in = StandIn::start(0);
    let run = |daemon: &Daemon| {
        steady(bench, daemon, &stand_in, 0..warm_up);
        let before = pair.cpu_seconds();
        let took = steady(bench, daemon, &stand_in, warm_up..warm_up + events);
        (took, pair.cpu_seconds() - before)
    };
    let folder = bench.folder();
    let daemon = Daemon::start(binary, folder.path(), &stand_in.address);
    let (sled, _) = run(&daemon);
    drop(daemon);
    let folder = bench.folder();
    let queue = pair.config(folder.path(), "both");
    let daemon = Daemon::start_on(binary, folder.path(), &stand_in.address, &queue);
    let (took, servers) = run(&daemon);
    drop(daemon);
    let million = |seconds: f64| seconds * 1e6 / events as f64;
    let name = |what: &str| format!("postgres, accept and deliver at once{what}");
    vec![
        Row::new(name(""), took.rate(), "events/s").at_least(40_000.0),
        Row::new(name(", the servers"), million(servers), "s/million").at_most(15.0),
        Row::new(
            name(", the daemon"),
            million(took.used.cpu_seconds),
            "s/million",
        )
        .beside("on sled", million(sled.used.cpu_seconds))
        .at_most(1.3),
        Row::new(name(", memory at most"), took.used.peak_mib, "MiB").at_most(300.0),
    ]
}

/// Acceptance with many remembered ids over that with none, and what they cost.
pub fn ids(bench: &Bench, binary: &Path, ids: u64) -> Vec<Row> {
    let pair = Pair::start();
    let events = 400_000;
    let folder = bench.folder();
    let queue = pair.config(folder.path(), "many");
    let start = || Daemon::start_on(binary, folder.path(), NOBODY, &queue);
    let daemon = start();
    daemon.command(&["pause"]);
    let run = |daemon: &Daemon, s: u8| {
        let took = flood(&daemon.socket(), &bench.load, s, 0..events, CONNECTIONS);
        events as f64 / took.as_secs_f64()
    };
    run(&daemon, b'a');
    let none = run(&daemon, b'b');
    drop(daemon);
    bench.say("filling the tables of ids");
    // In seven sealed tables, as a full window has them; the filters are the daemon's to make.
    let each = ids / 7;
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_millis();
    for number in 2..9 {
        pair.primary.sql(&format!(
            "CREATE TABLE many.ids_{number} (id uuid PRIMARY KEY, number bigint NOT NULL); \
             INSERT INTO many.ids_{number} SELECT gen_random_uuid(), n FROM generate_series(1, {each}) n; \
             UPDATE many.pieces SET sealed_at = {now} WHERE kind = 'ids' AND sealed_at IS NULL; \
             INSERT INTO many.pieces (kind, number, began_at) VALUES ('ids', {number}, {now}); \
             UPDATE many.identity SET list = list + 1"
        ));
    }
    pair.primary.sql(&format!(
        "CREATE TABLE many.ids_9 (id uuid PRIMARY KEY, number bigint NOT NULL); \
         UPDATE many.pieces SET sealed_at = {now} WHERE kind = 'ids' AND sealed_at IS NULL; \
         INSERT INTO many.pieces (kind, number, began_at) VALUES ('ids', 9, {now}); \
         UPDATE many.identity SET list = list + 1; CHECKPOINT"
    ));
    let size = "SELECT sum(pg_total_relation_size('many.ids_' || n)) FROM generate_series(2, 8) n";
    let bytes: f64 = pair.primary.value(size).parse().expect("a number");
    let daemon = start();
    let lacking = "SELECT count(*) FROM many.pieces WHERE kind = 'ids' AND sealed_at IS NOT NULL \
                   AND filter IS NULL";
    let begun = Instant::now();
    while pair.primary.value(lacking) != "0" {
        assert!(
            begun.elapsed() < Duration::from_secs(900),
            "the filters are not made"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    // What is read once at a start is not counted.
    run(&daemon, b'c');
    let many = run(&daemon, b'd');
    let peak = daemon.usage().peak_mib;
    let name = |what: &str| format!("postgres, {} remembered ids{what}", each * 7);
    vec![
        Row::new(name(", accept"), many, "events/s")
            .beside("with none", none)
            .at_least(0.8),
        Row::new(name(", memory at most"), peak, "MiB").at_most(300.0),
        Row::new(name(", on disk"), bytes / (each * 7) as f64, "bytes/id").at_most(110.0),
    ]
}
