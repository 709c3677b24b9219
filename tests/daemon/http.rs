//! HTTP beside the socket for lines, through the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::{Daemon, Site, StandIn, request, s, samples, within};

/// A port that was free a moment ago, below those that the system hands out; each once.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 500) as u16 * 20;
    (0..1000)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port")
}

fn socket(site: &Site) -> UnixStream {
    UnixStream::connect(site.path("http.sock")).expect("the HTTP socket")
}

fn post(site: &Site, path: &str, body: &str) -> (u16, Value) {
    let (status, said) = request(socket(site), "POST", path, body);
    (status, serde_json::from_str(&said).unwrap_or_default())
}

/// One request with these headers; all that is answered.
fn raw(mut stream: impl Read + Write, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
    .expect("the daemon reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    answer
}

/// Lines are answered as they come: whoever does not read meanwhile is not read either.
fn both_ways(mut stream: UnixStream, path: &str, text: &str) {
    let mut write = stream.try_clone().expect("its other half");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let length = text.len();
            write!(
                write,
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{text}"
            )
            .expect("the daemon reads");
        });
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    });
}

/// What the stand-in got, by event_id.
fn arrived(stand_in: &StandIn) -> BTreeMap<String, Value> {
    let text = serde_json::to_value(stand_in.events()).expect("JSON");
    let events = text.as_array().expect("a list").clone();
    let pair = |seen: Value| (seen["event_id"].as_str().expect("an id").to_owned(), seen);
    events.into_iter().map(pair).collect()
}

/// Values that somebody sent where they do not belong, or that say nothing.
const ODD: &[&str] = &[
    "null",
    "\"\"",
    "\" \"",
    "\"null\"",
    "\"1,50\"",
    "\"€ 5\"",
    "-3",
    "1e400",
    "0.1000000000000000055511151231257827",
    "18446744073709551616",
    "true",
    "[]",
    "{}",
    "[null,\"a\",{\"b\":1.50}]",
    "{\"0\":{\"price\":\"9\",\"product_id\":7}}",
    "\"\\ud83d cut\"",
    "\"caf\\u00e9 \\\" \\\\ \\n\"",
    "{\"$serde_json::private::Number\":\"1\"}",
];

/// Where they are put: a member behind all others, so that it counts.
const PLACES: &[&str] = &[
    "context",
    "properties",
    "userId",
    "anonymousId",
    "sentAt",
    "integrations",
    "receivedAt",
    "timestamp",
    "event",
    "type",
    "name",
];

/// Events of which many are odd, by a seed; each with its own id and of a known type.
fn odd_events(count: usize, seed: u64) -> String {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for (n, sample) in samples("odd", 0..count).iter().enumerate() {
        let mut line = sample.line.clone();
        for _ in 0..dice.random_range(0..3) {
            let place = PLACES[dice.random_range(0..PLACES.len())];
            let odd = ODD[dice.random_range(0..ODD.len())];
            let is_name = matches!(place, "event" | "type");
            if is_name && dice.random_range(0..8) > 0 {
                continue;
            }
            line.truncate(line.len() - 1);
            line.push_str(&format!(r#","{place}":{odd}}}"#));
        }
        if n % 7 == 0 {
            line = line.replace(':', " : ").replace(" : //", "://");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// What would be sent of all that waits, or is dead already, in the order of the ids; the times that were taken from
/// the moment of acceptance, which differs, left out.
fn payloads(site: &Site, now: i64) -> Vec<String> {
    let mut text = String::new();
    for held in ["queue", "dead"] {
        let out = site
            .command(&["transform", "--from", held, "--limit", "1000000"])
            .output();
        let out = out.expect("it runs");
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        text.push_str(&String::from_utf8(out.stdout).expect("UTF-8"));
    }
    let shown = |line: &str| {
        let key = "\"event_time\":";
        let Some((before, rest)) = line.split_once(key) else {
            return line.to_owned();
        };
        let end = rest.find(|c: char| !c.is_ascii_digit()).expect("an end");
        let time: i64 = rest[..end].parse().expect("a time");
        match (now - 3600..now + 3600).contains(&time) {
            true => format!("{before}{key}now{}", &rest[end..]),
            false => line.to_owned(),
        }
    };
    let mut lines: Vec<_> = text.lines().map(shown).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_same_events_by_any_way_give_the_same_payloads() {
    let count = std::env::var("PINRELAY_PARITY_EVENTS").map_or(1000, |n| n.parse().expect("n"));
    let seed = rand::random();
    println!("seed {seed}");
    let text = odd_events(count, seed);
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs() as i64;
    let mut by_socket = None;
    let ways = [
        "",
        "/v1/events",
        "/v1/batch",
        "/b",
        "/api/s/s2s/batch",
        "/v1/track",
        "/api/track",
        "/api/s/track",
        "/api/s/s2s/page",
    ];
    for way in ways {
        let port = free_port();
        let site = Site::at("http://127.0.0.1:9/v5").set(
            "ingest",
            "http_listen",
            &format!("127.0.0.1:{port}"),
        );
        let daemon = site.start();
        let pause = site.command(&["pause"]).output().expect("it runs");
        assert_eq!(pause.status.code(), Some(0), "{pause:?}");
        let file = site.path("events");
        fs::write(&file, &text).expect("a file");
        let file = file.display().to_string();
        let url = format!("http://127.0.0.1:{port}{way}");
        match way {
            "" => drop(site.command(&["send", &file]).output().expect("it runs")),
            "/v1/events" => both_ways(socket(&site), way, &text),
            _ => drop(
                site.command(&["send", "--http", &url, &file])
                    .output()
                    .expect("it runs"),
            ),
        }
        let payloads = payloads(&site, now);
        let by_socket = by_socket.get_or_insert_with(|| payloads.clone());
        assert!(payloads.len() > count * 8 / 10, "{way}: {}", payloads.len());
        for line in by_socket.iter() {
            assert!(payloads.binary_search(line).is_ok(), "{way}: {line}");
        }
        // A type that is missing is the path's: those are more, and none else.
        let more: Vec<_> = (payloads.iter())
            .filter(|line| by_socket.binary_search(line).is_err())
            .collect();
        let has_type = way.is_empty() || way.ends_with("events") || way.ends_with('b');
        assert!(
            more.is_empty() || !(has_type || way.ends_with("batch")),
            "{way}: {more:#?}"
        );
        drop(daemon);
    }
}

#[test]
fn who_sent_is_remembered_by_the_name_of_the_key_and_a_reload_changes_the_keys() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let file = site.path("key");
    let write = |key: &str| {
        fs::write(&file, format!("{key}\n")).expect("a key's file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    };
    write("id:first");
    let keys = format!(
        "[[ingest.write_keys]]\nname = \"shop\"\nkey_file = \"{}\"\n\
         [[ingest.write_keys]]\nname = \"app\"\nkey = \"k\"\n",
        file.display()
    );
    site.config(&keys);
    let daemon = site.start();
    let sample = &samples("key", 0..1)[0];
    let with = |key: &str| {
        let answer = raw(
            socket(&site),
            "/v1/track",
            &format!("X-Write-Key: {key}\r\n"),
            &sample.line,
        );
        answer["HTTP/1.1 ".len()..][..3]
            .parse::<u16>()
            .expect("a status")
    };
    assert_eq!(
        (with("id:first"), with("k"), with("id:second")),
        (200, 200, 401)
    );
    assert_eq!(post(&site, "/v1/track", &sample.line).0, 401);
    let trace = site
        .command(&["trace", &sample.id])
        .output()
        .expect("it runs");
    let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
    assert!(
        trace.contains("write key shop") && trace.contains("write key app"),
        "{trace}"
    );
    let (_, metrics) = crate::support::get(
        UnixStream::connect(site.admin()).expect("admin"),
        "/metrics",
    );
    for line in [
        r#"pinrelay_events_by_write_key_total{key="app"} 1"#,
        r#"pinrelay_events_by_write_key_total{key="shop"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    write("id:second");
    let reload = site.command(&["reload"]).output().expect("it runs");
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    assert_eq!((with("id:first"), with("id:second")), (401, 200));
    // One that cannot be read changes nothing.
    fs::remove_file(&file).expect("removed");
    let reload = site.command(&["reload"]).output().expect("it runs");
    assert_ne!(reload.status.code(), Some(0));
    assert_eq!(with("id:second"), 200);
    let log = daemon.log();
    for key in ["id:first", "id:second"] {
        assert!(!log.contains(key) && !trace.contains(key) && !metrics.contains(key));
    }
}

#[test]
fn without_room_and_at_a_stop_clients_are_told_when_to_come_again() {
    let site = Site::at("http://127.0.0.1:9/v5").set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let fill = |n: usize| {
        let noise = crate::support::noisy(&format!("noise{n}"), 0..100, 60_000);
        let answers = noise
            .into_iter()
            .map(|sample| raw(socket(&site), "/v1/track", "", &sample.line));
        let mut others = answers.skip_while(|answer| answer.starts_with("HTTP/1.1 200 "));
        others.next().expect("the quota is reached").to_lowercase()
    };
    // Several at once: some of them are on their way in when it becomes full.
    let full: Vec<String> = std::thread::scope(|scope| {
        let fill = &fill;
        let clients: Vec<_> = (0..8).map(|n| scope.spawn(move || fill(n))).collect();
        let ends = clients
            .into_iter()
            .map(|client| client.join().expect("full"));
        ends.collect()
    });
    for answer in full {
        let says = |what: &str| assert!(answer.contains(what), "{what}: {answer}");
        says("http/1.1 503 ");
        says("retry-after: 30");
        says("queue.max_bytes");
    }
    let (status, ready) = request(socket(&site), "GET", "/readyz", "");
    assert_eq!(status, 503);
    assert!(ready.contains("queue.max_bytes"), "{ready}");
    assert_eq!(request(socket(&site), "GET", "/healthz", "").0, 200);
    let ended = daemon.stop(s(20));
    assert_eq!(ended.code, Some(0));
    assert!(
        UnixStream::connect(site.path("http.sock")).is_err(),
        "its file is gone"
    );
}

#[test]
fn events_without_an_id_are_told_as_a_risk() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let body = r#"{"batch":[{"type":"page","context":{"traits":{"email":"a@mail.example"}}},
        {"type":"page","context":{"traits":{"email":"b@mail.example"}}}]}"#;
    let (status, said) = post(&site, "/v1/batch", body);
    assert_eq!(status, 200);
    let id = said["results"][0]["messageId"].as_str().expect("a made id");
    stand_in.takes(2, s(20));
    assert!(arrived(&stand_in).contains_key(id));
    let status = site.command(&["status"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("2 events came without messageId"), "{text}");
    drop(daemon);
}

#[test]
fn a_socket_for_http_that_is_removed_is_bound_anew() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    fs::remove_file(site.path("http.sock")).expect("removed");
    within(s(60), "the socket again", || {
        UnixStream::connect(site.path("http.sock")).ok()
    });
    let sample = &samples("anew", 0..1)[0];
    assert_eq!(post(&site, "/v1/track", &sample.line).0, 200);
    assert!(daemon.log().contains("http.sock was removed"));
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

/// A connection that trusts the fixtures' authority alone.
fn tls(port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(fixture("ca.pem")).expect("a certificate");
    roots.add(ca).expect("an authority");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port");
    StreamOwned::new(connection, stream)
}

fn says(daemon: &Daemon<'_>, what: &str) {
    within(s(20), what, || daemon.log().contains(what).then_some(()));
}

#[test]
fn tls_is_spoken_on_the_port_and_its_certificate_is_read_again() {
    let stand_in = StandIn::start();
    let port = free_port();
    let site = Site::new(&stand_in).set("ingest", "http_listen", &format!("127.0.0.1:{port}"));
    let (cert, key) = (site.path("cert.pem"), site.path("key.pem"));
    fs::copy(fixture("localhost.pem"), &cert).expect("copied");
    fs::copy(fixture("localhost.key"), &key).expect("copied");
    let site = site
        .set("ingest", "http_tls_cert", &cert.display().to_string())
        .set("ingest", "http_tls_key", &key.display().to_string());
    let daemon = site.start();
    let events = samples("tls", 0..3);
    let asks = |n: usize| {
        let answer = raw(tls(port), "/v1/track", "", &events[n].line);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    asks(0);
    // Plain HTTP is none there.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).expect("the port");
    let _ = write!(plain, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1"));
    // A renewal that went wrong, and one that did not.
    fs::write(&cert, "-----BEGIN CERTIFICATE-----\nbroken\n").expect("written");
    says(&daemon, "the one before stays in effect");
    asks(1);
    fs::copy(fixture("localhost.pem"), &cert).expect("copied");
    says(&daemon, "was read again");
    asks(2);
    stand_in.takes(3, s(20));
}
