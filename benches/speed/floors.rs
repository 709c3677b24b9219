//! What the machine can do at all, in the same run.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pinrelay::transform::{Fixed, Options, Transform};

use super::load::{Load, flood, percentile};

/// Events a second of a plain append with one fdatasync for each `group` events.
pub fn append(folder: &Path, load: &Load, events: u64, group: u64) -> f64 {
    let mut file = File::create(folder.join("append")).expect("a file");
    let bytes = load.bytes(b'f', 0..events);
    let begun = Instant::now();
    for part in bytes.chunks(load.mean * group.max(1) as usize) {
        file.write_all(part).expect("an append");
        file.sync_data().expect("a sync");
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

/// The median time of one append of one event and its fdatasync.
pub fn append_one(folder: &Path, load: &Load, times: u64) -> Duration {
    let mut file = File::create(folder.join("append-one")).expect("a file");
    let mut line = Vec::new();
    let one = |n| {
        line.clear();
        load.push(b'f', n, &mut line);
        let begun = Instant::now();
        file.write_all(&line).expect("an append");
        file.sync_data().expect("a sync");
        begun.elapsed()
    };
    percentile(&mut (0..times).map(one).collect::<Vec<_>>(), 50)
}

/// Events a second of a socket that stores nothing: it counts lines and answers each.
pub fn sink(folder: &Path, load: &Load, events: u64, connections: u64) -> f64 {
    let path = folder.join("sink.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = std::thread::spawn(move || {
        std::thread::scope(|scope| {
            for stream in listener.incoming().take(connections as usize) {
                let mut stream = stream.expect("a connection");
                scope.spawn(move || {
                    let mut buffer = vec![0; 64 << 10];
                    let mut answers = Vec::new();
                    while let Ok(n @ 1..) = stream.read(&mut buffer) {
                        answers.clear();
                        for _ in memchr::memchr_iter(b'\n', &buffer[..n]) {
                            answers.extend_from_slice(
                                b"{\"status\":\"queued\",\"messageId\":\"s000000000000\"}\n",
                            );
                        }
                        if stream.write_all(&answers).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    let took = flood(&path, load, b'f', 0..events, connections);
    server.join().expect("the sink ends");
    std::fs::remove_file(path).expect("its socket");
    events as f64 / took.as_secs_f64()
}

/// Accepted after any of them happened.
const LATER: Fixed = Fixed {
    accepted_at: 4_000_000_000,
    event_time: 1_700_000_000,
};

/// Events a second of a bare HTTP client that posts bodies made beforehand, as many at once as
/// the daemon does.
pub fn bare_client(load: &Load, address: &str, events: u64, at_once: usize) -> f64 {
    let transform = Transform::new(Options::default()).expect("the defaults");
    let batch = 1000u64;
    let body = |from: u64| {
        let mut body = b"{\"data\":[".to_vec();
        for n in from..from + batch {
            let mut line = Vec::new();
            load.push(b'f', n, &mut line);
            let payload = transform.payload(line.trim_ascii_end(), LATER, None, &|_| false);
            if n > from {
                body.push(b',');
            }
            body.extend_from_slice(&payload.expect("a payload").json);
        }
        body.extend_from_slice(b"]}");
        bytes::Bytes::from(body)
    };
    // A few bodies in turn: the client has no part in what is in them.
    let bodies: Vec<_> = (0..4).map(|i| body(i * batch)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build();
    let client = client.expect("a client");
    let url = format!("http://{address}/v5/ad_accounts/1/events");
    let left = Arc::new(std::sync::atomic::AtomicI64::new((events / batch) as i64));
    let begun = Instant::now();
    runtime.block_on(async {
        let posts = (0..at_once).map(|i| {
            let (client, url, bodies, left) =
                (client.clone(), url.clone(), bodies.clone(), left.clone());
            tokio::spawn(async move {
                while left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
                    let post = client
                        .post(&url)
                        .header("authorization", "Bearer a_token_for_benches");
                    let post = post.header("content-type", "application/json");
                    let answer = post.body(bodies[i % bodies.len()].clone()).send().await;
                    let answer = answer.expect("an answer");
                    assert!(answer.status().is_success(), "{}", answer.status());
                    answer.bytes().await.expect("its body");
                }
            })
        });
        for post in posts.collect::<Vec<_>>() {
            post.await.expect("a client");
        }
    });
    events as f64 / begun.elapsed().as_secs_f64()
}
