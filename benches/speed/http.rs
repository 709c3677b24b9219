//! The same events over HTTP, on the Unix socket beside the one for lines. Delivery is paused.

use std::io::Write;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::Bench;
use super::accept::NOBODY;
use super::load::{CHUNK, Load, flood, queued};
use super::process::Daemon;
use super::table::Row;

/// Events of one request to /v1/batch.
const BATCH: u64 = 100;

/// Lines over one connection each way, beside the socket for lines.
pub fn stream(bench: &Bench, binary: &Path, events: u64, floor: bool) -> Vec<Row> {
    let row = |connections: u64| {
        let rate = |took: Duration| events as f64 / took.as_secs_f64();
        let over_http = paused(bench, binary, |daemon| {
            rate(lines(&daemon.http(), &bench.load, events, connections))
        });
        let name = format!("HTTP, lines, connections: {connections}");
        let row = Row::new(name, over_http, "events/s");
        if !floor {
            return row;
        }
        let raw = paused(bench, binary, |daemon| {
            rate(flood(
                &daemon.socket(),
                &bench.load,
                b'r',
                0..events,
                connections,
            ))
        });
        row.beside("the socket for lines", raw).at_least(0.8)
    };
    [1, 8].map(row).into()
}

/// Batches over eight connections.
pub fn batches(bench: &Bench, binary: &Path, events: u64) -> Row {
    const CONNECTIONS: u64 = 8;
    let took = paused(bench, binary, |daemon| {
        let body = |numbers: Range<u64>| {
            let mut body = b"{\"batch\":[".to_vec();
            for n in numbers {
                bench.load.push(b'b', n, &mut body);
                // The line feed.
                *body.last_mut().expect("an event") = b',';
            }
            body.pop();
            body.extend_from_slice(b"]}");
            request("/v1/batch", &body)
        };
        let each = events / CONNECTIONS;
        let requests = |c: u64| {
            let from = c * each;
            let starts = (from..from + each).step_by(BATCH as usize);
            starts
                .map(|n| body(n..(n + BATCH).min(from + each)))
                .collect::<Vec<_>>()
        };
        asked(&daemon.http(), (0..CONNECTIONS).map(requests).collect())
    });
    let name = format!("HTTP, batches of {BATCH}, connections: {CONNECTIONS}");
    let rate = (events / CONNECTIONS * CONNECTIONS) as f64 / took.as_secs_f64();
    Row::new(name, rate, "events/s").at_least(60_000.0)
}

/// One event a request, kept alive, beside a server that answers the same: it reads whose event it
/// is from the body, and stores nothing.
pub fn singles(bench: &Bench, binary: &Path, events: u64, floor: bool) -> Vec<Row> {
    const CONNECTIONS: u64 = 64;
    let each = events / CONNECTIONS;
    let requests = |c: u64| {
        let one = |n: u64| {
            let mut body = Vec::new();
            bench.load.push(b't', n, &mut body);
            request("/v1/track", &body)
        };
        (c * each..(c + 1) * each).map(one).collect::<Vec<_>>()
    };
    let all = || (0..CONNECTIONS).map(requests).collect::<Vec<_>>();
    let rate = |took: Duration| (each * CONNECTIONS) as f64 / took.as_secs_f64();
    let (ours, syncs) = paused(bench, binary, |daemon| {
        let ours = rate(asked(&daemon.http(), all()));
        let syncs = daemon
            .metrics()
            .value("pinrelay_sync_duration_seconds_count");
        (ours, syncs)
    });
    let name = format!("HTTP, one event a request, connections: {CONNECTIONS}");
    let row = Row::new(name.clone(), ours, "requests/s");
    let group = Row::new(
        format!("{name}, requests by one sync"),
        (each * CONNECTIONS) as f64 / syncs,
        "requests",
    );
    if !floor {
        return vec![row, group];
    }
    let folder = bench.folder();
    let socket = folder.path().join("floor.sock");
    let server = answering(&socket);
    let theirs = rate(asked(&socket, all()));
    server.shutdown_background();
    vec![
        row.beside("the same without storing", theirs).at_least(0.7),
        group.at_least(2.0),
    ]
}

fn paused<T>(bench: &Bench, binary: &Path, measure: impl FnOnce(&Daemon) -> T) -> T {
    let folder = bench.folder();
    let daemon = Daemon::start(binary, folder.path(), NOBODY);
    daemon.command(&["pause"]);
    measure(&daemon)
}

/// What has to be read of an event to answer it.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "messageId")]
    message_id: String,
}

/// A server that answers as the daemon does.
fn answering(socket: &PathBuf) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
    let take = |Json(event): Json<Event>| async move {
        let result = json!({"status": "queued", "messageId": event.message_id});
        Json(json!({"ok": true, "success": true, "results": [result]}))
    };
    let router = Router::new().route("/v1/track", post(take));
    runtime.spawn(async move { axum::serve(listener, router).await });
    runtime
}

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Each connection sends its requests one after the other, each after the answer before it. One
/// thread serves them all, as a load generator's does.
fn asked(socket: &Path, requests: Vec<Vec<Vec<u8>>>) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for requests in requests {
            let socket = socket.to_owned();
            clients.spawn(async move {
                let stream = tokio::net::UnixStream::connect(socket).await;
                let mut stream = stream.expect("a connection");
                let mut buffer = Vec::new();
                for request in requests {
                    stream.write_all(&request).await.expect("it is taken");
                    answered(&mut stream, &mut buffer).await;
                }
            });
        }
        clients.join_all().await;
        begun.elapsed()
    })
}

/// Reads one answer, which has to be a 200.
async fn answered(stream: &mut tokio::net::UnixStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        let n = stream.read_buf(buffer).await.expect("an answer");
        assert!(n > 0, "closed on us");
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            continue;
        };
        assert!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(buffer)
        );
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let (_, rest) = head.split_once("content-length: ").expect("a length");
        let length: usize = rest
            .lines()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        if buffer.len() == end + 4 + length {
            return;
        }
    }
}

/// Sends events as lines in one request a connection, and returns when all are answered.
fn lines(socket: &Path, load: &Load, events: u64, connections: u64) -> Duration {
    let per = events / connections;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for c in 0..connections {
            scope.spawn(move || {
                let mut stream = UnixStream::connect(socket).expect("a connection");
                let head = "POST /v1/events HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\
                            Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).expect("a head is taken");
                let mut write = stream.try_clone().expect("its other half");
                scope.spawn(move || {
                    let mut out = Vec::with_capacity(CHUNK + 4096);
                    for n in c * per..(c + 1) * per {
                        load.push(b'l', n, &mut out);
                        if out.len() >= CHUNK || n + 1 == (c + 1) * per {
                            write!(write, "{:x}\r\n", out.len()).expect("taken");
                            out.extend_from_slice(b"\r\n");
                            write.write_all(&out).expect("events are taken");
                            out.clear();
                        }
                    }
                    write.write_all(b"0\r\n\r\n").expect("an end is taken");
                });
                assert_eq!(queued(stream), per, "every event is queued");
            });
        }
    });
    begun.elapsed()
}
