//! docs/http.md: its requests are answered as it says, its paths are those of the router's source,
//! and its limits are those of the source. Its clients and proxies are run by tests/http_clients.rs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use pinrelay::config::KEYS;
use serde_json::Value;

use super::blocks::{Block, blocks, fits};
use super::support::{Site, StandIn, s};
use super::{code, read, rows, section};

const PAGE: &str = "docs/http.md";
const KINDS: [&str; 6] = ["track", "page", "screen", "identify", "group", "alias"];

fn site(stand_in: &StandIn) -> Site {
    let site = Site::new(stand_in);
    site.config("[[ingest.write_keys]]\nname = \"shop\"\nkey = \"shop:secret\"\n");
    site
}

/// Status and body. In HTTP/1.0, so that the body comes in one piece.
fn ask(site: &Site, line: &str, headers: &[&str], body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(site.path("http.sock")).expect("the HTTP socket");
    stream.set_read_timeout(Some(s(20))).expect("a time-out");
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .expect("the daemon reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap_or_default();
    (status.parse().expect("a status"), body.to_owned())
}

#[test]
fn the_requests_are_answered_as_the_page_says() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    let daemon = site.start();
    let blocks = blocks(&read(PAGE));
    let blocks = blocks.iter().filter(|b| b.kind == "http-transcript");
    let run = blocks.map(|block| converse(&site, block)).sum::<usize>();
    assert_eq!(run, 8, "requests");
    let made = "1 events came without messageId";
    let status = site.command(&["status"]).output().expect("it runs");
    let status = String::from_utf8(status.stdout).expect("text");
    assert!(
        status.contains("\nwithout id") && status.contains(made),
        "{status}"
    );
    drop(daemon);
}

/// How many requests it has. A request is its first line, its headers, and its body from the line
/// with a brace on; an answer begins with its status.
fn converse(site: &Site, block: &Block) -> usize {
    let mut lines = block.text.lines().peekable();
    let mut requests = 0;
    while let Some(line) = lines.next() {
        let at = format!("{PAGE}:{}: {line}", block.line);
        assert!(
            line.starts_with("GET ") || line.starts_with("POST "),
            "{at}"
        );
        let is_answer = |line: &&str| line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
        let mut headers = Vec::new();
        while let Some(header) = lines.next_if(|line| !line.starts_with('{') && !is_answer(line)) {
            headers.push(header);
        }
        let mut body = Vec::new();
        while let Some(more) = lines.next_if(|line| !is_answer(line)) {
            body.push(more);
        }
        let (status, first) = lines.next().and_then(|l| l.split_once(' ')).expect(&at);
        let mut told = first.to_owned();
        let goes_on = |line: &&str| line.starts_with(' ');
        while let Some(more) = lines.next_if(goes_on) {
            told.push_str(more.trim_start());
        }
        let (code, answer) = ask(site, line, &headers, &body.join("\n"));
        assert_eq!(code.to_string(), status, "{at}\nanswered: {answer}");
        let answer = answer.trim_end();
        assert!(
            fits(&told, answer),
            "{at}\ntold:     {told}\nanswered: {answer}"
        );
        requests += 1;
    }
    requests
}

/// The paths of the page's table.
fn paths() -> Vec<String> {
    let page = read(PAGE);
    let rows = rows(section(&page, "## What is sent where"));
    let first = rows.into_iter().map(|row| row[0].replace('`', ""));
    first.filter(|path| path.starts_with('/')).collect()
}

#[test]
fn the_paths_are_those_of_the_router() {
    let source = read("src/ingest/http/routes.rs");
    let literals = source.split('"').skip(1).step_by(2);
    let served: BTreeSet<_> = literals
        .filter(|text| text.starts_with('/'))
        .map(|text| text.replace("{name}", "{type}").replace("{path}", "{type}"))
        .collect();
    let told: BTreeSet<_> = paths().into_iter().collect();
    assert_eq!(told, served);
}

#[test]
fn every_path_takes_what_the_page_says() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    let daemon = site.start();
    let key = ["X-Write-Key: shop:secret"];
    let is_get = |path: &str| path.ends_with("/settings") || path.ends_with('z');
    let mut asked = 0;
    for path in paths() {
        if is_get(&path) {
            let path = path.replace("{key}", "shop:secret");
            assert_eq!(ask(&site, &format!("GET {path}"), &[], "").0, 200, "{path}");
            continue;
        }
        let mut all = vec![path.clone()];
        if path.contains("{type}") {
            all = KINDS.map(|kind| path.replace("{type}", kind)).to_vec();
            if path.starts_with("/v1/") || path == "/{type}" {
                all.extend(KINDS.map(|kind| path.replace("{type}", &kind[..1])));
            }
        }
        for path in all {
            let kind = if path == "/v1/events" {
                r#","type":"track""#
            } else {
                ""
            };
            let event = format!(r#"{{"messageId":"id-{asked}","event":"Order Completed"{kind}}}"#);
            let is_batch = path.ends_with("/batch") || path.ends_with("/b");
            let body = match is_batch {
                true => event.replace("\"event\"", "\"type\":\"page\",\"event\""),
                false => event,
            };
            let body = if is_batch {
                format!(r#"{{"batch":[{body}]}}"#)
            } else {
                body
            };
            let (code, answer) = ask(&site, &format!("POST {path}"), &key, &body);
            let taken = ["queued", "ignored"].map(|word| format!(r#""status":"{word}""#));
            let is_taken = taken.iter().any(|word| answer.contains(word));
            assert!(code == 200 && is_taken, "{path}: {code} {answer}");
            // Where a batch may come instead.
            if path.starts_with("/api/s/") && !is_batch {
                let (code, answer) = ask(&site, &format!("POST {path}"), &key, r#"{"batch":[]}"#);
                assert_eq!(code, 200, "{path}: {answer}");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 3 * 6 + 2 * 12 + 6);
    let (code, answer) = ask(&site, "GET /v1/projects/k/settings", &[], "");
    let settings: Value = serde_json::from_str(&answer).expect("JSON");
    let there = &settings["integrations"]["Segment.io"];
    assert_eq!(
        (code, there["apiHost"].as_str()),
        (200, Some("localhost/v1"))
    );
    drop(daemon);
}

#[test]
fn the_limits_and_the_codes_are_those_of_the_source() {
    let page = read(PAGE);
    let key = |name: &str| KEYS.iter().find(|key| key.name == name).expect(name);
    assert_eq!(key("http_max_body").default, "4MiB");
    assert_eq!(key("http_socket").default, "/run/pinrelay/http.sock");
    assert_eq!(key("dedup_window").default, "7d");
    for (file, source, told) in [
        (
            "body",
            "ROOM: usize = 64 << 20",
            "| all bodies that are on their way | 64 MiB | 503 |",
        ),
        (
            "body",
            "WITHIN: Duration = Duration::from_secs(30)",
            "| 30 seconds | 408 |",
        ),
        (
            "server",
            "REST: Duration = Duration::from_secs(75)",
            "| 75 seconds | it is closed |",
        ),
        (
            "request",
            "PATIENCE: Duration = Duration::from_secs(5)",
            "or lets nothing in for five seconds",
        ),
        (
            "call",
            "MOST_EVENTS: usize = 20_000",
            "| a batch | 20,000 events",
        ),
    ] {
        let text = read(&format!("src/ingest/http/{file}.rs"));
        assert!(text.contains(source), "{file}: {source}");
        assert!(page.contains(told), "{told}");
    }
    // Each status that the source has, and no other.
    let sources = ["request", "routes", "stream", "refusal"];
    let sources = sources
        .map(|file| read(&format!("src/ingest/http/{file}.rs")))
        .concat();
    let names = [
        ("OK", 200),
        ("BAD_REQUEST", 400),
        ("UNAUTHORIZED", 401),
        ("NOT_FOUND", 404),
        ("METHOD_NOT_ALLOWED", 405),
        ("REQUEST_TIMEOUT", 408),
        ("PAYLOAD_TOO_LARGE", 413),
        ("UNSUPPORTED_MEDIA_TYPE", 415),
        ("SERVICE_UNAVAILABLE", 503),
    ];
    let used = sources.split("StatusCode::").skip(1);
    let used = used.map(|rest| {
        rest.split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
            .next()
    });
    let used: BTreeSet<_> = used.flatten().filter(|name| name.len() > 1).collect();
    assert_eq!(used, names.iter().map(|(name, _)| *name).collect());
    let lines = section(&page, "### Answers").lines();
    let cells = lines.filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let told: BTreeSet<u16> = (cells.flat_map(|cell| cell.split(", ")))
        .filter_map(|code| code.parse().ok())
        .collect();
    assert_eq!(told, names.iter().map(|(_, code)| *code).collect());
}

#[test]
fn the_keys_are_there() {
    let page = read(PAGE);
    let prose: String = page.split("\n```").step_by(2).collect();
    let mut found = 0;
    for span in code(&prose) {
        let name = span.split(" = ").next().unwrap_or_default();
        let Some((section, key)) = name.split_once('.') else {
            continue;
        };
        if KEYS.iter().any(|key| key.section == section) {
            found += 1;
            let is_there = KEYS.iter().any(|k| k.section == section && k.name == key);
            assert!(is_there, "there is no key {name}");
        }
    }
    assert!(found > 12, "{found} keys");
}
